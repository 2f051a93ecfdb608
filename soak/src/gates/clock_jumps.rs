//! Gate 17: clocks that jump.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::cache::{AcquireOptions, AuthorityCall, CallError, CallOutcome, Redemption, TokenCache};
use cache_core::schema::TokenResponse;
use cache_core::secret::Secret;
use cache_core::time::{Clock, UnixMillis};
use cache_sqlite::{SqliteConfig, SqliteStore};
use cache_testkit::clock::ManualClock;
use rand::Rng;
use rand::rngs::StdRng;

use crate::gate::{Doing, Gate, GateError};
use crate::golden::namespace;
use crate::scene::{User, key_source};
use crate::stage::{Stage, chance, pause, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 17,
    name: "clock-jumps",
    title: "wall clocks that jump by an hour, by a day, to 1970 and to 2100, of two processes on one SQLite store, together and apart",
    must: "0 tokens handed out in the last 300 s by the clock, nor beyond their lifetime and the stated skew of 300 s, unless the clock was set back by less than a token's age, and then for no longer than that; at most 1 refresh for a jump of both clocks, and 1 an acquisition while they differ",
    unit: "jumps",
    full_size: 20_000,
    test_size: 100,
    batch: 1_000,
    limits: &[
        "A clock that is set back by more than the skew and less than a token's age makes the token serve for as much longer: by the clock it is younger, and nothing says otherwise (counted).",
        "While two machines' clocks differ by more than the skew, each may find the other's tokens written in the future or expired, and refresh: the number is told, and bounded by that of the acquisitions.",
        "Time that passes is simulated; suspended machines are not among the cases.",
    ],
    floors: &[
        ("refreshes after such a jump", 0.1),
        ("jumps of both clocks", 0.4),
        ("jumps of one clock", 0.1),
    ],
    run,
};

const LIFETIME: Duration = Duration::from_secs(3600);
/// What a token's time may be off by: one that was obtained later than that from now on serves nobody.
const STATED_SKEW: Duration = Duration::from_secs(300);
/// How long a token of this lifetime must last when it is handed out, in seconds.
const MARGIN: i64 = 300;
const HOUR: i64 = 3_600_000;
const ALICE: User = User(1);

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    stage.in_parallel(cases, |cases| {
        let folder = stage.folder()?;
        runtime()?.block_on(jump(folder.path(), cases))
    })
}

async fn jump(folder: &Path, cases: Range<u64>) -> Result<Tally, GateError> {
    let mut tally = Tally::default();
    let world = World::new(folder).await?;
    let _passing = Passing::start(world.clocks.clone());
    for case in cases {
        let mut chance = chance(GATE.number, case);
        world.pass(Duration::from_secs(chance.random_range(0..4000)));
        if case % 4 < 3 {
            world.jump_together(case, &mut chance, &mut tally).await?;
        } else {
            world.jump_apart(case, &mut chance, &mut tally).await?;
        }
    }
    world.close().await;
    Ok(tally)
}

/// Two processes, each with a clock of its own.
struct World {
    clocks: [ManualClock; 2],
    stores: [Arc<SqliteStore>; 2],
    caches: [TokenCache; 2],
    issuer: Arc<Issuer>,
}

impl World {
    async fn new(folder: &Path) -> Result<Self, GateError> {
        let clocks = [ManualClock::new(), ManualClock::new()];
        let path = folder.join("cache.db");
        let (mut stores, mut caches) = (Vec::new(), Vec::new());
        for clock in &clocks {
            let config = SqliteConfig::new(&path).clock(Arc::new(clock.clone()));
            let store = Arc::new(
                SqliteStore::open(config)
                    .await
                    .doing("the database was not opened")?,
            );
            let cache = TokenCache::builder(store.clone()).clock(Arc::new(clock.clone()));
            let cache = cache.open_sealed(namespace(), key_source()).await;
            caches.push(cache.doing("a cache was not opened")?);
            stores.push(store);
        }
        let issuer = Arc::new(Issuer {
            truth: clocks[0].clone(),
            last: AtomicU64::new(0),
            born: Mutex::default(),
        });
        let granted = issuer.grant(&clocks[0]);
        let signed_in = caches[0].sign_in(&ALICE.partition(), granted).await;
        signed_in.doing("the sign-in failed")?;
        let two = || GateError::new("there are two processes");
        Ok(Self {
            clocks,
            stores: stores.try_into().map_err(|_| two())?,
            caches: caches.try_into().map_err(|_| two())?,
            issuer,
        })
    }

