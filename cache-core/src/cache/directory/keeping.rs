//! Where the cache itself keeps the directory: at sign-ins, uses, failures and sign-outs.

use std::sync::Arc;
use std::time::Duration;

use super::change::{Change, Listed};
use super::entry::{InteractionCause, NeedsInteraction};
use super::queue::{Job, SHORT_PAUSE, Task};
use crate::cache::accounts::cached_accounts;
use crate::cache::acquired::Acquired;
use crate::cache::{AcquireOptions, CacheError, Inner, InteractionReason, TokenSource};
use crate::schema::{Partition, PartitionKey, TokenRequest, TokenResponse};
use crate::store::Durability;
use crate::strategy::DirectoryPolicy;
use crate::time::UnixSeconds;

/// What a pause is for.
#[derive(Hash)]
enum Matter {
    Use,
    Failure,
    Absence,
}

impl Inner {
    /// How coarse the times of use are, where the cache keeps the directory and `key` is that of a user.
    fn touch_every(&self, key: &PartitionKey) -> Option<Duration> {
        match (self.strategy.directory, key) {
            (DirectoryPolicy::On { touch_every }, PartitionKey::User { .. }) => Some(touch_every),
            _ => None,
        }
    }

    /// Lists an account that is about to be stored: an account that nobody lists would never be found, one that is listed and does not
    /// exist does no harm.
    pub(crate) async fn list_sign_in(self: &Arc<Self>, key: &PartitionKey, response: &TokenResponse) {
        let (Some(_), Some(account)) = (self.touch_every(key), &response.account) else {
            return;
        };
        let change = Change::SignedIn {
            client_id: response.client_id.clone(),
            account: Box::new(account.clone()),
            at: self.clock.now().to_seconds(),
        };
        // The user does not wait for a hint that cannot be had: the first use enters it.
        if let Err(error) = self.enter(key, Task::Change(change), Durability::Durable).await {
            tracing::warn!(error = %error, "an account that signs in could not be listed; its first use will list it");
        }
    }

    /// Looks, in the background, whether the account is still listed: a sign-out that was under way may have taken it for the one that it removed.
    pub(crate) fn confirm_sign_in(self: &Arc<Self>, key: &PartitionKey, client_id: &str, is_stored: bool) {
        let Some(touch_every) = self.touch_every(key) else {
            return;
        };
        let reminder = self.directory.reminder(key, client_id, Matter::Use);
        let task = if is_stored {
            let now = self.clock.monotonic();
            // The uses that follow are those of the sign-in.
            let _ = self.directory.is_due(reminder, now, touch_every);
            self.used(client_id, touch_every, None)
        } else {
            Task::Recheck
        };
        self.enqueue_job(Job {
            key: key.clone(),
            task,
            durability: Durability::Relaxed,
            reminder: is_stored.then_some(reminder),
            done: None,
        });
    }

    /// Notes that the request was answered without the authority. It is called where the store was asked anyway, never for what was in memory.
    pub(crate) fn note_use(self: &Arc<Self>, request: &TokenRequest) {
        let key = request.partition();
        let Some(touch_every) = self.touch_every(key) else {
            return;
        };
        let reminder = self.directory.reminder(key, request.client_id(), Matter::Use);
        if !self
            .directory
            .is_due(reminder, self.clock.monotonic(), touch_every)
        {
            return;
        }
        self.enter_later(Job {
            key: key.clone(),
            task: self.used(request.client_id(), touch_every, None),
            durability: Durability::Relaxed,
            reminder: Some(reminder),
            done: None,
        });
    }

