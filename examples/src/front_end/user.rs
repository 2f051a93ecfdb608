//! Who is signed in.

use std::fmt;

use cache_core::cache::CachedAccount;
use cache_core::schema::{Account, PartitionKey};
use flows::AuthenticationResult;
use flows::authority::Authority;
use serde::{Deserialize, Serialize};

/// A user, who *is* an issuer and a subject there (OIDC Core section 5.7). Names and e-mail addresses change, are given to
/// somebody else, and can be claimed at another issuer: they are shown, and compared with nothing.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) issuer: String,
    pub(super) subject: String,
    /// To show to people, and to type for them at the next sign-in.
    pub(super) username: String,
    /// Where the user's tokens are in the cache.
    home_account_id: String,
    environment: String,
    realm: String,
    local_account_id: String,
    authority_type: String,
}

impl User {
    /// The user of a sign-in; `None` when its ID token does not say who that is.
    pub(super) fn of(result: &AuthenticationResult) -> Option<Self> {
        let claims = result.id_token_claims()?;
        let account = result.account()?;
        Some(Self {
            issuer: claims.issuer()?.to_owned(),
            subject: claims.subject()?.to_owned(),
            username: account.username.clone(),
            home_account_id: account.home_account_id.clone(),
            environment: account.environment.clone(),
            realm: account.realm.clone(),
            local_account_id: account.local_account_id.clone(),
            authority_type: account.authority_type.clone(),
        })
    }

    /// Somebody, for a test.
    #[cfg(test)]
    pub(super) fn named(subject: &str) -> Self {
        Self {
            issuer: "https://id.example".to_owned(),
            subject: subject.to_owned(),
            username: String::new(),
            home_account_id: subject.to_owned(),
            environment: "id.example".to_owned(),
            realm: String::new(),
            local_account_id: subject.to_owned(),
            authority_type: "Generic".to_owned(),
        }
    }

    /// What to show of the user.
    pub(super) fn display_name(&self) -> &str {
        if self.username.is_empty() {
            return &self.subject;
        }
        &self.username
    }

    pub(super) fn home_account_id(&self) -> &str {
        &self.home_account_id
    }

    /// The account, by which the cache finds the user's tokens. It is made and not looked up: a listing of accounts opens those of
    /// all users.
    pub(super) fn account(&self, authority: &Authority) -> CachedAccount {
        let issuer = (self.authority_type == "Generic").then(|| self.issuer.clone());
        CachedAccount {
            partition: PartitionKey::User {
                authority: authority.identity(),
                home_account_id: self.home_account_id.clone(),
            },
            account: Account {
                home_account_id: self.home_account_id.clone(),
                environment: self.environment.clone(),
                realm: self.realm.clone(),
                local_account_id: self.local_account_id.clone(),
                username: self.username.clone(),
                authority_type: self.authority_type.clone(),
                name: None,
                issuer,
                tenant_profiles: Vec::new(),
                foreign: None,
            },
            clients: Vec::new(),
            silent_clients: Vec::new(),
            has_family_token: false,
        }
    }

    /// What the user's record is called. The lengths keep apart what the texts might not.
    pub(super) fn record_name(&self) -> Vec<u8> {
        format!(
            "user:{}:{}:{}:{}",
            self.issuer.len(),
            self.issuer,
            self.subject.len(),
            self.subject
        )
        .into_bytes()
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User([personal data])")
    }
}