    async fn close(&self) {
        for store in &self.stores {
            store.close().await;
        }
    }

    /// Time that passes for everybody.
    fn pass(&self, duration: Duration) {
        for clock in &self.clocks {
            clock.advance(duration);
        }
    }

    /// Both clocks are set: as on one machine.
    async fn jump_together(
        &self,
        case: u64,
        chance: &mut StdRng,
        tally: &mut Tally,
    ) -> Result<(), GateError> {
        let there = destination(self.clocks[0].now(), chance);
        for clock in &self.clocks {
            clock.set(there);
        }
        let before = self.issuer.refreshes();
        let acquired = self.acquire(case, 6, tally).await?;
        let refreshes = self.issuer.refreshes() - before;
        tally.add("jumps of both clocks", 1);
        tally.add("acquisitions after such a jump", acquired);
        tally.add("refreshes after such a jump", refreshes);
        tally.at_most("refreshes after one such jump", refreshes);
        tally.check(refreshes <= 1, || {
            format!("case {case}: {refreshes} refreshes after a jump to {there:?}")
        });
        Ok(())
    }

    /// One clock is set, and right again after a while.
    async fn jump_apart(&self, case: u64, chance: &mut StdRng, tally: &mut Tally) -> Result<(), GateError> {
        let one = usize::from(chance.random::<bool>());
        self.clocks[one].set(destination(self.clocks[one].now(), chance));
        let before = self.issuer.refreshes();
        let acquired = self.acquire(case, 6, tally).await?;
        let apart = self.issuer.refreshes() - before;
        tally.add("jumps of one clock", 1);
        tally.add("acquisitions while the clocks differed", acquired);
        tally.add("refreshes while the clocks differed", apart);
        tally.at_most("refreshes in six acquisitions while the clocks differed", apart);
        tally.check(apart <= acquired, || {
            format!("case {case}: {apart} refreshes in {acquired} acquisitions")
        });

        self.clocks[one].set(self.clocks[1 - one].now());
        let before = self.issuer.refreshes();
        self.acquire(case, 6, tally).await?;
        let after = self.issuer.refreshes() - before;
        tally.at_most("refreshes after the clocks agreed again", after);
        tally.check(after <= 1, || {
            format!("case {case}: {after} refreshes after the clocks agreed again")
        });
        Ok(())
    }

    /// Has the processes acquire a token in turns, and looks how old it really is.
    async fn acquire(&self, case: u64, times: u64, tally: &mut Tally) -> Result<u64, GateError> {
        for (number, process) in (0..times).zip([0, 1].into_iter().cycle()) {
            let call = Arc::new(Call {
                issuer: Arc::clone(&self.issuer),
                clock: self.clocks[process].clone(),
            });
            let acquired = self.caches[process]
                .acquire(ALICE.request(), AcquireOptions::default(), call)
                .await;
            let acquired = match acquired {
                Ok(acquired) => acquired,
                Err(error) => {
                    tally.violation(format_args!("case {case}: acquisition {number}: {error}"));
                    continue;
                }
            };
            let token = acquired.token();
            let clock = &self.clocks[process];
            self.issuer.judge(token.secret.expose(), clock, case, tally)?;
            let left = token.expires_on.0 - clock.now().to_seconds().0;
            // Two clocks are not read in one moment.
            tally.check(left >= MARGIN - 1, || {
                format!("case {case}: a token with {left} s left was handed out")
            });
        }
        Ok(times)
    }
}

