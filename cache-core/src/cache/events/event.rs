//! What happened in a cache, for people and programs that look on. Never a secret.

use std::fmt;

use crate::cache::CacheError;
use crate::schema::AuthorityIdentity;
use crate::seal::RecordKind;
use crate::store::StoreKey;
use crate::time::{UnixMillis, UnixSeconds};

/// Something that was noticed, and where.
#[derive(Clone, Debug)]
pub struct CacheEvent {
    /// When it was noticed, by the cache's clock; it happened shortly before.
    pub at: UnixMillis,
    /// The record that changed; `None` for what is of the store as a whole.
    pub record: Option<StoreKey>,
    /// What it was.
    pub change: CacheChange,
}

/// What was noticed.
///
/// Several commits that follow one another closely may be seen as one: a refresh whose reply was stored before its marker was read
/// is a [`Refreshed`](Self::Refreshed) without a [`RefreshStarted`](Self::RefreshStarted).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CacheChange {
    /// A client's user signed in.
    SignedIn {
        /// Who.
        account: AccountName,
        /// To which client.
        client_id: String,
        /// Whether the user was signed in to it already.
        again: bool,
    },
    /// An account was signed out.
    SignedOut {
        /// Who.
        account: AccountName,
        /// Of which clients.
        clients: Vec<String>,
    },
    /// Somebody took the right to send a refresh token.
    RefreshStarted {
        /// Whose token; `None` in a session that acts for nobody who is known.
        account: Option<AccountName>,
        /// The client that obtained the token; of a family's, another member may be the one that sends it.
        client_id: String,
        /// Until when the sender may store the reply.
        deadline: UnixMillis,
    },
    /// A refresh brought an access token.
    Refreshed {
        /// Whose.
        account: Option<AccountName>,
        /// For which client.
        client_id: String,
        /// How many scopes the token has.
        scopes: usize,
        /// When it expires.
        expires_on: UnixSeconds,
    },
    /// A refresh that had been started gave up before it sent the token, or the authority told it to come back later.
    RefreshNotSent {
        /// Whose.
        account: Option<AccountName>,
        /// Of which client.
        client_id: String,
    },
    /// The authority refused a refresh, so the user must sign in.
    RefreshRefused {
        /// Whose.
        account: Option<AccountName>,
        /// Of which client.
        client_id: String,
        /// The `error` code, as the authority wrote it (RFC 6749 section 5.2).
        error: String,
        /// The `suberror` of Entra.
        suberror: Option<String>,
        /// Whether the token itself was refused, and not only this request.
        token_is_dead: bool,
    },
    /// A refresh token was sent and nobody knows what became of it.
    OutcomeUnknown {
        /// Whose.
        account: Option<AccountName>,
        /// Of which client.
        client_id: String,
    },
    /// A token of an application itself was stored.
    AppTokenStored {
        /// The application.
        client_id: String,
        /// Who issued it.
        authority: AuthorityIdentity,
        /// The tenant; empty for issuers without tenants.
        tenant: String,
        /// How many scopes it has.
        scopes: usize,
        /// When it expires.
        expires_on: UnixSeconds,
    },
    /// A session was begun.
    SessionBegun {
        /// For whom, where that is known.
        account: Option<AccountName>,
        /// By which client.
        client_id: String,
    },
    /// A session that brings its own proof, such as an assertion, got another token.
    SessionTokenStored {
        /// For whom, where that is known.
        account: Option<AccountName>,
        /// By which client.
        client_id: String,
        /// How many scopes the token has.
        scopes: usize,
        /// When it expires.
        expires_on: UnixSeconds,
    },
    /// A session was ended.
    SessionEnded {
        /// For whom, where that is known.
        account: Option<AccountName>,
        /// Of which client.
        client_id: String,
    },
    /// Keys that tokens are bound to were made or changed.
    ProofKeysStored,
    /// Keys that tokens were bound to were removed.
    ProofKeysRemoved,
    /// The key ring changed: a key was added, promoted or retired, or the ring was sealed under another key.
    KeyRingChanged,
    /// A record was moved to the quarantine; the event bears its name there.
    Quarantined,
    /// A record was sealed under another key, and what is in it is as it was.
    Resealed {
        /// What the record holds.
        kind: RecordKind,
    },
    /// A record went back to an earlier generation, and counts as missing.
    RolledBack {
        /// What the record holds.
        kind: RecordKind,
    },
    /// A record was written, and nothing more can be said of it: it changed in another way, is of a kind that is not looked into, or
    /// was not seen before.
    Committed {
        /// What the record holds; `None` for a name that is not one of ours.
        kind: Option<RecordKind>,
    },
    /// A record was removed that was not seen before.
    Removed {
        /// What it held; `None` for a name that is not one of ours.
        kind: Option<RecordKind>,
    },
    /// A record was written that cannot be opened.
    Unreadable {
        /// What it holds, by its name.
        kind: RecordKind,
        /// Why.
        error: CacheError,
    },
    /// The store does not answer. It is asked again, and [`StoreBack`](Self::StoreBack) follows when it does.
    StoreFailed {
        /// Why.
        error: CacheError,
    },
    /// The store answers again.
    StoreBack,
    /// The store's notification had a gap. What had been seen before is compared anew, so what follows may have happened in the gap.
    Lost,
}

/// Whose tokens changed.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountName {
    /// Which account of its authority it is.
    pub home_account_id: String,
    /// The name that the user signs in with, to show to people; empty where it is not known.
    pub username: String,
    /// The host that issued the tokens; empty where it is not known.
    pub environment: String,
}

impl AccountName {
    pub(super) fn bytes(&self) -> usize {
        self.home_account_id.len() + self.username.len() + self.environment.len()
    }
}

/// Personal data stays out of logs.
impl fmt::Debug for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountName")
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}
