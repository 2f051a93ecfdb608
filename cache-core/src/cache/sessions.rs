//! Sessions: tokens that live and die with a sign-in.
//!
//! A session has a partition of its own, and the user's partition lists it. Two things end it with the sign-in: the sign-out removes
//! what is listed, and a session is a miss as soon as the epoch that it was begun under is no longer the client's.
//! The second holds also for a session whose removal failed, or that was restored from somewhere.

use std::sync::Arc;
use std::time::Duration;

use super::acquired::{Acquired, TokenSource};
use super::commit::{Earlier, Verdict};
use super::find::Sighted;
use super::new_epochs::NewEpochs;
use super::{CacheError, Inner, InteractionReason, InteractionRequired, RemovedTokens, TokenCache};
use crate::schema::index::IndexedPartition;
use crate::schema::{
    Account, ClientEpoch, Partition, PartitionKey, SessionAnchor, SessionKey, SessionLink, TokenRequest,
    TokenResponse,
};
use crate::store::Durability;
use crate::time::UnixMillis;

/// How many sessions a user's partition lists. Those beyond it still end by their epoch, but their bytes stay until they expire.
const MOST_LISTED: usize = 1024;

/// How things were when the tokens of a session were asked for.
#[derive(Default)]
pub(crate) struct Asked {
    /// The sign-in that the session belonged to already.
    pub(crate) under: Option<SessionAnchor>,
    /// How many sign-outs there had been, where no user was at the door.
    pub(crate) sign_outs: Option<u64>,
}

/// A session as it was looked up.
#[derive(Clone, Debug)]
pub struct SessionLookup {
    /// Whom it acts for.
    pub account: Account,
    source: TokenSource,
    time_in_store: Duration,
    during_outage: bool,
}

impl TokenCache {
    /// The account that a session acts for; `None` when there is no such session any more, or when nobody knows whom it acts for.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// That the store failed.
    pub async fn session_account(&self, session: &PartitionKey) -> Result<Option<Account>, CacheError> {
        Ok(self.session_lookup(session).await?.map(|lookup| lookup.account))
    }

    /// As [`session_account`](Self::session_account), for a caller that goes on to [`acquire`](Self::acquire) a token in the session: see
    /// [`Acquired::looked_up`].
    ///
    /// # Errors
    /// As [`session_account`](Self::session_account).
    ///
    /// # Cancellation safety
    /// Cancellation safe.
    pub async fn session_lookup(&self, session: &PartitionKey) -> Result<Option<SessionLookup>, CacheError> {
        self.inner.session_lookup(session).await
    }

    /// As [`end_session`](Self::end_session), and hands out the refresh tokens that it removed, to be revoked at the authority: those of
    /// the last session. While the client has other tokens or sessions of the same user there are none to revoke, because providers make
    /// one grant of all sign-ins of a browser, and a revoked token takes its grant along (RFC 7009 section 2.1).
    ///
    /// # Errors
    /// As [`end_session`](Self::end_session).
    ///
    /// # Cancellation safety
    /// Cancellation safe as that is; the tokens are then not handed out.
    pub async fn end_session_with_tokens(&self, session: &PartitionKey) -> Result<RemovedTokens, CacheError> {
        self.inner.end_session(session).await
    }
}

impl Acquired {
    /// This token as the result of a call that looked its session up first: found where that was, if it was found in memory only
    /// because of it.
    #[must_use]
    pub fn looked_up(mut self, lookup: &SessionLookup) -> Self {
        if self.source == TokenSource::Memory {
            self.source = lookup.source;
        }
        self.time_in_store += lookup.time_in_store;
        self.during_outage |= lookup.during_outage;
        self
    }
}

impl SessionLookup {
    /// How long the store was waited for.
    #[must_use]
    pub fn time_in_store(&self) -> Duration {
        self.time_in_store
    }

    /// Whether the store could not be reached: see [`Acquired::served_during_outage`].
    #[must_use]
    pub fn served_during_outage(&self) -> bool {
        self.during_outage
    }
}