    /// Notes how a refresh ended, while a shutdown still waits for it.
    pub(crate) fn note_refresh(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        options: AcquireOptions,
        result: &Result<Acquired, CacheError>,
    ) {
        let key = request.partition();
        let Some(touch_every) = self.touch_every(key) else {
            return;
        };
        match result {
            Ok(acquired) if acquired.source() != TokenSource::Authority => self.note_use(request),
            // Not only when it is due: the entry may say that the user is needed.
            Ok(_) => self.enqueue_job(Job {
                key: key.clone(),
                task: self.used(request.client_id(), touch_every, Some(*request.hash())),
                durability: Durability::Relaxed,
                reminder: Some(self.directory.reminder(key, request.client_id(), Matter::Use)),
                done: None,
            }),
            Err(CacheError::InteractionRequired(required)) => {
                self.note_failure(request, options, &required.reason);
            }
            Err(_) => {}
        }
    }

    fn note_failure(
        self: &Arc<Self>,
        request: &Arc<TokenRequest>,
        options: AcquireOptions,
        reason: &InteractionReason,
    ) {
        let (because, of) = match reason {
            InteractionReason::NoAccount => (None, None),
            InteractionReason::NoRefreshToken => (Some(InteractionCause::NoRefreshToken), None),
            InteractionReason::OutcomeUnknown => (Some(InteractionCause::OutcomeUnknown), None),
            InteractionReason::Refused(refusal) => match refusal.request {
                None => (Some(InteractionCause::Refused), None),
                of => (Some(InteractionCause::RequestRefused), of),
            },
        };
        let key = request.partition();
        let matter = if because.is_some() {
            Matter::Failure
        } else {
            Matter::Absence
        };
        let reminder = self.directory.reminder(key, request.client_id(), (matter, of));
        if !self
            .directory
            .is_due(reminder, self.clock.monotonic(), SHORT_PAUSE)
        {
            return;
        }
        let task = match because {
            None => Task::Recheck,
            Some(because) => Task::Failed {
                request: Arc::clone(request),
                policy: options.unknown_outcome,
                needs: NeedsInteraction {
                    because,
                    since: self.clock.now().to_seconds(),
                    request: of,
                },
            },
        };
        self.enqueue_job(Job {
            key: key.clone(),
            task,
            durability: Durability::Relaxed,
            reminder: None,
            done: None,
        });
    }

    /// Enters what is left of an account after a sign-out, an import or the like. That has been done by now, so nothing fails for this.
    pub(crate) async fn relist(self: &Arc<Self>, key: &PartitionKey) {
        if self.touch_every(key).is_none() {
            return;
        }
        if let Err(error) = self.enter(key, Task::Recheck, Durability::Durable).await {
            tracing::warn!(
                error = %error,
                "an account that changed is not up to date in the directory; who meets it there will mend that"
            );
        }
    }

    /// What the directory should say of the partition, as it is stored now.
    pub(super) async fn listed(&self, key: &PartitionKey) -> Result<Option<Box<Listed>>, CacheError> {
        let loaded = self.load(key, &self.stored_key(key)).await?;
        Ok(loaded.and_then(|loaded| listed_of(&loaded.partition, self.clock.now().to_seconds())))
    }

    fn used(&self, client_id: &str, touch_every: Duration, granted: Option<[u8; 16]>) -> Task {
        Task::Change(Change::Used {
            client_id: client_id.to_owned(),
            at: self.clock.now().to_seconds(),
            touch_every,
            granted,
        })
    }
}

/// What the directory should say of the partition; `None` for one that no client has an account in.
pub(super) fn listed_of(partition: &Partition, now: UnixSeconds) -> Option<Box<Listed>> {
    let found = cached_accounts(partition).next()?;
    let written = |client_id: &String| {
        let access = partition
            .access_tokens
            .iter()
            .filter(|row| row.client_id == *client_id);
        let refresh = partition
            .refresh_tokens
            .iter()
            .filter(|row| row.client_id == *client_id);
        let refresh = refresh.filter_map(|row| row.last_modification_time);
        let last = access.map(|row| row.cached_at).chain(refresh).max();
        last.map_or(now, |last| last.min(now))
    };
    let clients: Vec<_> = found
        .clients
        .iter()
        .map(|client_id| (client_id.clone(), written(client_id)))
        .collect();
    let account = found.account;
    (!clients.is_empty()).then(|| Box::new(Listed { account, clients }))
}
