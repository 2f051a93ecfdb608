//! Signing out: what is removed, and the refresh tokens that it leaves to be revoked.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::commit::{Earlier, Verdict};
use super::proof_keys::{ProofKeyOwner, clients_of};
use super::{CacheError, Inner};
use crate::schema::merge::{self, SignOutScope};
use crate::schema::{Partition, PartitionKey, RefreshToken, SessionAnchor, SessionLink};
use crate::secret::Secret;
use crate::store::StoreKey;

/// What a sign-out removed.
#[derive(Clone, Default)]
pub struct RemovedTokens {
    /// Whether there was anything to remove.
    pub found: bool,
    /// The refresh tokens that were removed and that nobody keeps, each once: those that the authority may be asked to
    /// revoke (RFC 7009). A family's token that stays for its other members is not among them.
    pub refresh_tokens: Vec<Secret>,
}

impl fmt::Debug for RemovedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemovedTokens")
            .field("found", &self.found)
            .field("refresh_tokens", &self.refresh_tokens.len())
            .finish()
    }
}

/// For how long a sign-out is remembered: longer than any request takes that was under way when it came.
const REMEMBERED: Duration = Duration::from_secs(2 * 600);

/// The sign-outs of late in this process: whose, and of which client (of all where it is forgotten).
///
/// A request whose reply is the first to say for whom it is leaves nothing in the store that a sign-out could remove.
#[derive(Default)]
pub(crate) struct SignOuts(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    /// How many there were: clocks that tick coarsely cannot tell what came first.
    count: u64,
    known: HashMap<(StoreKey, Option<String>), Noted>,
}

struct Noted {
    number: u64,
    /// On the monotonic clock.
    at: Duration,
}

impl SignOuts {
    /// How many there were until now.
    pub(crate) fn count(&self) -> u64 {
        self.lock().count
    }

    /// Whether the client's user was signed out since there were `count`.
    pub(crate) fn since(&self, user: &StoreKey, client_id: &str, count: u64) -> bool {
        let counted = self.lock();
        let of = |client: Option<&str>| {
            let noted = counted.known.get(&(user.clone(), client.map(str::to_owned)));
            noted.is_some_and(|noted| noted.number > count)
        };
        of(None) || of(Some(client_id))
    }

