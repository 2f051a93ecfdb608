//! Which accounts to list, and where to go on.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::entry::{DirectoryClient, DirectoryEntry, Position};
use crate::cache::CacheError;
use crate::store::StoreKey;
use crate::time::UnixSeconds;

const VERSION: &str = "d1.";

/// Which accounts of the directory to list. Without conditions, all of them.
///
/// The conditions are about the client that is named, else about all clients of an account together: it was last used when any of them was,
/// and needs its user when any of them does.
///
/// ```
/// use std::time::Duration;
/// use cache_core::cache::DirectoryQuery;
///
/// let idle = DirectoryQuery::new().client_id("web-shop").idle_for(Duration::from_secs(6 * 3600)).needs_interaction(false);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct DirectoryQuery {
    client_id: Option<String>,
    used_before: Option<UnixSeconds>,
    idle_for: Option<Duration>,
    needs_interaction: Option<bool>,
    pub(super) limit: usize,
    pub(super) after: Option<DirectoryCursor>,
    pub(super) is_verified: bool,
}

impl DirectoryQuery {
    /// The most accounts that one page has.
    pub const MAX_LIMIT: usize = 1000;

    /// All accounts, a hundred at a time.
    pub fn new() -> Self {
        Self {
            client_id: None,
            used_before: None,
            idle_for: None,
            needs_interaction: None,
            limit: 100,
            after: None,
            is_verified: false,
        }
    }

    /// Only accounts that this client has signed in.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// Only accounts that were last used before `moment`. What the directory knows is as coarse as
    /// [`DirectoryPolicy`](crate::strategy::DirectoryPolicy) says: an account may have been used that much later.
    pub fn used_before(mut self, moment: UnixSeconds) -> Self {
        self.used_before = Some(moment);
        self
    }

    /// Only accounts that have not been used for `duration` when the page is read; otherwise as [`used_before`](Self::used_before).
    pub fn idle_for(mut self, duration: Duration) -> Self {
        self.idle_for = Some(duration);
        self
    }

    /// Only accounts whose user must, or need not, sign in again before the client can act for it.
    pub fn needs_interaction(mut self, needs_interaction: bool) -> Self {
        self.needs_interaction = Some(needs_interaction);
        self
    }

    /// At most `limit` accounts in a page: 1 to [`MAX_LIMIT`](Self::MAX_LIMIT), and the nearest of these for others.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, Self::MAX_LIMIT);
        self
    }

    /// Goes on where an earlier page ended.
    pub fn after(mut self, cursor: DirectoryCursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// Compares each account with its partition, which costs one read of the store each: accounts and clients that are gone are left
    /// out, and in the background removed. Without this, whoever acts for an account that is gone learns it by
    /// [`InteractionReason::NoAccount`](crate::cache::InteractionReason::NoAccount), which removes it as well.
    pub fn verified(mut self) -> Self {
        self.is_verified = true;
        self
    }

    pub(super) fn matches(&self, entry: &DirectoryEntry, now: UnixSeconds) -> bool {
        let named = |client: &&DirectoryClient| {
            let client_id = self.client_id.as_ref();
            client_id.is_none_or(|client_id| *client_id == client.client_id)
        };
        let clients = || entry.clients.iter().filter(named);
        let Some(last_used) = clients().map(|client| client.last_used).max() else {
            return false;
        };
        self.used_before.is_none_or(|moment| last_used < moment)
            && self
                .idle_for
                .is_none_or(|duration| last_used.saturating_add(duration) <= now)
            && self
                .needs_interaction
                .is_none_or(|wanted| clients().any(|client| client.needs_interaction.is_some()) == wanted)
    }
}

impl Default for DirectoryQuery {
    fn default() -> Self {
        Self::new()
    }
}

/// Some of the accounts of the directory.
#[derive(Debug, Default)]
pub struct DirectoryPage {
    /// The accounts that match, in an order that says nothing of them and stays.
    pub entries: Vec<DirectoryEntry>,
    /// Where to go on; `None` at the end. A page may have fewer accounts than the limit, or none, and yet not be the last: one call reads
    /// only so much.
    pub next: Option<DirectoryCursor>,
    /// Pages of the directory that could not be read, with the accounts on them. They are kept as they are: see
    /// [`TokenCache::quarantine`](crate::cache::TokenCache::quarantine), and then [`Directory::rebuild`](super::Directory::rebuild).
    pub unreadable: Vec<(StoreKey, CacheError)>,
}

/// Where in the directory to go on. It can be kept as text, across restarts, and serves every process that shares the store. It says nothing of
/// any account to who does not have the cache's keys.
///
/// ```
/// use cache_core::cache::DirectoryCursor;
///
/// let text = "d1.AAECAwQFBgcICQoLDA0ODw";
/// let cursor: DirectoryCursor = text.parse()?;
/// assert_eq!(cursor.to_string(), text);
/// # Ok::<(), cache_core::cache::InvalidDirectoryCursor>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DirectoryCursor(pub(super) Position);

impl fmt::Display for DirectoryCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}{}", URL_SAFE_NO_PAD.encode(self.0.0))
    }
}

impl fmt::Debug for DirectoryCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DirectoryCursor {
    type Err = InvalidDirectoryCursor;

    fn from_str(text: &str) -> Result<Self, InvalidDirectoryCursor> {
        let encoded = text.strip_prefix(VERSION).ok_or(InvalidDirectoryCursor)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| InvalidDirectoryCursor)?;
        let bytes = bytes.try_into().map_err(|_| InvalidDirectoryCursor)?;
        Ok(Self(Position(bytes)))
    }
}

/// A text that is no [`DirectoryCursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of the directory of accounts, or one of another version: begin without a cursor")]
pub struct InvalidDirectoryCursor;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_from_text_and_nothing_else_does() {
        let cursor = DirectoryCursor(Position([0xab; 16]));
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in [
            "",
            "d1.",
            "d2.q6urq6urq6urq6urq6urqw",
            "d1.q6ur",
            "d1.q6urq6urq6urq6urq6urqwA",
            "d1.!",
        ] {
            assert_eq!(
                bad.parse::<DirectoryCursor>(),
                Err(InvalidDirectoryCursor),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_limit_is_at_least_one() {
        assert_eq!(DirectoryQuery::new().limit(0).limit, 1);
        assert_eq!(
            DirectoryQuery::new().limit(usize::MAX).limit,
            DirectoryQuery::MAX_LIMIT
        );
    }
}