impl Inner {
    /// Begins a session, unless the sign-in that it belonged to when it was `asked` for is over, or was ended since.
    pub(crate) async fn begin_session(
        self: &Arc<Self>,
        user: &PartitionKey,
        session: &PartitionKey,
        response: TokenResponse,
        lifetime: Duration,
        asked: Asked,
    ) -> Result<Acquired, CacheError> {
        let (PartitionKey::User { home_account_id, .. }, PartitionKey::Session { client_id, .. }) =
            (user, session)
        else {
            return Err(CacheError::Strategy(
                "a session needs the key of a user's partition and that of a session".into(),
            ));
        };
        if response.home_account_id() != home_account_id || response.client_id != *client_id {
            return Err(CacheError::WrongAccount);
        }
        self.has_place(session)?;
        let link = SessionLink {
            key: session.to_bytes(),
            expires_at: self.clock.now().saturating_add(lifetime),
        };
        let until = link.expires_at;
        let Asked { under, sign_outs } = asked;
        if under.as_ref().is_some_and(|under| under.user != user.to_bytes()) {
            return Err(CacheError::WrongAccount);
        }
        let under = under.map(|under| under.epoch);
        let mut epochs = NewEpochs::draw(&*self.random)?;
        let mut was_signed_in = false;
        let (user_, client_id, clock) = (user.clone(), client_id.clone(), Arc::clone(&self.clock));
        let (inner, stored_key) = (Arc::clone(self), self.stored_key(user));
        // Listed before it exists: a session that nobody lists would outlive the next sign-out in the store.
        let (epoch, _) = self
            .commit_knowing(user, Durability::Durable, move |partition, earlier| {
                let mut link = link.clone();
                if sign_outs.is_some_and(|count| inner.sign_outs.since(&stored_key, &client_id, count)) {
                    return (Verdict::Keep(partition), None);
                }
                let known = partition.as_ref().and_then(|rows| epoch_of(rows, &client_id));
                if under.is_some_and(|under| known != Some(under)) {
                    return (Verdict::Keep(partition), None);
                }
                // What an earlier run may have listed was signed out.
                if earlier == Earlier::MayBeStored && was_signed_in && known.is_none() {
                    return (Verdict::Keep(partition), None);
                }
                was_signed_in = known.is_some();
                let mut partition = partition.unwrap_or_else(|| Partition::new(user_.clone()));
                epochs.begin_run();
                let epoch = epoch_of(&partition, &client_id).unwrap_or_else(|| {
                    let (client_id, epoch) = (client_id.clone(), epochs.of(&client_id));
                    partition.epochs.push(ClientEpoch { client_id, epoch });
                    epoch
                });
                let now = clock.now();
                // A token that expires early does not shorten the life of those beside it.
                if let Some(known) = partition.sessions.iter().find(|known| known.key == link.key) {
                    link.expires_at = link.expires_at.max(known.expires_at);
                }
                partition
                    .sessions
                    .retain(|known| known.expires_at > now && known.key != link.key);
                partition.sessions.sort_by_key(|known| known.expires_at);
                let surplus = (partition.sessions.len() + 1).saturating_sub(MOST_LISTED);
                partition.sessions.drain(..surplus);
                partition.sessions.push(link);
                (Verdict::Store(partition), Some(epoch))
            })
            .await?;
        let epoch = epoch.ok_or_else(signed_out)?;
        let anchor = SessionAnchor {
            user: user.to_bytes(),
            epoch,
        };
        self.store_granted(session, response, Some(anchor), Some(until))
            .await
    }