/// Where a clock jumps to.
fn destination(from: UnixMillis, chance: &mut StdRng) -> UnixMillis {
    let by = [-60_000, 60_000, -HOUR, HOUR, -24 * HOUR, 24 * HOUR];
    match chance.random_range(0..10) {
        0 => UnixMillis(0),
        1 => UnixMillis(4_102_444_800_000),
        2 | 3 => ManualClock::START,
        index => UnixMillis((from.0 + by[index - 4]).max(0)),
    }
}

/// Lets time pass for those who sleep, a few times as fast as it does.
struct Passing(Arc<AtomicBool>);

impl Passing {
    fn start(clocks: [ManualClock; 2]) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        std::thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                pause(Duration::from_millis(5));
                if clocks.iter().any(|clock| clock.sleepers() > 0) {
                    for clock in &clocks {
                        clock.advance(Duration::from_millis(20));
                    }
                }
            }
        });
        Self(is_over)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An issuer that knows when its tokens were really issued: its own clock is never set.
struct Issuer {
    truth: ManualClock,
    last: AtomicU64,
    born: Mutex<HashMap<String, Birth>>,
}

/// When a token was issued.
#[derive(Clone, Copy)]
struct Birth {
    /// By the clock that is never set.
    truly: Duration,
    /// What the clock of the process was ahead of that one by, in seconds.
    ahead: i64,
}

impl Birth {
    fn now(truth: &ManualClock, clock: &ManualClock) -> Self {
        let truly = truth.monotonic();
        Self {
            truly,
            ahead: clock.now().to_seconds().0 - truly.as_secs().cast_signed(),
        }
    }
}

impl Issuer {
    /// What it grants, as a process with this clock writes it down.
    fn grant(&self, clock: &ManualClock) -> TokenResponse {
        let serial = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mut granted = ALICE.granted(serial);
        granted.requested_at = clock.now().to_seconds();
        granted.expires_on = granted.requested_at.saturating_add(LIFETIME);
        let token = granted
            .access_token
            .as_ref()
            .map(|token| token.expose().to_owned());
        let mut born = self.born.lock().unwrap_or_else(PoisonError::into_inner);
        born.insert(token.unwrap_or_default(), Birth::now(&self.truth, clock));
        granted
    }

    fn refreshes(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Whether a process with this clock may hand out `token` now.
    fn judge(&self, token: &str, clock: &ManualClock, case: u64, tally: &mut Tally) -> Result<(), GateError> {
        let born = self.born.lock().unwrap_or_else(PoisonError::into_inner);
        let born = born
            .get(token)
            .ok_or_else(|| GateError::new("a token of nobody was handed out"))?;
        let now = Birth::now(&self.truth, clock);
        let [lifetime, skew] = [LIFETIME, STATED_SKEW].map(|limit| limit.as_secs().cast_signed());
        let age = now.truly.saturating_sub(born.truly).as_secs().cast_signed();
        let set_back = born.ahead - now.ahead;
        if set_back <= skew {
            tally.at_most("oldest token handed out, in s", age.unsigned_abs());
            tally.check(age <= lifetime + skew, || {
                format!("case {case}: a token {age} s old was handed out")
            });
            return Ok(());
        }
        let by_the_clock = age - set_back;
        // Two clocks are not read in one moment.
        tally.check((-skew - 1..=lifetime).contains(&by_the_clock), || {
            format!(
                "case {case}: a token {by_the_clock} s old by a clock set back by {set_back} s was handed out"
            )
        });
        let what = "limit: tokens handed out for longer, as the clock was set back by less than their age";
        tally.add(what, (age > lifetime + skew).into());
        Ok(())
    }
}

struct Call {
    issuer: Arc<Issuer>,
    clock: ManualClock,
}

#[async_trait]
impl AuthorityCall for Call {
    async fn prepare(&self, _time_limit: Duration) -> Result<(), CallError> {
        Ok(())
    }

    async fn redeem(&self, _redemption: Redemption) -> CallOutcome {
        CallOutcome::Granted(Box::new(self.issuer.grant(&self.clock)))
    }

    async fn discard(&self, _refresh_token: Secret, _time_limit: Duration) {}
}
