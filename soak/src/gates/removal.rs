//! Gate 10: an account is removed while its token is being refreshed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{
    AcquireOptions, AuthorityCall, CacheError, CallError, CallOutcome, Redemption, TokenCache,
};
use cache_core::random::OsRandom;
use cache_core::schema::merge::SignOutScope;
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, SessionKey, TokenRequest,
};
use cache_core::seal::Namespace;
use cache_core::secret::Secret;
use cache_core::store::{MemoryStore, Store};
use cache_testkit::clock::ManualClock;
use cache_testkit::issuer::{CLIENT, ISSUER, Issuer, user};
use cache_testkit::turnstile::{Door, Orders, Schedule, Turnstile};

use crate::gate::{Doing, Gate, GateError};
use crate::scene::key_source;
use crate::stage::Stage;
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 10,
    name: "removal",
    title: "An account is removed while its token is refreshed: every order of their operations, and further programs by chance",
    must: "0 resurrections; after a sign-out or the end of a session, 0 live refresh tokens that nobody holds",
    unit: "interleavings",
    full_size: 10_000,
    test_size: 300,
    batch: 500,
    limits: &[
        "Programs take turns at the operations of the store and at the authority, by a scheduler of this gate: loom and shuttle interleave the \
         primitives of threads, which is below what processes share. What threads of one process can do to each other between two operations is \
         not interleaved.",
        "A third of the interleavings forget the account (`forget_account`), which leaves its refresh tokens alive at the authority by design: whoever \
         wants them revoked signs out. How many are left is counted, not judged.",
        "The store is one in memory that keeps the contract; that real stores keep it is for the conformance suite.",
    ],
    floors: &[("refreshes that reached the issuer", 0.2)],
    run,
};

const HOUR: Duration = Duration::from_secs(3600);
const SCOPE: &str = "mail";

/// How an account goes away.
#[derive(Clone, Copy, Debug)]
enum Removal {
    SignOut,
    Forget,
    EndOfSession,
}

impl Removal {
    const ALL: [Self; 3] = [Self::SignOut, Self::Forget, Self::EndOfSession];
}

fn run(_: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    let mut tally = Tally::default();
    if cases.start == 0 {
        for removal in Removal::ALL {
            every_order(removal, &mut tally)?;
        }
    }
    for case in cases {
        let removal = Removal::ALL[(case % 3) as usize];
        // A second refresh, of the same process or of another, and a second removal.
        let programs = Programs {
            refreshing: 1 + (case / 3 % 3) as usize,
            share_a_cache: case / 9 % 2 == 1,
            removing: 1 + (case / 18 % 2) as usize,
        };
        let what = format!("interleaving {case}, {removal:?}, {programs:?}");
        play(removal, programs, Schedule::by_chance(case), &what, &mut tally)?;
        tally.add("interleavings by chance", 1);
    }
    Ok(tally)
}

/// One program that refreshes and one that removes, in each order there is.
fn every_order(removal: Removal, tally: &mut Tally) -> Result<(), GateError> {
    let programs = Programs {
        refreshing: 1,
        share_a_cache: false,
        removing: 1,
    };
    let mut orders = Orders::all();
    while let Some(schedule) = orders.next() {
        let what = format!("order {} of {removal:?}", orders.count());
        let ran = play(removal, programs, schedule, &what, tally)?;
        orders.ran(ran);
    }
    tally.add("interleavings, every order of two programs", orders.count());
    Ok(())
}

/// Who comes to the store.
#[derive(Clone, Copy, Debug)]
struct Programs {
    refreshing: usize,
    /// Whether all that refresh are tasks of one process.
    share_a_cache: bool,
    removing: usize,
}

fn play(
    removal: Removal,
    programs: Programs,
    schedule: Schedule,
    what: &str,
    tally: &mut Tally,
) -> Result<Schedule, GateError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .doing("could not start the runtime")?;
    runtime.block_on(async {
        let scene = Scene::new(removal).await.doing("could not set the scene")?;
        let mut turnstile = Turnstile::new(&scene.clock, schedule);
        let mut caches = Vec::new();
        let mut shared = None;
        for _ in 0..programs.refreshing {
            let (door, cache) = match &shared {
                Some((door, cache)) if programs.share_a_cache => {
                    (Door::clone(door), TokenCache::clone(cache))
                }
                _ => {
                    let door = turnstile.door();
                    let cache = scene
                        .open(&door.to(&scene.store))
                        .await
                        .doing("could not open the cache")?;
                    (door, cache)
                }
            };
            shared = Some((door.clone(), cache.clone()));
            caches.push(cache.clone());
            turnstile.add(scene.refresh(cache, door));
        }
        for _ in 0..programs.removing {
            let door = turnstile.door();
            let cache = scene
                .open(&door.to(&scene.store))
                .await
                .doing("could not open the cache")?;
            caches.push(cache.clone());
            turnstile.add(scene.remove(cache, door));
        }
        let ran = turnstile.run().await;
        for cache in caches {
            let unfinished = cache.shutdown(HOUR).await;
            tally.check(unfinished == 0, || {
                format!("{what}: {unfinished} tasks never ended")
            });
        }
        scene.judge(what, &ran, tally).await?;
        Ok(ran)
    })
}