    /// Stores the reply to a request for the session of its partition: under its user's sign-in, where the reply names an account.
    ///
    /// Without a refresh token the record is of no use once the token has expired, so it lasts no longer.
    pub(crate) async fn begin_obtained_session(
        self: &Arc<Self>,
        request: &TokenRequest,
        response: TokenResponse,
        longest: Duration,
        asked: Asked,
    ) -> Result<Acquired, CacheError> {
        let session = request.partition();
        let authority = session.authority().ok_or_else(no_session)?.clone();
        let now = self.clock.now();
        let lifetime = if response.refresh_token.is_some() {
            longest
        } else {
            let last = response
                .expires_on
                .max(response.extended_expires_on.unwrap_or_default());
            last.duration_since(now.to_seconds()).min(longest)
        };
        let Some(account) = &response.account else {
            let until = now.saturating_add(lifetime);
            return self.store_granted(session, response, None, Some(until)).await;
        };
        let user = PartitionKey::User {
            authority,
            home_account_id: account.home_account_id.clone(),
        };
        self.begin_session(&user, session, response, lifetime, asked)
            .await
    }

    /// The account that a session acts for; `None` when the session is gone, or acts for nobody that is known.
    pub(crate) async fn session_lookup(
        self: &Arc<Self>,
        session: &PartitionKey,
    ) -> Result<Option<SessionLookup>, CacheError> {
        let sighted = self.sight(session).await?;
        Ok(sighted.and_then(|sighted| {
            Some(SessionLookup {
                account: sighted
                    .partition
                    .rows_without_tokens()
                    .accounts
                    .into_iter()
                    .next()?,
                source: sighted.source,
                time_in_store: sighted.time_in_store,
                during_outage: sighted.during_outage,
            })
        }))
    }

    pub(crate) async fn end_session(
        self: &Arc<Self>,
        session: &PartitionKey,
    ) -> Result<RemovedTokens, CacheError> {
        let PartitionKey::Session { client_id, .. } = session else {
            return Err(no_session());
        };
        self.end_migration_of(session).await;
        // What an earlier round removed: one whose acknowledgement was lost leaves nothing for the next to find.
        let mut removed: Option<(Partition, RemovedTokens)> = None;
        let (removed, copy) = self
            .commit_removal(session, move |partition, earlier| {
                let Some(partition) = partition else {
                    return (Verdict::Keep(None), removed.clone());
                };
                if partition.is_empty() {
                    // It was rolled back, or settles an earlier round.
                    let found = RemovedTokens {
                        found: true,
                        ..RemovedTokens::default()
                    };
                    removed.get_or_insert((partition, found));
                    return (Verdict::Delete, removed.clone());
                }
                let user = |rows: &Partition| rows.anchor.as_ref().map(|anchor| anchor.user.clone());
                // What was begun after that round under the same key is as much to be revoked; but not by another user's.
                let of_earlier = removed
                    .take()
                    .filter(|(rows, _)| earlier == Earlier::MayBeStored && user(rows) == user(&partition));
                let mut tokens = of_earlier.map(|(_, tokens)| tokens).unwrap_or_default();
                tokens.found = true;
                for row in &partition.refresh_tokens {
                    if !tokens.refresh_tokens.contains(&row.secret) {
                        tokens.refresh_tokens.push(row.secret.clone());
                    }
                }
                removed = Some((partition, tokens));
                (Verdict::Delete, removed.clone())
            })
            .await?;
        let Some((rows, mut removed)) = removed else {
            return copy.map(|()| RemovedTokens::default());
        };
        self.end_migration_of_removed(session, std::slice::from_ref(&rows))
            .await;
        let anchor = rows.anchor;
        // The record went first: a link to nothing does no harm, a session that nobody lists would.
        let Some(user) = anchor.and_then(|anchor| PartitionKey::from_bytes(&anchor.user)) else {
            return copy.map(|()| removed);
        };
        let (key, clock) = (session.to_bytes(), Arc::clone(&self.clock));
        let client_id = client_id.clone();
        let unlinked = self.commit(&user, Durability::Durable, move |partition| {
            let Some(mut partition) = partition else {
                return (Verdict::Keep(None), true);
            };
            let before = partition.sessions.len();
            partition.sessions.retain(|link| link.key != key);
            let is_last = !keeps_grants(&partition, &client_id, None, clock.now());
            if partition.sessions.len() == before {
                (Verdict::Keep(Some(partition)), is_last)
            } else if partition.is_empty() {
                (Verdict::Delete, is_last)
            } else {
                (Verdict::Store(partition), is_last)
            }
        });
        let is_last = match unlinked.await {
            Ok((is_last, _)) => is_last,
            Err(error) => {
                tracing::warn!(error = %error, "a session that was ended is still listed; the link expires");
                false
            }
        };
        if !is_last {
            removed.refresh_tokens.clear();
        }
        copy.map(|()| removed)
    }

