//! What was left of a database.

use std::path::PathBuf;

use cache_testkit::system_calls::Image;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::Case;
use super::reading::{Found, NAME};
use crate::gate::{Doing, GateError};
use crate::tally::Tally;

/// Compares what is in the folder with what was put there.
pub(super) async fn check(case: &Case, found: &Found, tally: &mut Tally) -> Result<(), GateError> {
    let after = content(&Image::of(case.folder.path()).doing("could not read a database")?);
    let before = content(&case.image);
    if after == before {
        tally.add("databases kept byte for byte", 1);
        return Ok(());
    }
    // Whoever closes a database last carries its log over, which is no change of what is in it. Of two that close it at the same moment neither
    // may be the last, and the log stays beside a database that has it already.
    if !matches!(found, Found::Refused(_)) && !before[1].is_empty() {
        let [database, log] = carried_over(case).await?;
        if after[0] == database && (after[1] == log || after[1] == before[1]) {
            tally.add("databases kept, but that their log was carried over", 1);
            return Ok(());
        }
    }
    case.violated(
        tally,
        format_args!(
            "its files were changed, from {} and {} bytes to {} and {}: {found:?}",
            before[0].len(),
            before[1].len(),
            after[0].len(),
            after[1].len()
        ),
    );
    Ok(())
}

/// The database and its log. To look into a database without a log, SQLite makes an empty one.
fn content(image: &Image) -> [Vec<u8>; 2] {
    [NAME.to_owned(), format!("{NAME}-wal")].map(|name| {
        let content = image.files.get(&PathBuf::from(name));
        content.cloned().unwrap_or_default()
    })
}

/// What SQLite makes of it that is asked for nothing else.
async fn carried_over(case: &Case) -> Result<[Vec<u8>; 2], GateError> {
    let folder = tempfile::tempdir().doing("could not make a temporary folder")?;
    case.image
        .write_to(folder.path())
        .doing("could not write a database")?;
    let options = SqliteConnectOptions::new().filename(folder.path().join(NAME));
    let mut connection = options
        .disable_statement_logging()
        .connect()
        .await
        .doing("SQLite could not open what was opened before")?;
    // A checkpoint that fails leaves the log, which is compared then.
    _ = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut connection)
        .await;
    _ = connection.close().await;
    Ok(content(
        &Image::of(folder.path()).doing("could not read a database")?,
    ))
}
