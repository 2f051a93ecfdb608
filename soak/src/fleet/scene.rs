//! An issuer, a store, and users who are signed in.

use std::ops::Range;

use cache_core::cache::TokenCache;
use cache_core::schema::PartitionKey;
use cache_core::store::{Record, StoreKey};
use cache_core::time::{Clock, SystemClock, UnixSeconds};
use flows::authority::Authority;
use futures_util::StreamExt;
use futures_util::stream;

use super::orders::fingerprint;
use super::place::{Backend, Ground};
use super::provider::{Kind, Provider};
use super::{Fleet, Setup};
use crate::gate::{Doing, GateError};
use crate::stage::Stage;
use crate::tally::Tally;

/// How many sign in at once: each password costs the provider a moment's work.
const AT_ONCE: usize = 4;

/// Each real provider, which rotates, over each store.
pub const ROTATING: [(Kind, Backend); 4] = [
    (Kind::OidcProvider, Backend::Sqlite),
    (Kind::Glewlwyd, Backend::Redis),
    (Kind::Glewlwyd, Backend::Sqlite),
    (Kind::OidcProvider, Backend::Redis),
];

/// Spreads cases over arrangements, `at_once` of which run at a time, each told the numbers of its own.
///
/// # Errors
///
/// Those of `run`.
pub async fn in_each<A: Copy>(
    arrangements: &[A],
    cases: Range<u64>,
    at_once: usize,
    run: impl AsyncFn(A, Vec<u64>) -> Result<Tally, GateError>,
) -> Result<Tally, GateError> {
    let of = arrangements.len() as u64;
    let shares = arrangements.iter().zip(0..).filter_map(|(&arrangement, index)| {
        let share: Vec<u64> = cases.clone().filter(|case| case % of == index).collect();
        (!share.is_empty()).then_some((arrangement, share))
    });
    let runs = stream::iter(shares).map(|(arrangement, share)| run(arrangement, share));
    let tallies: Vec<_> = runs.buffer_unordered(at_once).collect().await;
    tallies.into_iter().try_fold(Tally::default(), |mut all, tally| {
        all.merge(tally?);
        Ok(all)
    })
}

/// Everything that fleets of one gate and one arrangement need.
#[derive(Debug)]
pub struct Scene {
    /// The issuer.
    pub provider: Provider,
    /// What its processes are told.
    pub setup: Setup,
    /// A cache of whoever leads, over the same store.
    pub cache: TokenCache,
    /// The store.
    pub ground: Ground,
    backend: Backend,
}

/// A user who was signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The number of the user.
    pub user: usize,
    /// The home account ID.
    pub id: String,
    /// Where the cache keeps the account.
    pub partition: PartitionKey,
    /// Of the access token.
    pub fingerprint: String,
    /// When the access token expires.
    pub expires_on: UnixSeconds,
}

impl Scene {
    /// Starts the issuer and the store. `change` has the last word on what processes are told.
    ///
    /// # Errors
    ///
    /// When one of them cannot be started.
    pub async fn new(
        stage: &Stage,
        kind: Kind,
        backend: Backend,
        lifetime: u32,
        users: usize,
        change: impl FnOnce(&mut Setup),
    ) -> Result<Self, GateError> {
        let provider = Provider::start(kind, lifetime, users).await?;
        let ground = Ground::prepare(stage, backend, false).await?;
        Self::on(ground, provider, backend, change).await
    }

    /// As [`new`](Self::new), on a store and at an issuer that are there.
    ///
    /// # Errors
    ///
    /// When the cache cannot be opened.
    pub async fn on(
        ground: Ground,
        provider: Provider,
        backend: Backend,
        change: impl FnOnce(&mut Setup),
    ) -> Result<Self, GateError> {
        let mut setup = Setup::new(&ground, provider.issuer());
        change(&mut setup);
        Ok(Self {
            cache: setup.cache().await?,
            provider,
            setup,
            ground,
            backend,
        })
    }

    /// Signs the first `users` users in.
    ///
    /// # Errors
    ///
    /// When one of them is not.
    pub async fn sign_in_all(&self, users: usize) -> Result<Vec<SignedIn>, GateError> {
        let sign_ins = stream::iter(0..users).map(|user| self.sign_in(user));
        let signed_in: Vec<_> = sign_ins.buffered(AT_ONCE).collect().await;
        signed_in.into_iter().collect()
    }

    /// Signs one in.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub async fn sign_in(&self, user: usize) -> Result<SignedIn, GateError> {
        let result = self.provider.sign_in(&self.setup, &self.cache, user).await?;
        let account = result.account();
        let account = account.ok_or_else(|| GateError::new("a sign-in names nobody"))?;
        let id = account.home_account_id.clone();
        Ok(SignedIn {
            user,
            partition: self.partition(&id)?,
            fingerprint: fingerprint(&result),
            expires_on: result.expires_on(),
            id,
        })
    }

    /// Which store it is.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    fn partition(&self, id: &str) -> Result<PartitionKey, GateError> {
        let authority = Authority::detect(&self.setup.issuer.authority);
        Ok(PartitionKey::User {
            authority: authority.doing("not an authority")?.identity(),
            home_account_id: id.to_owned(),
        })
    }

    /// Starts processes.
    ///
    /// # Errors
    ///
    /// When one of them cannot be started.
    pub fn fleet(&self, stage: &Stage, size: usize) -> Result<Fleet, GateError> {
        Fleet::start(stage, &self.setup, size)
    }

    /// The key of an account's record.
    #[must_use]
    pub fn key(&self, account: &SignedIn) -> StoreKey {
        self.cache.stored_key(&account.partition)
    }

    /// An account's record, as it lies in the store.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn record(&self, account: &SignedIn) -> Result<Option<Record>, GateError> {
        let record = self.cache.store().get(&self.key(account)).await;
        record.doing("could not read a record")
    }

    /// Names the versions of the real parts.
    ///
    /// # Errors
    ///
    /// When they do not say.
    pub async fn versions(&self, tally: &mut Tally) -> Result<(), GateError> {
        if let Some(version) = self.ground.version().await? {
            tally.version("Redis", version);
        }
        if let Some(version) = self.provider.version().await? {
            tally.version(&self.provider.kind().to_string(), version);
        }
        Ok(())
    }
}

impl std::fmt::Display for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} over {}", self.provider.kind(), self.backend)
    }
}

/// The home account IDs.
#[must_use]
pub fn ids(accounts: &[SignedIn]) -> Vec<String> {
    accounts.iter().map(|account| account.id.clone()).collect()
}

/// Waits until every access token has expired.
pub async fn until_expired(accounts: &[SignedIn]) {
    let last = accounts.iter().map(|account| account.expires_on).max();
    if let Some(last) = last {
        let now = SystemClock.now();
        SystemClock.sleep(last.to_millis().duration_since(now)).await;
    }
}
