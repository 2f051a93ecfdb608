//! The simulated authority as the cache sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{
    AcquireOptions, Acquired, AppTokenCall, AuthorityCall, AuthorityRefusal, CacheError, CallError,
    CallOutcome, Redemption, RefusedBecause, TokenCache,
};
use cache_core::schema::TokenRequest;
use cache_core::secret::Secret;
use cache_core::time::{Clock, SystemClock, UnixSeconds};

use super::grants::{Grants, serial_of};
use super::link::Link;
use super::sequence::{Subject, SubjectKind};

/// Who answers.
#[derive(Clone)]
pub(super) enum Authority {
    /// The parent process.
    Parent(Arc<Link>),
    /// Nobody: every token is granted at once, as if this long ago. For filling a cache.
    Planted { age: Duration },
}

/// A request that is made again and again.
pub(super) enum Prepared {
    User(Arc<TokenRequest>, Arc<dyn AuthorityCall>),
    Application(Arc<TokenRequest>, Arc<dyn AppTokenCall>),
}

impl Prepared {
    pub(super) fn new(cache: &TokenCache, grants: &Grants, subject: Subject, authority: Authority) -> Self {
        let request = Arc::new(grants.request(cache, subject));
        let call = Arc::new(Call {
            grants: grants.clone(),
            subject,
            authority,
            serial: AtomicU64::new(0),
        });
        match grants.kind(subject) {
            SubjectKind::User { .. } => Self::User(request, call),
            SubjectKind::Application { .. } => Self::Application(request, call),
        }
    }

    pub(super) async fn acquire(&self, cache: &TokenCache) -> Result<Acquired, CacheError> {
        let options = AcquireOptions::default();
        match self {
            Self::User(request, call) => {
                cache
                    .acquire(Arc::clone(request), options, Arc::clone(call))
                    .await
            }
            Self::Application(request, call) => {
                cache
                    .acquire_app(Arc::clone(request), options, Arc::clone(call))
                    .await
            }
        }
    }
}

struct Call {
    grants: Grants,
    subject: Subject,
    authority: Authority,
    /// How many tokens were granted here.
    serial: AtomicU64,
}

impl Call {
    fn granted(&self, refresh_serial: u64, requested_at: UnixSeconds) -> CallOutcome {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let response = self
            .grants
            .response(self.subject, serial, refresh_serial, requested_at);
        CallOutcome::Granted(Box::new(response))
    }
}

#[async_trait]
impl AuthorityCall for Call {
    async fn prepare(&self, _: Duration) -> Result<(), CallError> {
        Ok(())
    }

    async fn redeem(&self, redemption: Redemption) -> CallOutcome {
        let requested_at = SystemClock.now().to_seconds();
        let SubjectKind::User { user, .. } = self.grants.kind(self.subject) else {
            return CallOutcome::NotSent(CallError::new("an application has no refresh token"));
        };
        let Some(serial) = serial_of(&redemption.refresh_token) else {
            return CallOutcome::NotSent(CallError::new("the refresh token is not of this workload"));
        };
        let Authority::Parent(link) = &self.authority else {
            return CallOutcome::NotSent(CallError::new("a planted token needs no refresh"));
        };
        match link.redeem(user, serial).await {
            Some(next) => self.granted(next, requested_at),
            None => CallOutcome::Refused(AuthorityRefusal {
                error: "invalid_grant".to_owned(),
                suberror: None,
                claims: None,
                description: None,
                correlation_id: None,
                about: RefusedBecause::Token,
            }),
        }
    }

    async fn discard(&self, _: Secret, _: Duration) {}
}

#[async_trait]
impl AppTokenCall for Call {
    async fn obtain(&self, _: Duration) -> CallOutcome {
        let now = SystemClock.now().to_seconds();
        match &self.authority {
            Authority::Planted { age } => {
                let seconds = i64::try_from(age.as_secs()).unwrap_or(0);
                self.granted(0, UnixSeconds(now.0.saturating_sub(seconds)))
            }
            Authority::Parent(link) => match link.obtain().await {
                Some(_) => self.granted(0, now),
                None => CallOutcome::OutcomeUnknown(CallError::new("the simulated authority is gone")),
            },
        }
    }
}
