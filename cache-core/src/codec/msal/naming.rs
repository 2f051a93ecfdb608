//! How rows of our own look in a document that MSAL programs use at the same time.
//!
//! MSAL .NET and Node replace a row by its *name*, so a row under another name than theirs stays beside the one that they write,
//! and a refresh token that stays is one that they may spend again.

use serde_json::Value;

use super::as_read::AsRead;
use super::row::Row;
use crate::schema::{AccessToken, IdToken, Partition, RefreshToken, ScopeSet, TokenType, environment};

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

/// How rows of our own are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) names: Names,
    /// Whether an application's token has a row for those who look for `null` (Python) and one for those who look for the empty text
    /// (Node).
    pub(crate) twins: bool,
}

/// The host under which .NET and Node keep rows of the public cloud. Other clouds are kept under their first host.
const PUBLIC_CLOUD: &str = "login.windows.net";

const HOME_ACCOUNT_ID: &str = "home_account_id";

/// The partition with its rows as they are written. What another program wrote stays, and so do the names that it gave.
pub(super) fn as_written(partition: &Partition, style: Style, read: &AsRead) -> Partition {
    let Style { names, .. } = style;
    let mut written = partition.clone();
    for row in &mut written.accounts {
        if !read.has(row) {
            settle(&mut row.environment, names, read);
        }
    }
    for row in &mut written.id_tokens {
        if read.has_token(&row.secret) {
            continue;
        }
        if let Some(place) = read.place_of_id_token(row) {
            row.environment.clone_from(&place.environment);
            row.foreign.get_or_insert_default().item_key = Some(place.item_key());
        } else {
            settle(&mut row.environment, names, read);
            name_as_node(row, names);
        }
    }
    write_access_tokens(&mut written, style, read);
    for row in &mut written.refresh_tokens {
        if read.has_token(&row.secret) {
            continue;
        }
        if let Some(place) = read.place_of(row) {
            row.environment.clone_from(&place.environment);
            row.target.clone_from(&place.target);
            row.foreign.get_or_insert_default().item_key = Some(place.item_key());
        } else {
            settle(&mut row.environment, names, read);
            name_as_node(row, names);
        }
    }
    for row in &mut written.app_metadata {
        if !read.has(row) {
            settle(&mut row.environment, names, read);
        }
    }
    written
}

fn write_access_tokens(partition: &mut Partition, style: Style, read: &AsRead) {
    let kept = read.twins_of(partition);
    let mut twins = Vec::new();
    for row in &mut partition.access_tokens {
        if read.has_access_token(row) {
            continue;
        }
        settle(&mut row.environment, style.names, read);
        if style.names == Names::Common {
            // Python replaces a token by its name, which has its scopes in order; Node looks at the fields, and is content with any.
            let mut scopes: Vec<_> = row.target.as_str().split_whitespace().collect();
            scopes.sort_unstable();
            row.target = ScopeSet::of(scopes);
            if let Some(foreign) = &mut row.foreign {
                foreign.item_key = None;
            }
        }
        name_as_node(row, style.names);
        if !row.home_account_id.is_empty() {
            continue;
        }
        if style.twins {
            let mut twin = row.clone();
            say_whose(&mut twin, String::new().into());
            twin.foreign.get_or_insert_default().item_key = Some(node_name(&twin));
            twins.push(twin);
            if let Some(foreign) = &mut row.foreign {
                foreign.item_key = None;
            }
            say_whose(row, Value::Null);
        } else if style.names != Names::Common {
            // Node finds tokens of applications by the empty text, and .NET reads it as none.
            say_whose(row, String::new().into());
        }
    }
    partition.access_tokens.extend(kept);
    partition.access_tokens.extend(twins);
}

/// Says that the token is the application's own.
fn say_whose(row: &mut AccessToken, nobody: Value) {
    let fields = row.foreign.get_or_insert_default().fields.expose_mut();
    fields.insert(HOME_ACCOUNT_ID.to_owned(), nobody);
}

/// The name under which the document knows the environment, else the one that the programs use which share it.
fn settle(environment: &mut String, names: Names, read: &AsRead) {
    if let Some(known) = read.known_environment(environment) {
        known.clone_into(environment);
    } else if names == Names::Common {
        // Python knows no ports, and does not find a row that has one.
        environment::without_port(environment)
            .to_owned()
            .clone_into(environment);
    } else if environment::aliases(environment).contains(&PUBLIC_CLOUD) {
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

fn node_name<R: NamedByNode>(row: &R) -> String {
    row.parts().join("-").to_lowercase()
}

fn name_as_node<R: NamedByNode>(row: &mut R, names: Names) {
    if names != Names::Node || row.foreign().is_some_and(|foreign| foreign.item_key.is_some()) {
        return;
    }
    let name = node_name(row);
    row.foreign_mut().get_or_insert_default().item_key = Some(name);
}
