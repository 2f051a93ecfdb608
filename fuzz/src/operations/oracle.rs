//! What must be true whatever happened.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenRequest,
};
use cache_core::time::{UnixMillis, UnixSeconds};

use super::issuer::{CLIENT, HOST, ISSUER, SCOPE};

/// Whose tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    User(u8),
    /// The one session of this user.
    Session(u8),
}

impl Subject {
    pub(super) fn user(self) -> u8 {
        let (Self::User(user) | Self::Session(user)) = self;
        user
    }

    pub(super) fn partition(self) -> PartitionKey {
        let authority = AuthorityIdentity::of_issuer(ISSUER);
        match self {
            Self::User(_) => PartitionKey::User {
                authority,
                home_account_id: self.home_account_id(),
            },
            Self::Session(user) => PartitionKey::Session {
                client_id: CLIENT.to_owned(),
                authority,
                key: SessionKey::AssertionHash([user; 32]),
            },
        }
    }

    pub(super) fn home_account_id(self) -> String {
        format!("user-{}", self.user())
    }

    pub(super) fn request(self) -> Arc<TokenRequest> {
        let scopes = ScopeSet::parse(SCOPE);
        Arc::new(TokenRequest::new(
            self.partition(),
            AuthorityKind::Oidc,
            CLIENT,
            HOST,
            "",
            scopes,
        ))
    }
}

/// What was issued and what was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// The last serial number that was issued.
    last: u64,
    /// Whose a serial number is, and when its access token expires.
    issued: HashMap<u64, (Subject, UnixSeconds)>,
    /// Up to this number, everything of the subject ended with a sign-out that was acknowledged.
    ended: HashMap<Subject, u64>,
    /// The last of the subject that was stored for certain, and that nobody has tried to remove since.
    stored: HashMap<Subject, u64>,
    /// Refresh tokens that may be spent.
    spent: HashSet<u64>,
    has_served: bool,
    /// The first promise that was broken. A panic in a task of the cache would be taken for one of the authority's client.
    broken: Option<String>,
}

impl Oracle {
    pub(super) fn issue(&mut self, subject: Subject, expires: UnixSeconds) -> u64 {
        self.last += 1;
        self.issued.insert(self.last, (subject, expires));
        self.last
    }

    pub(super) fn stored(&mut self, subject: Subject, serial: u64) {
        self.stored.insert(subject, serial);
    }

    /// From now on the subjects' tokens may be gone.
    pub(super) fn ending(&mut self, subjects: &[Subject]) {
        for subject in subjects {
            self.stored.remove(subject);
        }
    }

    /// The subjects' tokens are gone for certain.
    pub(super) fn ended(&mut self, subjects: &[Subject]) {
        for subject in subjects {
            self.ended.insert(*subject, self.last);
        }
    }

    /// The cache handed out this access token.
    pub(super) fn served(&mut self, subject: Subject, token: &str) {
        self.has_served = true;
        let serial = self.check(subject, token.strip_prefix("access "));
        let stored = self.stored.get(&subject).copied().unwrap_or_default();
        self.must(serial >= stored, || {
            format!("{subject:?}: {serial} was handed out after {stored} was stored")
        });
    }

    pub(super) fn has_served(&self) -> bool {
        self.has_served
    }

    /// The cache knows of no access token.
    pub(super) fn missing(&mut self, subject: Subject, now: UnixMillis) {
        let Some(stored) = self.stored.get(&subject).copied() else {
            return;
        };
        let (_, expires) = self.issued[&stored];
        // What is about to expire is not served.
        let serves = now.to_seconds().saturating_add(Duration::from_secs(300)) < expires;
        self.must(!serves, || {
            format!("{subject:?}: {stored} was stored and is not found")
        });
    }

    /// The cache sent this refresh token.
    pub(super) fn sent(&mut self, subject: Subject, token: &str, may_be_spent: bool) {
        let serial = self.check(subject, token.strip_prefix("refresh "));
        self.must(!self.spent.contains(&serial), || {
            format!("{subject:?}: {serial} was sent twice")
        });
        if may_be_spent {
            self.spent.insert(serial);
        }
    }

    /// The number of a token that must be this subject's, and not have ended.
    fn check(&mut self, subject: Subject, serial: Option<&str>) -> u64 {
        let serial: u64 = serial.and_then(|serial| serial.parse().ok()).unwrap_or_default();
        let owner = self.issued.get(&serial).map(|(owner, _)| *owner);
        self.must(owner == Some(subject), || {
            format!("{subject:?}: {serial} is of {owner:?}")
        });
        let ended = self.ended.get(&subject).copied().unwrap_or_default();
        self.must(serial > ended, || {
            format!("{subject:?}: {serial} after all up to {ended} had ended")
        });
        serial
    }

    fn must(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.broken.get_or_insert_with(otherwise);
        }
    }

    /// # Panics
    /// When a promise was broken.
    pub(super) fn assert(&self) {
        if let Some(broken) = &self.broken {
            panic!("{broken}");
        }
    }
}
