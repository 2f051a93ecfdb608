//! Web sessions, on the server.
//!
//! The browser has a random ID and nothing else. What it stands for is in the shared store, so that every replica knows it, and so
//! that it can be ended from here: a stolen cookie is worth nothing after the sign-out.
//!
//! A session is of a user's *sign-in*, which has a random name of its own, the epoch. Removing the epoch ends all
//! sessions of the user at once, in all browsers, and none comes back by a later sign-in.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::random::random_bytes;
use cache_core::secret::Secret;
use cache_core::time::UnixMillis;
use flows::client::SessionId;
use serde::{Deserialize, Serialize};

use super::sealed_records::{Found, RecordError, SealedRecords};
use super::user::User;
use crate::logging::chain;

/// How often a change that others made at the same time is tried again.
const ATTEMPTS: usize = 5;

/// How long sessions last.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Without a request.
    pub idle: Duration,
    /// In all.
    pub absolute: Duration,
}

/// What a session stands for.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) user: User,
    /// What a form must carry, see the module `csrf`.
    csrf_token: String,
    /// The user's sign-in that the session is of.
    epoch: String,
    began_at: i64,
    seen_at: i64,
    /// Whether it was begun because the API demanded it.
    pub(super) is_for_api: bool,
}

impl Session {
    pub(super) fn csrf_token(&self) -> Secret {
        Secret::new(self.csrf_token.as_str())
    }

    pub(super) fn age(&self, now: UnixMillis) -> Duration {
        now.duration_since(UnixMillis(self.began_at))
    }

    /// When it ends if nothing more is asked for.
    fn ends_at(&self, limits: SessionLimits) -> UnixMillis {
        let idle = UnixMillis(self.seen_at).saturating_add(limits.idle);
        idle.min(UnixMillis(self.began_at).saturating_add(limits.absolute))
    }
}

#[derive(Serialize, Deserialize)]
struct SignIn {
    epoch: String,
}

/// All sessions of all replicas.
#[derive(Debug)]
pub(super) struct Sessions {
    records: SealedRecords,
    limits: SessionLimits,
}

impl Sessions {
    pub(super) fn new(records: SealedRecords, limits: SessionLimits) -> Self {
        Self { records, limits }
    }

    pub(super) fn limits(&self) -> SessionLimits {
        self.limits
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.records.now()
    }

    /// Begins a session of `user`, always under a new ID: one that was there before the sign-in may have been put there by somebody
    /// else (session fixation).
    pub(super) async fn begin(&self, user: User, is_for_api: bool) -> Result<SessionId, RecordError> {
        let id = SessionId::random(self.records.random())?;
        let epoch = self.epoch_for(&user).await?;
        let now = self.now().0;
        let session = Session {
            user,
            csrf_token: self.random_text()?,
            epoch,
            began_at: now,
            seen_at: now,
            is_for_api,
        };
        let expires_at = session.ends_at(self.limits);
        if !self
            .records
            .create(&name_of(&id), &session, Some(expires_at))
            .await?
        {
            // 256 random bits do not repeat, so the random source does.
            return Err(RecordError::Contended);
        }
        Ok(id)
    }

    /// The session of `id`, if it lasts. It counts as used.
    pub(super) async fn find(&self, id: &SessionId) -> Result<Option<Session>, RecordError> {
        let name = name_of(id);
        let Some(mut found) = readable(self.records.read::<Session>(&name).await)? else {
            return Ok(None);
        };
        let sign_in = self.records.read::<SignIn>(&found.value.user.record_name()).await;
        let sign_in = readable(sign_in)?;
        let now = self.now();
        let lasts = sign_in.is_some_and(|sign_in| sign_in.value.epoch == found.value.epoch);
        // The store's own expiry says the same, but is not authenticated.
        if !lasts || found.value.ends_at(self.limits) <= now {
            return Ok(None);
        }
        let unseen = now.duration_since(UnixMillis(found.value.seen_at));
        // Not at each request: a session would else cost a durable write a click.
        if unseen >= self.limits.idle / 16 {
            found.value.seen_at = now.0;
            self.touch(&name, &found).await?;
        }
        Ok(Some(found.value))
    }

    /// Ends one session, in this browser.
    pub(super) async fn end(&self, id: &SessionId) -> Result<(), RecordError> {
        self.records.remove(&name_of(id)).await
    }

    /// Ends all sessions of `user`, in all browsers.
    pub(super) async fn end_all(&self, user: &User) -> Result<(), RecordError> {
        self.records.remove(&user.record_name()).await
    }

    async fn touch(&self, name: &[u8], found: &Found<Session>) -> Result<(), RecordError> {
        let expires_at = found.value.ends_at(self.limits);
        // Where it was changed meanwhile, it was used or ended, and either is fine.
        self.records
            .replace(name, found, &found.value, Some(expires_at))
            .await
            .map(drop)
    }

    /// The user's sign-in, which is kept for as long as its youngest session can last.
    async fn epoch_for(&self, user: &User) -> Result<String, RecordError> {
        let name = user.record_name();
        for _ in 0..ATTEMPTS {
            let expires_at = Some(self.now().saturating_add(self.limits.absolute));
            let (sign_in, is_kept) = match self.records.read::<SignIn>(&name).await {
                // It would keep the user out for good. Without it, no session of theirs lasts, which is the safe side.
                Err(error) if error.is_unreadable() => {
                    tracing::error!(error = chain(&error), "the record of a sign-in is replaced");
                    self.records.remove(&name).await?;
                    continue;
                }
                Err(error) => return Err(error),
                Ok(Some(found)) => {
                    let is_kept = self
                        .records
                        .replace(&name, &found, &found.value, expires_at)
                        .await?;
                    (found.value, is_kept)
                }
                Ok(None) => {
                    let sign_in = SignIn {
                        epoch: self.random_text()?,
                    };
                    let is_kept = self.records.create(&name, &sign_in, expires_at).await?;
                    (sign_in, is_kept)
                }
            };
            if is_kept {
                return Ok(sign_in.epoch);
            }
        }
        Err(RecordError::Contended)
    }

    fn random_text(&self) -> Result<String, RecordError> {
        Ok(URL_SAFE_NO_PAD.encode(random_bytes::<32>(self.records.random())?))
    }
}

/// A record that cannot be opened was not made here, or not for this place: it stands for nothing, and somebody should look at the
/// store.
fn readable<T>(read: Result<Option<Found<T>>, RecordError>) -> Result<Option<Found<T>>, RecordError> {
    match read {
        Err(error) if error.is_unreadable() => {
            tracing::error!(
                error = chain(&error),
                "a record of a web session counts for nothing"
            );
            Ok(None)
        }
        read => read,
    }
}

fn name_of(id: &SessionId) -> Vec<u8> {
    [b"session:", id.expose().as_bytes()].concat()
}

#[cfg(test)]
mod tests;
