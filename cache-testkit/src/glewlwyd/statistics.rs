//! What the provider's database says.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};

use super::Error;

/// Counts of refresh tokens, from the first start of the provider. Every session is a family: what a sign-in began, with all that
/// rotation made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Families.
    pub families: u64,
    /// Those that ended: not one token of theirs is good any more. The provider does that when a token is sent again after it was
    /// spent, or when a client revokes one.
    pub families_revoked: u64,
    /// Refresh tokens that were spent, and so replaced.
    pub refresh_tokens_consumed: u64,
}

impl Statistics {
    pub(super) async fn read(database: &Path) -> Result<Self, Error> {
        let failed = |source: sqlx::Error| Error::Database {
            source: source.into(),
        };
        let options = SqliteConnectOptions::new()
            .filename(database)
            .read_only(true)
            .busy_timeout(Duration::from_secs(30));
        let mut connection = options.connect().await.map_err(failed)?;
        let statistics = count(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        Ok(statistics)
    }
}

/// A token's successors have its `jti`, and lose `enabled` together with it.
const COUNT: &str = "SELECT count(*), count(live = 0 OR NULL), coalesce(sum(issued), 0) \
    FROM (SELECT max(gpor_enabled) AS live, count(*) AS issued FROM gpo_refresh_token GROUP BY gpor_jti)";

async fn count(connection: &mut SqliteConnection) -> Result<Statistics, sqlx::Error> {
    let row = sqlx::query(COUNT).fetch_one(connection).await?;
    let number = |index: usize| row.try_get(index).map(|number: i64| number.unsigned_abs());
    let families = number(0)?;
    Ok(Statistics {
        families,
        families_revoked: number(1)?,
        refresh_tokens_consumed: number(2)?.saturating_sub(families),
    })
}
