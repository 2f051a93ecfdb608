//! The keys that issuers sign with: fetched, remembered, and asked whether they signed a token.

mod error;
mod key;
mod key_set;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::time::{Clock, with_deadline};
use tokio::sync::Mutex;
use url::Url;

use crate::Error;
use crate::http::{HttpClient, HttpError, HttpErrorKind, HttpRequest, host_and_port};
use crate::id_token::{IdTokenError, UnverifiedToken};
use crate::response::Fields;

pub use error::{IssuerKeysError, IssuerKeysErrorKind};
pub(crate) use key_set::ClaimedIssuer;
use key_set::{KeySet, Verdict};

/// The key sets of issuers, by their address.
pub(crate) struct IssuerKeys {
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    /// The inner lock is held across the request, so that one of many callers fetches and the rest wait for it.
    known: Mutex<HashMap<Url, Arc<Mutex<Slot>>>>,
}

#[derive(Default)]
struct Slot {
    known: Option<Known>,
    /// When the last request began, whatever became of it.
    tried: Option<Duration>,
    /// When it last was because of a token whose key was missing.
    refetched: Option<Duration>,
}

struct Known {
    keys: Arc<KeySet>,
    fetched: Duration,
}

impl IssuerKeys {
    /// How long a set is used before it is fetched again.
    pub(crate) const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
    /// How long a set is used if it cannot be fetched again. Not for ever: a withdrawn key must stop to count even if somebody
    /// bars the way to the issuer.
    pub(crate) const LONGEST: Duration = Duration::from_secs(2 * 24 * 60 * 60);
    /// How often a set is fetched because of a token whose key it lacks. Anybody can make up such tokens, and must not make
    /// this program hammer the issuer with them.
    pub(crate) const PAUSE: Duration = Duration::from_secs(5 * 60);
    /// How long a failure to fetch a set that is not known yet stands.
    pub(crate) const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);
    /// How many sets are remembered.
    const MOST: usize = 1_000;

    pub(crate) fn new(http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Self {
        Self {
            http,
            clock,
            known: Mutex::default(),
        }
    }

    /// Fetches the keys at `url` unless they are known, so that a later [`verify`](Self::verify) need not.
    pub(crate) async fn prepare(&self, url: &Url, time_limit: Duration) -> Result<(), IssuerKeysError> {
        self.keys(url, time_limit).await.map(drop)
    }

    /// Checks that `token` is signed by a key at `url` that may sign for its issuer.
    pub(crate) async fn verify(
        &self,
        url: &Url,
        token: &UnverifiedToken<'_>,
        issuer: &ClaimedIssuer<'_>,
        time_limit: Duration,
    ) -> Result<(), Error> {
        let began = self.clock.monotonic();
        let keys = self.keys(url, time_limit).await?;
        let mut verdict = keys.judge(token, issuer)?;
        if matches!(verdict, Verdict::NoKey | Verdict::NoneOfThem) {
            let left = time_limit.saturating_sub(self.clock.monotonic().saturating_sub(began));
            if let Some(newer) = self.newer(url, &keys, left).await? {
                verdict = newer.judge(token, issuer)?;
            }
        }
        match verdict {
            Verdict::Good => Ok(()),
            Verdict::NoKey => Err(IdTokenError::UnknownKey.into()),
            Verdict::NoneOfThem | Verdict::Forged => Err(IdTokenError::Signature.into()),
            Verdict::ForeignKey => Err(IdTokenError::KeyIssuer.into()),
        }
    }

    /// The keys at `url`, at most [`LIFETIME`](Self::LIFETIME) old if they can be had.
    async fn keys(&self, url: &Url, time_limit: Duration) -> Result<Arc<KeySet>, IssuerKeysError> {
        let began = self.clock.monotonic();
        let slot = self.slot(url).await;
        // Waiting for another caller's request counts too.
        let Some(mut slot) = with_deadline(&*self.clock, time_limit, slot.lock()).await else {
            return Err(waited_in_vain(url));
        };
        let now = self.clock.monotonic();
        let age = slot.known.as_ref().map(|known| now.saturating_sub(known.fetched));
        if let (Some(known), Some(age)) = (&slot.known, age)
            && (age < Self::LIFETIME || age < Self::LONGEST && is_within(slot.tried, Self::PAUSE, now))
        {
            return Ok(Arc::clone(&known.keys));
        }
        if is_within(slot.tried, Self::PAUSE_AFTER_FAILURE, now) {
            let kind = IssuerKeysErrorKind::JustFailed;
            return Err(IssuerKeysError::new(kind, host_and_port(url)));
        }
        let left = time_limit.saturating_sub(now.saturating_sub(began));
        match self.fetch(url, left, &mut slot).await {
            Ok(keys) => Ok(keys),
            Err(error) => match &slot.known {
                Some(known) if age.is_some_and(|age| age < Self::LONGEST) => {
                    tracing::warn!(%error, "an issuer's keys could not be fetched anew; the older ones are used");
                    Ok(Arc::clone(&known.keys))
                }
                _ => Err(error),
            },
        }
    }

    /// A set that was fetched after `seen`; `None` when it is too early to ask again.
    async fn newer(
        &self,
        url: &Url,
        seen: &Arc<KeySet>,
        time_limit: Duration,
    ) -> Result<Option<Arc<KeySet>>, IssuerKeysError> {
        let began = self.clock.monotonic();
        let slot = self.slot(url).await;
        let Some(mut slot) = with_deadline(&*self.clock, time_limit, slot.lock()).await else {
            return Err(waited_in_vain(url));
        };
        if let Some(known) = &slot.known
            && !Arc::ptr_eq(&known.keys, seen)
        {
            return Ok(Some(Arc::clone(&known.keys)));
        }
        let now = self.clock.monotonic();
        if is_within(slot.refetched, Self::PAUSE, now) {
            return Ok(None);
        }
        slot.refetched = Some(now);
        let left = time_limit.saturating_sub(now.saturating_sub(began));
        self.fetch(url, left, &mut slot).await.map(Some)
    }

    async fn fetch(
        &self,
        url: &Url,
        time_limit: Duration,
        slot: &mut Slot,
    ) -> Result<Arc<KeySet>, IssuerKeysError> {
        let now = self.clock.monotonic();
        slot.tried = Some(now);
        let error = |kind| IssuerKeysError::new(kind, host_and_port(url));
        tracing::debug!(host = host_and_port(url), "fetching an issuer's keys");
        let response = self
            .http
            .send(HttpRequest::get(url.clone(), time_limit))
            .await
            .map_err(IssuerKeysError::unreachable)?;
        let document = match response.status {
            200 => Fields::parse(&response.body).ok_or_else(|| error(IssuerKeysErrorKind::Unreadable))?,
            300..=399 => return Err(error(IssuerKeysErrorKind::Redirected)),
            status => return Err(error(IssuerKeysErrorKind::Status(status))),
        };
        let keys = KeySet::parse(&document).ok_or_else(|| error(IssuerKeysErrorKind::Unreadable))?;
        let keys = Arc::new(keys);
        slot.known = Some(Known {
            keys: Arc::clone(&keys),
            fetched: now,
        });
        Ok(keys)
    }

    async fn slot(&self, url: &Url) -> Arc<Mutex<Slot>> {
        let mut known = self.known.lock().await;
        if known.len() >= Self::MOST && !known.contains_key(url) {
            known.clear();
        }
        known.entry(url.clone()).or_default().clone()
    }
}

fn is_within(tried: Option<Duration>, pause: Duration, now: Duration) -> bool {
    tried.is_some_and(|tried| now.saturating_sub(tried) < pause)
}

impl fmt::Debug for IssuerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerKeys").finish_non_exhaustive()
    }
}

/// The keys that `host` does not name.
pub(crate) fn not_offered(host: &str) -> IssuerKeysError {
    IssuerKeysError::new(IssuerKeysErrorKind::NotOffered, host)
}

fn waited_in_vain(url: &Url) -> IssuerKeysError {
    let message = "no keys within the time limit";
    IssuerKeysError::unreachable(HttpError::new(HttpErrorKind::NotSent, url, message))
}
