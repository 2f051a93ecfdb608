//! How rows of our own look in a document that MSAL programs use at the same time.
//!
//! MSAL .NET and Node replace a row by its *name*, so a row under another name than theirs stays beside the one that they write,
//! and a refresh token that stays is one that they may spend again.

use super::row::Row;
use crate::schema::{AccessToken, Foreign, IdToken, Partition, RefreshToken, TokenType, environment};

/// Under which names rows of our own are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// Those of MSAL Python, Go and Java, which keep rows of a cloud under the host that they asked.
    Common,
    /// Those of MSAL .NET: the same, under the cloud's preferred cache host.
    DotNet,
    /// Those of MSAL Node: under that host, and every credential has a place for a realm, a target and a scheme.
    Node,
}

/// The host under which .NET and Node keep rows of the public cloud. Other clouds are kept under their first host.
const PUBLIC_CLOUD: &str = "login.windows.net";

/// The partition with its rows as they are written. Names and environments that another program gave stay.
pub(super) fn as_written(partition: &Partition, names: Names) -> Partition {
    let mut written = partition.clone();
    for row in &mut written.accounts {
        prefer(&mut row.environment, row.foreign.as_deref(), names);
    }
    for row in &mut written.id_tokens {
        prefer(&mut row.environment, row.foreign.as_deref(), names);
        name(row, names);
    }
    for row in &mut written.access_tokens {
        prefer(&mut row.environment, row.foreign.as_deref(), names);
        if names != Names::Common && row.home_account_id.is_empty() {
            // Node finds tokens of applications by the empty text, and .NET reads it as none.
            let fields = row.foreign.get_or_insert_default().fields.expose_mut();
            fields
                .entry("home_account_id")
                .or_insert_with(|| String::new().into());
        }
        name(row, names);
    }
    for row in &mut written.refresh_tokens {
        prefer(&mut row.environment, row.foreign.as_deref(), names);
        name(row, names);
    }
    for row in &mut written.app_metadata {
        prefer(&mut row.environment, row.foreign.as_deref(), names);
    }
    written
}

fn prefer(environment: &mut String, foreign: Option<&Foreign>, names: Names) {
    let is_named = foreign.is_some_and(|foreign| foreign.item_key.is_some());
    if names != Names::Common && !is_named && environment::aliases(environment).contains(&PUBLIC_CLOUD) {
        PUBLIC_CLOUD.clone_into(environment);
    }
}

trait NamedByNode: Row {
    /// Home account, environment, type, client, realm, target and scheme.
    fn parts(&self) -> [&str; 7];
}

impl NamedByNode for IdToken {
    fn parts(&self) -> [&str; 7] {
        let Self {
            home_account_id,
            environment,
            client_id,
            realm,
            ..
        } = self;
        [home_account_id, environment, "idtoken", client_id, realm, "", ""]
    }
}

impl NamedByNode for AccessToken {
    fn parts(&self) -> [&str; 7] {
        let Self {
            home_account_id,
            environment,
            client_id,
            realm,
            ..
        } = self;
        let (credential_type, scheme) = match &self.token_type {
            TokenType::Bearer => ("accesstoken", ""),
            TokenType::Bound { scheme, .. } => ("accesstoken_with_authscheme", &**scheme),
        };
        let target = self.target.as_str();
        [
            home_account_id,
            environment,
            credential_type,
            client_id,
            realm,
            target,
            scheme,
        ]
    }
}

impl NamedByNode for RefreshToken {
    fn parts(&self) -> [&str; 7] {
        let family = self.family_id.as_deref().filter(|family| !family.is_empty());
        let client = family.unwrap_or(&self.client_id);
        let target = self.target.as_ref().map_or("", |target| target.as_str());
        [
            &self.home_account_id,
            &self.environment,
            "refreshtoken",
            client,
            "",
            target,
            "",
        ]
    }
}

fn name<R: NamedByNode>(row: &mut R, names: Names) {
    if names != Names::Node || row.foreign().is_some_and(|foreign| foreign.item_key.is_some()) {
        return;
    }
    let name = row.parts().join("-").to_lowercase();
    row.foreign_mut().get_or_insert_default().item_key = Some(name);
}