    /// What was found of a session, if the sign-in that it belongs to still lasts; anything else as it is.
    pub(crate) async fn anchored(
        self: &Arc<Self>,
        key: &PartitionKey,
        found: Option<Sighted>,
        latest: bool,
    ) -> Result<Option<Sighted>, CacheError> {
        let PartitionKey::Session { client_id, .. } = key else {
            return Ok(found);
        };
        let Some(mut sighted) = found else {
            return Ok(None);
        };
        let Some((user, epoch)) = sighted.partition.anchor() else {
            return Ok(Some(sighted));
        };
        let Some(user) = PartitionKey::from_bytes(user) else {
            return Ok(None);
        };
        let user = if latest {
            self.sight_rows_latest(&user).await?
        } else {
            self.sight_rows(&user).await?
        };
        let lasts = |user: &Sighted| user.partition.epoch(client_id) == Some(epoch);
        let Some(user) = user.filter(lasts) else {
            return Ok(None);
        };
        sighted.during_outage |= user.during_outage;
        // An answer must end with either.
        let [of_session, _] = sighted.guards;
        let [of_user, _] = user.guards;
        sighted.guards = match (of_session, of_user) {
            (Some(of_session), Some(of_user)) => [Some(of_session), Some(of_user)],
            _ => [None, None],
        };
        // The store forgets a session that has ended. Memory, or a store that cannot be reached, would serve it on.
        sighted.ends_at = end_of(&user.partition, key);
        if sighted.ends_at.is_some_and(|ends_at| ends_at <= self.clock.now()) {
            return Ok(None);
        }
        Ok(Some(sighted))
    }
}

fn signed_out() -> CacheError {
    InteractionRequired::new(InteractionReason::NoAccount).into()
}

fn no_session() -> CacheError {
    CacheError::Strategy("this needs the key of a session's partition".into())
}

/// Whether the client has anything else of this user, `besides` a session, that the authority may hold for one grant with a session's
/// tokens.
pub(super) fn keeps_grants(
    partition: &Partition,
    client_id: &str,
    besides: Option<&[u8]>,
    now: UnixMillis,
) -> bool {
    let mut tokens = partition.refresh_tokens.iter();
    tokens.any(|row| row.client_id == client_id) || lists_grants(partition, client_id, besides, now)
}

/// As [`keeps_grants`], of sessions alone.
pub(super) fn lists_grants(
    partition: &Partition,
    client_id: &str,
    besides: Option<&[u8]>,
    now: UnixMillis,
) -> bool {
    let is_its = |link: &SessionLink| match PartitionKey::from_bytes(&link.key) {
        // One that lives by its assertion has no refresh token.
        Some(PartitionKey::Session {
            client_id: owner,
            key,
            ..
        }) => owner == client_id && !matches!(key, SessionKey::AssertionHash(_)),
        _ => false,
    };
    let mut sessions = partition.sessions.iter();
    sessions.any(|link| link.expires_at > now && Some(link.key.as_slice()) != besides && is_its(link))
}

/// When the user's partition says that the session ends. One that is not listed may be one of too many.
fn end_of(user: &IndexedPartition, session: &PartitionKey) -> Option<UnixMillis> {
    let key = session.to_bytes();
    let mut sessions = user.sessions();
    sessions.find_map(|(listed, ends_at)| (listed == key).then_some(ends_at))
}

fn epoch_of(partition: &Partition, client_id: &str) -> Option<[u8; 16]> {
    let mut epochs = partition.epochs.iter();
    Some(epochs.find(|known| known.client_id == client_id)?.epoch)
}
