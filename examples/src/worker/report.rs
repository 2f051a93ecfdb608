//! What the worker says of each account.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::schema::PartitionKey;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// How acting for one account ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(super) enum Outcome {
    /// The API took a token.
    Called {
        /// Where the token came from: memory, the store, or the authority.
        token_from: String,
    },
    /// The user has to sign in. It is noted, and until then nobody asks again.
    NeedsUser,
    /// The user signed out meanwhile.
    SignedOut,
    /// The API refused, whatever the token.
    Refused {
        /// With this HTTP status.
        status: u16,
    },
    /// Something else is wrong. The next time may be better.
    Failed {
        /// What: an error of this project, none of which holds a secret.
        error: String,
    },
}

/// A line of JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    account: String,
    #[serde(flatten)]
    outcome: Outcome,
}

impl Report {
    pub(super) fn new(partition: &PartitionKey, outcome: Outcome, name_account: bool) -> Self {
        let account = match partition {
            PartitionKey::User { home_account_id, .. } if name_account => home_account_id.clone(),
            _ => URL_SAFE_NO_PAD.encode(&Sha256::digest(partition.to_bytes())[..9]),
        };
        Self { account, outcome }
    }

    pub(super) fn line(&self) -> String {
        // A struct of texts and numbers is always JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use cache_core::schema::AuthorityIdentity;

    use super::*;

    #[test]
    fn an_account_is_named_on_request_only() {
        let partition = PartitionKey::User {
            authority: AuthorityIdentity::of_issuer("https://id.example"),
            home_account_id: "canary".to_owned(),
        };
        let line = |outcome, name| Report::new(&partition, outcome, name).line();
        let called = Outcome::Called {
            token_from: "store".to_owned(),
        };
        assert_eq!(
            line(called.clone(), true),
            r#"{"account":"canary","outcome":"called","token_from":"store"}"#
        );
        let anonymous = line(called, false);
        assert!(!anonymous.contains("canary"));
        // Lines of one account can be told to be so.
        let (account, _) = anonymous.split_once(",").unwrap();
        assert_eq!(
            line(Outcome::NeedsUser, false),
            format!(r#"{account},"outcome":"needs_user"}}"#)
        );
    }
}
