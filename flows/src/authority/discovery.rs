//! Fetching metadata documents, and keeping them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::schema::AuthorityKind;
use cache_core::time::{Clock, with_deadline};
use tokio::sync::Mutex;
use url::Url;

use super::instance::{self, DiscoveredCloud};
use super::{Authority, Metadata};
use crate::error::{DiscoveryError, DiscoveryErrorKind, Error, Throttled, ThrottledBecause};
use crate::http::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse};
use crate::response::{Fields, retry_after};

const DOCUMENT: &str = "openid-configuration";

/// Finds the metadata of authorities and keeps it in memory for a day.
///
/// Share one among all clients of a process. Endpoints come from here and from the configuration alone, never
/// from a cache that somebody else may have written.
///
/// ```no_run
/// use std::time::Duration;
///
/// use flows::Transport;
/// use flows::authority::Authority;
///
/// # async fn endpoints(transport: Transport) -> Result<(), flows::Error> {
/// let authority = Authority::oidc("https://id.example/")?;
/// let metadata = transport.discovery().metadata(&authority, Duration::from_secs(10)).await?;
/// println!("tokens come from {}", metadata.token_endpoint);
/// # Ok(()) }
/// ```
pub struct Discovery {
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    /// The inner lock is held across the request, so that one of many callers fetches and the rest wait for it.
    known: Mutex<HashMap<Authority, Arc<Mutex<Slot>>>>,
    /// What instance discovery said of hosts that are not built in, and when.
    clouds: Mutex<HashMap<String, (Option<DiscoveredCloud>, Duration)>>,
}

/// What is known of one authority.
#[derive(Default)]
struct Slot {
    known: Option<Known>,
    failure: Option<Failure>,
}

struct Known {
    metadata: Arc<Metadata>,
    fetched: Duration,
}

/// The last attempt, where it failed.
struct Failure {
    until: Duration,
    /// What the next one is twice of.
    pause: Duration,
    refused: Option<DiscoveryError>,
    because: ThrottledBecause,
}

impl Discovery {
    /// For how long a first failure is remembered: 5 seconds. Each further one doubles it.
    pub const SHORTEST_PAUSE: Duration = Duration::from_secs(5);

    /// For how long a failure is remembered at most, unless the authority asks for more: a minute. An authority that is back must soon be found.
    pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);

    /// How long a document is used before it is fetched again.
    pub const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

    /// How many authorities are remembered. A service whose callers choose the tenant must not grow for ever.
    const MOST: usize = 1_000;

    /// A discovery with nothing known yet.
    #[must_use]
    pub fn new(http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Self {
        Self {
            http,
            clock,
            known: Mutex::default(),
            clouds: Mutex::default(),
        }
    }

    /// The metadata of `authority`: by convention for Microsoft's clouds, else from its
    /// `/.well-known/openid-configuration`. A document that cannot be fetched anew after its lifetime is used on.
    ///
    /// # Errors
    /// [`Error::Http`] when the authority cannot be reached within `time_limit`; [`Error::Discovery`] when what it
    /// says may not be believed. A failure is remembered for 5 seconds, twice as long after each further one up to a
    /// minute, or as long as the authority asks: meanwhile nobody asks again, and the answer is the same refusal or
    /// [`Error::Throttled`].
    ///
    /// # Cancellation safety
    /// Dropping the future abandons the request; another waiting caller then makes its own.
    pub async fn metadata(
        &self,
        authority: &Authority,
        time_limit: Duration,
    ) -> Result<Arc<Metadata>, Error> {
        if let Some(metadata) = Metadata::by_convention(authority) {
            return Ok(Arc::new(metadata));
        }
        let began = self.clock.monotonic();
        let slot = self.slot(authority).await;
        // Waiting for another caller's request counts too: behind a dead authority, a queue of callers would else
        // wait for one time limit after another.
        let Some(mut slot) = with_deadline(&*self.clock, time_limit, slot.lock()).await else {
            return Err(waited_in_vain(authority));
        };
        let now = self.clock.monotonic();
        let time_limit = time_limit.saturating_sub(now.saturating_sub(began));
        if let Some(known) = &slot.known
            && now.saturating_sub(known.fetched) < Self::LIFETIME
        {
            return Ok(known.metadata.clone());
        }
        if let Some(failure) = &slot.failure
            && failure.until > now
        {
            return match &slot.known {
                Some(known) => Ok(known.metadata.clone()),
                None => Err(failure.repeated(authority, now)),
            };
        }
        if time_limit.is_zero() {
            return Err(waited_in_vain(authority));
        }
        match self.fetch(authority, time_limit).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *slot = Slot {
                    known: Some(Known {
                        metadata: metadata.clone(),
                        fetched: now,
                    }),
                    failure: None,
                };
                Ok(metadata)
            }
            Err((error, asked)) => {
                let now = self.clock.monotonic();
                slot.failure = Some(Failure::after(slot.failure.take(), &error, asked, now));
                match &slot.known {
                    Some(known) => {
                        tracing::warn!(%error, "metadata could not be fetched anew; the older document is used");
                        Ok(known.metadata.clone())
                    }
                    None => Err(error),
                }
            }
        }
    }

    /// `authority` under the names that its cloud prefers, by Microsoft's instance discovery: two hosts of one cloud then share
    /// their accounts and tokens. Only an Entra authority is asked about whose host is neither built in nor on this machine, and
    /// only `login.microsoftonline.com` is asked, as in MSAL; the answer holds for a day.
    ///
    /// Where there is no answer that may be believed, it is `authority` as it was: its host then stands for itself. A group
    /// that names a host of a built-in cloud is never believed.
    ///
    /// # Cancellation safety
    /// Cancellation safe.
    pub async fn canonical(&self, authority: &Authority, time_limit: Duration) -> Authority {
        let Some(url) = instance::question(authority) else {
            return authority.clone();
        };
        let now = self.clock.monotonic();
        let known = self.clouds.lock().await.get(&authority.host).cloned();
        if let Some((cloud, asked)) = known
            && now.saturating_sub(asked) < Self::LIFETIME
        {
            return cloud.map_or_else(|| authority.clone(), |cloud| authority.within(cloud));
        }
        let answer = match self.http.send(HttpRequest::get(url, time_limit)).await {
            Ok(response) => document(&response)
                .map_err(|kind| Error::from(DiscoveryError::new(kind, authority.environment()))),
            Err(error) => Err(error.into()),
        };
        let cloud = match answer {
            Ok(document) => DiscoveredCloud::parse(&document, &authority.host),
            Err(error) => {
                tracing::warn!(%error, "instance discovery failed; the authority's host stands for itself");
                return authority.clone();
            }
        };
        let mut clouds = self.clouds.lock().await;
        if clouds.len() >= Self::MOST {
            clouds.clear();
        }
        clouds.insert(authority.host.clone(), (cloud.clone(), now));
        cloud.map_or_else(|| authority.clone(), |cloud| authority.within(cloud))
    }

    async fn slot(&self, authority: &Authority) -> Arc<Mutex<Slot>> {
        let mut known = self.known.lock().await;
        if known.len() >= Self::MOST && !known.contains_key(authority) {
            known.clear();
        }
        known.entry(authority.clone()).or_default().clone()
    }

    /// The document, or what failed and how long the authority asked to wait.
    async fn fetch(
        &self,
        authority: &Authority,
        time_limit: Duration,
    ) -> Result<Metadata, (Error, Option<Duration>)> {
        let error = |kind| Error::from(DiscoveryError::new(kind, authority.environment()));
        let url =
            document_url(authority).ok_or_else(|| (error(DiscoveryErrorKind::Endpoint(DOCUMENT)), None))?;
        let response = self
            .http
            .send(HttpRequest::get(url, time_limit))
            .await
            .map_err(|error| (error.into(), None))?;
        let asked = match response.status {
            429 | 500..=599 => retry_after(&response, self.clock.now()),
            _ => None,
        };
        let document = document(&response).map_err(|kind| (error(kind), asked))?;
        Metadata::parse(authority, &document).map_err(|error| (error.into(), asked))
    }
}