    fn note(&self, user: StoreKey, client_id: Option<String>, now: Duration) {
        let mut counted = self.lock();
        counted
            .known
            .retain(|_, noted| now.saturating_sub(noted.at) < REMEMBERED);
        counted.count += 1;
        let number = counted.count;
        counted.known.insert((user, client_id), Noted { number, at: now });
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the round of a commit took out of a user's partition.
#[derive(Clone, Default)]
struct Removed {
    sessions: Vec<SessionLink>,
    refresh_tokens: Vec<Secret>,
    /// What was there, of each round.
    rows: Vec<Partition>,
    /// The refresh tokens that it left for others.
    left: Vec<Secret>,
    /// Those that had anything here.
    clients: Vec<String>,
}

impl Inner {
    pub(crate) async fn sign_out(
        self: &Arc<Self>,
        key: &PartitionKey,
        client_id: &str,
        scope: SignOutScope,
    ) -> Result<RemovedTokens, CacheError> {
        let client = client_id.to_owned();
        // Before the rows go: what is stored after that finds the sign-out here.
        self.sign_outs
            .note(self.stored_key(key), Some(client.clone()), self.clock.monotonic());
        let removed = self.remove(key, move |partition| merge::sign_out(partition, &client, scope));
        let (removed, copy) = removed.await?;
        self.relist(key).await;
        // Also where nothing was found: an earlier sign-out may have ended between the tokens and the key.
        self.remove_keys_of(key, [client_id.to_owned()]).await;
        copy.map(|()| removed)
    }

    pub(crate) async fn forget(self: &Arc<Self>, key: &PartitionKey) -> Result<RemovedTokens, CacheError> {
        self.sign_outs
            .note(self.stored_key(key), None, self.clock.monotonic());
        let removed = self.remove(key, |partition| {
            *partition = Partition::new(partition.key.clone())
        });
        let (removed, copy) = removed.await?;
        self.relist(key).await;
        copy.map(|()| removed)
    }

    /// Applies `change`, and with it removes the sessions that are no longer linked. Gives beside it whether the user's copy in the
    /// fallback store was removed.
    async fn remove(
        self: &Arc<Self>,
        key: &PartitionKey,
        change: impl Fn(&mut Partition) + Send + 'static,
    ) -> Result<(RemovedTokens, Result<(), CacheError>), CacheError> {
        self.end_migration_of(key).await;
        // What earlier rounds removed: one whose acknowledgement was lost leaves nothing for the next to find.
        let mut removed: Option<Removed> = None;
        let (removed, copy) = self
            .commit_removal(key, move |partition, earlier| {
                if earlier == Earlier::NotStored {
                    // What that round would have taken may have become another member's since.
                    removed = None;
                }
                let Some(mut partition) = partition else {
                    return (Verdict::Keep(None), removed.clone());
                };
                let before = partition.clone();
                change(&mut partition);
                // So may what a round would have taken of which nobody knows, unless what is kept here is no other than what it left.
                if let Some(noted) = &mut removed {
                    let is_left = |row: &RefreshToken| noted.left.contains(&row.secret);
                    if !partition.refresh_tokens.iter().all(is_left) {
                        noted.refresh_tokens.clear();
                    }
                }
                // A record without rows is one whose rows were rolled back, and must not come to life again.
                if partition == before && !partition.is_empty() {
                    return (Verdict::Keep(Some(partition)), removed.clone());
                }
                let noted = removed.get_or_insert_default();
                noted.refresh_tokens.extend(taken(&before, &partition));
                noted.left = partition
                    .refresh_tokens
                    .iter()
                    .map(|row| row.secret.clone())
                    .collect();
                noted.clients.extend(clients_of(&before));
                for link in &before.sessions {
                    if !partition.sessions.contains(link) && !noted.sessions.contains(link) {
                        noted.sessions.push(link.clone());
                    }
                }
                noted.rows.push(before);
                let verdict = if partition.is_empty() {
                    Verdict::Delete
                } else {
                    Verdict::Store(partition)
                };
                (verdict, removed.clone())
            })
            .await?;
        let Some(Removed {
            sessions,
            mut refresh_tokens,
            mut clients,
            rows,
            ..
        }) = removed
        else {
            return Ok((RemovedTokens::default(), copy));
        };
        self.end_migration_of_removed(key, &rows).await;
        // The sign-in's epoch is gone, so these sessions are dead already; this only takes their bytes away.
        for link in sessions {
            let Some(session) = PartitionKey::from_bytes(&link.key) else {
                continue;
            };
            let (user, mut held) = (key.to_bytes(), Vec::new());
            let taken_away = self.commit_removal(&session, move |partition, _| {
                // Begun anew under the same key for somebody else, it is theirs.
                let is_others = |anchor: &SessionAnchor| anchor.user != user;
                match partition {
                    Some(partition) if partition.anchor.as_ref().is_some_and(is_others) => {
                        (Verdict::Keep(Some(partition)), held.clone())
                    }
                    partition => {
                        let rows = partition.map(|partition| partition.refresh_tokens);
                        held.extend(rows.into_iter().flatten().map(|row| row.secret));
                        (Verdict::Delete, held.clone())
                    }
                }
            });
            match taken_away.await {
                // A copy that is left serves nobody without its user's sign-in.
                Ok((held, _)) => refresh_tokens.extend(held),
                Err(error) => {
                    tracing::warn!(error = %error, "the record of a session that was signed out could not be removed");
                }
            }
        }
        clients.sort_unstable();
        clients.dedup();
        self.remove_keys_of(key, clients).await;
        let mut once = Vec::with_capacity(refresh_tokens.len());
        for token in refresh_tokens {
            if !once.contains(&token) {
                once.push(token);
            }
        }
        let removed = RemovedTokens {
            found: true,
            refresh_tokens: once,
        };
        Ok((removed, copy))
    }
}

impl Inner {
    /// Removes the keys that tokens of these clients were bound to, unless a client still has tokens here.
    async fn remove_keys_of(self: &Arc<Self>, key: &PartitionKey, clients: impl IntoIterator<Item = String>) {
        let PartitionKey::User {
            authority,
            home_account_id,
        } = key
        else {
            return;
        };
        for client_id in clients {
            let owner = ProofKeyOwner {
                authority: authority.clone(),
                client_id,
                home_account_id: Some(home_account_id.clone()),
            };
            if let Err(error) = self.remove_keys(&owner).await {
                tracing::warn!(error = %error, "the proof key of an account that was signed out could not be removed");
            }
        }
    }
}

/// The refresh tokens of `before` that `after` no longer has.
fn taken(before: &Partition, after: &Partition) -> Vec<Secret> {
    let gone = before.refresh_tokens.iter().map(|row| &row.secret);
    gone.filter(|secret| after.refresh_tokens.iter().all(|row| row.secret != **secret))
        .cloned()
        .collect()
}