/// An account whose access token has expired, over a store that several programs share.
struct Scene {
    removal: Removal,
    clock: ManualClock,
    store: Arc<dyn Store>,
    issuer: Arc<Issuer>,
}

impl Scene {
    async fn new(removal: Removal) -> Result<Self, CacheError> {
        let clock = ManualClock::new();
        let store = MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom));
        let scene = Self {
            removal,
            issuer: Issuer::new(&clock),
            clock,
            store: Arc::new(store),
        };
        let cache = scene.open(&scene.store).await?;
        let granted = scene.issuer.sign_in(SCOPE);
        match removal {
            Removal::EndOfSession => {
                _ = cache
                    .begin_session(&user(), &session(), granted, HOUR * 24)
                    .await?
            }
            Removal::SignOut | Removal::Forget => _ = cache.sign_in(&user(), granted).await?,
        }
        scene.clock.advance(HOUR);
        Ok(scene)
    }

    async fn open(&self, store: &Arc<dyn Store>) -> Result<TokenCache, CacheError> {
        TokenCache::builder(Arc::clone(store))
            .clock(Arc::new(self.clock.clone()))
            .open_sealed(Namespace::default(), key_source())
            .await
    }

    fn partition(&self) -> PartitionKey {
        match self.removal {
            Removal::EndOfSession => session(),
            Removal::SignOut | Removal::Forget => user(),
        }
    }

    fn refresh(&self, cache: TokenCache, door: Door) -> impl Future<Output = ()> + Send + 'static {
        let call = Arc::new(Call {
            call: self.issuer.call(SCOPE),
            door,
        });
        let request = request_in(self.partition());
        // With a token or without one: what must not be is judged afterwards.
        async move { _ = cache.acquire(request, AcquireOptions::default(), call).await }
    }

    fn remove(&self, cache: TokenCache, door: Door) -> impl Future<Output = ()> + Send + 'static {
        let (removal, issuer) = (self.removal, Arc::clone(&self.issuer));
        async move {
            let call = issuer.call(SCOPE);
            let removed = match removal {
                Removal::SignOut => cache
                    .sign_out_with_tokens(&user(), CLIENT, SignOutScope::Client)
                    .await
                    .map(|removed| removed.refresh_tokens),
                Removal::EndOfSession => cache
                    .end_session_with_tokens(&session())
                    .await
                    .map(|removed| removed.refresh_tokens),
                Removal::Forget => cache.forget_account(&user()).await.map(|_| Vec::new()),
            };
            // As a client does that signs out.
            for token in removed.unwrap_or_default() {
                door.turn().await;
                call.discard(token, HOUR).await;
            }
        }
    }

    /// The account is gone, and so is every token that could bring it back.
    async fn judge(&self, what: &str, ran: &Schedule, tally: &mut Tally) -> Result<(), GateError> {
        let turns = ran.turns();
        let cache = self.open(&self.store).await.doing("could not open the cache")?;
        let options = AcquireOptions {
            cache_only: true,
            ..AcquireOptions::default()
        };
        let found = cache
            .acquire(request_in(self.partition()), options, self.issuer.call(SCOPE))
            .await;
        tally.check(found.is_err(), || {
            format!("{what}: a token was there again, turns {turns:?}")
        });
        let accounts = cache.accounts().await.doing("could not list the accounts")?;
        tally.check(accounts.accounts.is_empty(), || {
            format!("{what}: the account was there again, turns {turns:?}")
        });
        let live = self.issuer.live();
        match self.removal {
            // Who forgets an account does not ask for its tokens, so nobody could revoke them.
            Removal::Forget => tally.add("refresh tokens alive after an account was forgotten", live as u64),
            Removal::SignOut | Removal::EndOfSession => tally.check(live == 0, || {
                format!("{what}: {live} refresh tokens live on, turns {turns:?}")
            }),
        }
        tally.check(self.issuer.revoked_families() == 0, || {
            format!("{what}: a refresh token was spent twice, turns {turns:?}")
        });
        tally.add("refreshes that reached the issuer", self.issuer.redeemed() as u64);
        tally.at_most("turns of an interleaving", turns.len() as u64);
        Ok(())
    }
}

fn session() -> PartitionKey {
    PartitionKey::Session {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        key: SessionKey::WebSession("browser".into()),
    }
}

fn request_in(partition: PartitionKey) -> Arc<TokenRequest> {
    let scopes = ScopeSet::parse(SCOPE);
    let request = TokenRequest::new(
        partition,
        AuthorityKind::Oidc,
        CLIENT,
        "issuer.example",
        "",
        scopes,
    );
    Arc::new(request)
}

/// A request to the issuer that takes its turn before it is executed, and before it is answered.
struct Call {
    call: Arc<cache_testkit::issuer::Call>,
    door: Door,
}

#[async_trait]
impl AuthorityCall for Call {
    async fn prepare(&self, time_limit: Duration) -> Result<(), CallError> {
        self.call.prepare(time_limit).await
    }

    async fn redeem(&self, redemption: Redemption) -> CallOutcome {
        self.door.turn().await;
        let outcome = self.call.redeem(redemption).await;
        self.door.turn().await;
        outcome
    }

    async fn discard(&self, refresh_token: Secret, time_limit: Duration) {
        self.call.discard(refresh_token, time_limit).await;
    }
}