impl Failure {
    fn after(before: Option<Self>, error: &Error, asked: Option<Duration>, now: Duration) -> Self {
        let pause = before.map_or(Discovery::SHORTEST_PAUSE, |before| {
            (before.pause * 2).min(Discovery::LONGEST_PAUSE)
        });
        let wait = asked.filter(|asked| !asked.is_zero()).unwrap_or(pause);
        let (refused, because) = match error {
            Error::Discovery(refused) => match refused.kind() {
                DiscoveryErrorKind::Status(429) => (None, ThrottledBecause::TooManyRequests),
                DiscoveryErrorKind::Status(500..=599) => (None, ThrottledBecause::Unavailable),
                _ => (Some(refused.clone()), ThrottledBecause::Unavailable),
            },
            Error::Http(error) if error.kind() == HttpErrorKind::NotSent => {
                (None, ThrottledBecause::Unreachable)
            }
            _ => (None, ThrottledBecause::NoReply),
        };
        Self {
            until: now.saturating_add(wait),
            pause,
            refused,
            because,
        }
    }

    /// What callers are told while it is remembered: a document that was refused stays refused.
    fn repeated(&self, authority: &Authority, now: Duration) -> Error {
        if let Some(refused) = &self.refused {
            return refused.clone().into();
        }
        let throttled = Throttled {
            host: authority.environment().to_owned(),
            retry_after: self.until.saturating_sub(now),
            because: self.because,
        };
        throttled.count();
        throttled.into()
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

/// Where the document is: below the issuer's path (OIDC Discovery section 4.1), not in front of it.
fn document_url(authority: &Authority) -> Option<Url> {
    let version = match authority.kind() {
        AuthorityKind::Entra | AuthorityKind::B2c | AuthorityKind::Ciam => "/v2.0",
        AuthorityKind::Adfs | AuthorityKind::Oidc => "",
    };
    let base = authority.url().trim_end_matches('/');
    Url::parse(&format!("{base}{version}/.well-known/{DOCUMENT}")).ok()
}

fn waited_in_vain(authority: &Authority) -> Error {
    match document_url(authority) {
        Some(url) => HttpError::new(HttpErrorKind::NotSent, &url, "no metadata within the time limit").into(),
        None => DiscoveryError::new(DiscoveryErrorKind::Endpoint(DOCUMENT), authority.environment()).into(),
    }
}

fn document(response: &HttpResponse) -> Result<Fields, DiscoveryErrorKind> {
    match response.status {
        200 => Fields::parse(&response.body).ok_or(DiscoveryErrorKind::Unreadable),
        // Whoever answers for another host is not the issuer.
        300..=399 => Err(DiscoveryErrorKind::Redirected),
        status => Err(DiscoveryErrorKind::Status(status)),
    }
}
