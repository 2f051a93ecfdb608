//! A cache at the beginning of a run: everybody is signed in, and the tokens have been in use for a while.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::store::Store;
use cache_core::time::{Clock, SystemClock, UnixSeconds};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::calls::{Authority, Prepared};
use super::chosen::Chosen;
use super::error::BenchError;
use super::file::Workload;
use super::grants::Grants;
use super::measured::lossy;
use super::sequence::{Subject, SubjectKind};
use super::strategy::{Refresh, Sealing};

/// How many are signed in at the same time, so that their writes share commits.
const AT_ONCE: usize = 64;

/// How long writes behind may take at the end.
const LAST_WRITES: Duration = Duration::from_secs(30);

/// Opens a cache over `store` as `strategy` says, under a key that lives as long as the run.
pub(super) async fn open(
    store: Arc<dyn Store>,
    strategy: &Chosen,
    key: &[u8; 32],
) -> Result<TokenCache, BenchError> {
    let builder = TokenCache::builder(store).strategy(strategy.strategy());
    let opened = match strategy.seal {
        Sealing::Plaintext => builder.open_plaintext(Namespace::default()),
        Sealing::Required => {
            let source = FixedKeySource::new(SecretKey::from_bytes(key));
            builder.open_sealed(Namespace::default(), Arc::new(source)).await
        }
    };
    opened.map_err(BenchError::cache("open the cache"))
}

/// Signs everybody in. The ages of tokens are spread over their lifetime, as they are after a while.
pub(super) async fn fill(
    cache: &TokenCache,
    workload: &Arc<Workload>,
    strategy: &Chosen,
    is_last: bool,
) -> Result<(), BenchError> {
    let grants = Grants::new(Arc::clone(workload));
    let ages = Ages::new(workload, strategy);
    let (users, applications): (Vec<_>, Vec<_>) = Subject::all(workload)
        .partition(|subject| matches!(subject.kind(workload), SubjectKind::User { .. }));
    // Each user's tokens one after the other: they lie in one partition.
    let width = usize::try_from(workload.subjects.tokens_per_user).unwrap_or(1);
    let sign_ins = users
        .chunks(width.max(1))
        .map(|tokens| sign_in(cache, &grants, &ages, tokens));
    let mut signing_in = stream::iter(sign_ins).buffer_unordered(AT_ONCE);
    while signing_in.try_next().await?.is_some() {}
    drop(signing_in);

    let plantings = applications
        .into_iter()
        .map(|subject| plant(cache, &grants, &ages, subject));
    let mut planting = stream::iter(plantings).buffer_unordered(AT_ONCE);
    while planting.try_next().await?.is_some() {}
    drop(planting);
    if is_last {
        cache.shutdown(LAST_WRITES).await;
    }
    Ok(())
}

async fn sign_in(
    cache: &TokenCache,
    grants: &Grants,
    ages: &Ages,
    tokens: &[Subject],
) -> Result<(), BenchError> {
    let now = SystemClock.now().to_seconds();
    for subject in tokens {
        let SubjectKind::User { user, .. } = grants.kind(*subject) else {
            continue;
        };
        let age = i64::try_from(ages.of(*subject).as_secs()).unwrap_or(0);
        let response = grants.response(*subject, 0, 0, UnixSeconds(now.0.saturating_sub(age)));
        let stored = cache.sign_in(&grants.user(user), response).await;
        stored.map_err(BenchError::cache("sign the users of the workload in"))?;
    }
    Ok(())
}

async fn plant(cache: &TokenCache, grants: &Grants, ages: &Ages, subject: Subject) -> Result<(), BenchError> {
    let age = ages.of(subject);
    let prepared = Prepared::new(cache, grants, subject, Authority::Planted { age });
    let planted = prepared.acquire(cache).await;
    planted
        .map(drop)
        .map_err(BenchError::cache("obtain the tokens of the workload"))
}

/// How old tokens are at first: as they are after a while, when some were just replaced and others are about to be. Otherwise a short
/// run would see none of them replaced, or all at once.
struct Ages {
    /// The age that every token reaches, in seconds.
    sure: f64,
    /// Over how many seconds after that they are replaced, evenly.
    spread: f64,
}

impl Ages {
    fn new(workload: &Workload, strategy: &Chosen) -> Self {
        let tokens = &workload.tokens;
        let lifetime = f64::from(tokens.lifetime_seconds);
        match strategy.refresh {
            Refresh::Ahead if tokens.refresh_after > 0.0 => Self {
                sure: tokens.refresh_after * lifetime,
                spread: strategy.refresh_jitter * (1.0 - tokens.refresh_after) * lifetime,
            },
            // The rest is the margin within which no token is handed out.
            Refresh::Ahead | Refresh::OnDemand => Self {
                sure: 0.9 * lifetime,
                spread: 0.0,
            },
        }
    }

    fn of(&self, subject: Subject) -> Duration {
        let mixed = u64::from(subject.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let place = lossy(mixed % 65_536) / 65_536.0 * (self.sure + self.spread / 2.0);
        let beyond = place - self.sure;
        let age = if beyond <= 0.0 {
            place
        } else {
            // Ever fewer are as old: those that have not been replaced yet.
            let part = (beyond / (self.spread / 2.0)).min(1.0);
            self.sure + self.spread * (1.0 - (1.0 - part).sqrt())
        };
        Duration::from_secs(Duration::from_secs_f64(age).as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::presets;

    #[test]
    fn as_many_tokens_are_replaced_each_second_from_the_first_on() {
        let workload = presets::workload("multi-tenant-daemon").unwrap();
        let mut strategy = workload.strategy.chosen();
        for (refresh, sure, oldest) in [(Refresh::Ahead, 30, 38), (Refresh::OnDemand, 54, 54)] {
            strategy.refresh = refresh;
            let ages = Ages::new(&workload, &strategy);
            let mut of_age = vec![0_u32; oldest];
            for subject in Subject::all(&workload) {
                of_age[usize::try_from(ages.of(subject).as_secs()).unwrap()] += 1;
            }
            let (least, most) = (
                of_age[..sure].iter().min().unwrap(),
                of_age[..sure].iter().max().unwrap(),
            );
            assert!(*least * 3 > *most, "{refresh:?}: {least} to {most}");
            let older: u32 = of_age[sure..].iter().sum();
            assert!(older < 250, "{older} are older than all become");
        }
    }
}
