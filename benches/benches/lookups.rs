//! What a lookup costs that memory answers, beside what the machine allows and what people write today.
#![allow(missing_docs, reason = "a program")]

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use benches::harness::{Measured, Row};
use benches::harness::{Question, QuestionError, answer, at_least, at_most, on, sync, threads};
use benches::payload::{
    CLIENT_ID, ENVIRONMENT, FakeAuthority, LIFETIME, Payload, Picker, REALM, TokenSizes, memory_cache,
};
use cache_core::cache::{AcquireOptions, Lookup, PartitionRef, TokenCache};
use cache_core::schema::{AuthorityIdentity, AuthorityKind, ScopeSet, TokenContext, TokenRequest, TokenType};
use cache_core::strategy::table::{Entry, Table};
use cache_core::strategy::{MemoryTier, Strategy};
use cache_core::time::{Clock, SystemClock, UnixSeconds};

const FIND: &str = "find";
const BARE: &str = "bare get and Arc clone";
const MOKA: &str = "moka";
const NAIVE: &str = "string keys and scope sets";
/// How many lookups are drawn before they recur: each reads its own arguments, which must not be what is waited for.
const DRAWN: usize = 1 << 13;

fn main() -> ExitCode {
    answer(
        "lookups",
        "What does a lookup cost that memory answers?",
        |question| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            partitions(question, &runtime)?;
            prepared(question, &runtime)?;
            tokens(question, &runtime)?;
            question.means(
            "A lookup from plain arguments costs a hash of them, one line of a table, and one comparison: nothing that grows \
             with the cache but the wait for memory. A program that asks for the same token again and again prepares its request \
             and pays neither.",
        );
            Ok(())
        },
    )
}

/// A cache that keeps everything, and everybody who asks it.
struct World {
    cache: TokenCache,
    payload: Payload,
    authority: AuthorityIdentity,
    context: TokenContext,
    asks: Vec<Ask>,
    /// Those of the asks, one after another.
    home_account_ids: String,
    next: Cell<usize>,
}

/// Who asks.
struct Ask {
    user: usize,
    hash: u64,
    home_account_id: Range<usize>,
}

/// A strategy whose memory neither forgets nor asks the store while it is measured.
fn strategy() -> Strategy {
    let tier = MemoryTier::bounded(64 << 30).max_staleness(Duration::from_secs(24 * 3600));
    Strategy::web_front_end().memory_tier(tier)
}

impl World {
    fn new(
        runtime: &tokio::runtime::Runtime,
        sizes: TokenSizes,
        users: usize,
        mut pick: Picker,
    ) -> Result<Self, QuestionError> {
        let payload = Payload::present(1).sizes(sizes);
        let cache = runtime.block_on(memory_cache(&payload, users, 1, strategy()))?;
        let offline = FakeAuthority::at_once(&payload);
        let options = AcquireOptions {
            cache_only: true,
            ..AcquireOptions::default()
        };
        // Asked once more, from memory: that is what is remembered.
        runtime.block_on(async {
            for user in 0..users {
                cache
                    .acquire(payload.request(user, 0), options, offline.clone())
                    .await?;
            }
            Ok::<_, QuestionError>(())
        })?;
        let mut home_account_ids = String::new();
        let mut asks = Vec::with_capacity(DRAWN);
        for user in (0..DRAWN).map(|_| pick.pick()) {
            let start = home_account_ids.len();
            home_account_ids.push_str(&payload.home_account_id(user));
            asks.push(Ask {
                user,
                hash: mixed(user),
                home_account_id: start..home_account_ids.len(),
            });
        }
        Ok(Self {
            asks,
            home_account_ids,
            cache,
            authority: AuthorityIdentity::of_host(AuthorityKind::Entra, ENVIRONMENT),
            context: TokenContext::default(),
            payload,
            next: Cell::new(0),
        })
    }

    fn next(&self) -> &Ask {
        let next = self.next.get();
        self.next.set((next + 1) % DRAWN);
        &self.asks[next]
    }

    fn home_account_id(&self, ask: &Ask) -> &str {
        &self.home_account_ids[ask.home_account_id.clone()]
    }

    fn lookup<'a>(&'a self, ask: &'a Ask, scopes: &'a [&'a str]) -> Lookup<'a> {
        Lookup {
            partition: PartitionRef::User {
                authority: &self.authority,
                home_account_id: self.home_account_id(ask),
            },
            kind: AuthorityKind::Entra,
            client_id: CLIENT_ID,
            environment: ENVIRONMENT,
            realm: REALM,
            scopes,
            token_type: &TokenType::Bearer,
            context: &self.context,
        }
    }
}

/// A number spread over all 64 bits.
fn mixed(number: usize) -> u64 {
    let product = u128::from(number as u64 + 1).wrapping_mul(0xd6e8_feb8_6659_fd93_9e37_79b9_7f4a_7c15);
    (product ^ (product >> 64)) as u64
}

/// What the table has beside nothing: as large as an answer.
struct Bare {
    hash: u64,
    _rest: [u8; 440],
}

impl Entry for Bare {
    fn hash(&self) -> u64 {
        self.hash
    }

    fn is_alive(&self) -> bool {
        true
    }

    fn end(&self) {}
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct MokaKey {
    home_account_id: String,
    client_id: String,
    environment: String,
    realm: String,
    scopes: Vec<String>,
}

impl MokaKey {
    fn new(payload: &Payload, user: usize) -> Self {
        Self {
            home_account_id: payload.home_account_id(user),
            client_id: CLIENT_ID.into(),
            environment: ENVIRONMENT.into(),
            realm: REALM.into(),
            scopes: payload.granted_scopes(0).words().map(str::to_owned).collect(),
        }
    }
}

struct Kept {
    token: String,
    scopes: HashSet<String>,
    expires_on: UnixSeconds,
}

/// The access token that people's own cache gives for a key and scopes.
type Naive = RwLock<HashMap<String, Vec<Kept>>>;

fn partitions(question: &mut Question, runtime: &tokio::runtime::Runtime) -> Result<(), QuestionError> {
    let sizes: &[usize] = if question.is_quick() {
        &[1, 1000]
    } else {
        &[1, 1000, 100_000, 1_000_000]
    };
    for users in sizes.iter().copied() {
        for zipf in [false, true] {
            let distribution = if zipf { "zipf" } else { "uniform" };
            let name = format!("find, {users} partitions, {distribution}");
            if !question.wants(&name) || (zipf && users == 1) {
                continue;
            }
            let pick = if zipf {
                Picker::zipf(users, 1.1, 7)
            } else {
                Picker::uniform(users, 7)
            };
            // With tokens of real size a million partitions are more than this machine has.
            let world = World::new(runtime, TokenSizes::SMALL, users, pick)?;
            let measured = compare_partitions(question, &name, &world, users);
            if !zipf {
                judge(question, users, &measured);
            }
        }
    }
    Ok(())
}

fn compare_partitions(question: &mut Question, name: &str, world: &World, users: usize) -> Measured {
    let payload = &world.payload;
    let granted = payload.granted_scopes(0);
    let scopes: Vec<&str> = granted.words().collect();
    let bare = Table::new();
    let hits = moka::sync::Cache::new(u64::MAX);
    let naive = Naive::default();
    let keys: Vec<MokaKey> = (0..users).map(|user| MokaKey::new(payload, user)).collect();
    for (user, key) in keys.iter().enumerate() {
        bare.insert(
            &Arc::new(Bare {
                hash: mixed(user),
                _rest: [0; 440],
            }),
            |_| false,
        );
        let expires_on = SystemClock.now().to_seconds().saturating_add(LIFETIME);
        let token = "t".repeat(100);
        hits.insert(key.clone(), Arc::new((token.clone(), expires_on)));
        let kept = Kept {
            token,
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            expires_on,
        };
        let naive_key = naive_key(&payload.home_account_id(user));
        naive
            .write()
            .unwrap_or_else(|error| error.into_inner())
            .insert(naive_key, vec![kept]);
    }
    let offline = FakeAuthority::at_once(payload);
    let options = AcquireOptions::default();
    let requests: Vec<Arc<TokenRequest>> = (0..users.min(1000))
        .map(|user| payload.request(user, 0))
        .collect();
    let turn = Cell::new(0);
    let waiting = tokio::runtime::Builder::new_current_thread().build();
    let mut comparison = question
        .compare(name)
        .limit(BARE, sync(|| bare.find(world.next().hash, |_| true)))
        .variant(
            FIND,
            sync(|| world.cache.find(&world.lookup(world.next(), &scopes))),
        )
        .variant(
            "find, nobody has it",
            sync(|| {
                world
                    .cache
                    .find(&world.lookup(world.next(), &["https://nobody.example/.default"]))
            }),
        )
        .peer(
            MOKA,
            sync(|| {
                let found = hits.get(&keys[world.next().user])?;
                (found.1 > SystemClock.now().to_seconds()).then_some(found)
            }),
        )
        .peer(
            NAIVE,
            sync(|| {
                let wanted: HashSet<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
                let all = naive.read().unwrap_or_else(|error| error.into_inner());
                let now = SystemClock.now().to_seconds();
                let tokens = all.get(&naive_key(world.home_account_id(world.next())))?;
                let serves = |kept: &&Kept| kept.expires_on > now && kept.scopes.is_superset(&wanted);
                tokens.iter().find(serves).map(|kept| kept.token.clone())
            }),
        );
    if let Ok(waiting) = &waiting {
        comparison = comparison.variant(
            "acquire, of 1,000 requests built before",
            on(waiting, async || {
                turn.set((turn.get() + 1) % requests.len());
                let request = Arc::clone(&requests[turn.get()]);
                world.cache.acquire(request, options, offline.clone()).await
            }),
        );
    }
    comparison.run()
}

fn naive_key(home_account_id: &str) -> String {
    format!("{home_account_id}-{ENVIRONMENT}-accesstoken-{CLIENT_ID}-{REALM}")
}

fn judge(question: &mut Question, users: usize, measured: &Measured) {
    let (faster_than_moka, faster_than_naive) = match users {
        1000 => (5.0, 20.0),
        100_000 => (2.5, 4.0),
        _ => return,
    };
    let row = Row::Find;
    let name = format!("× the bare map, {users} partitions");
    let _ = question
        .target(row, &name, at_most(2.0), measured.ratio(FIND))
        .reason("the bare map is given the hash; the lookup reads two clocks, hashes its arguments and compares them")
        .next_idea("hash less than everything: what is found is compared anyway");
    let name = format!("× faster than moka, {users} partitions");
    let _ = question.target(
        row,
        &name,
        at_least(faster_than_moka),
        measured.ratio_of(MOKA, FIND),
    );
    let name = format!("× faster than string keys and scope sets, {users} partitions");
    let _ = question.target(
        row,
        &name,
        at_least(faster_than_naive),
        measured.ratio_of(NAIVE, FIND),
    );
}

fn prepared(question: &mut Question, runtime: &tokio::runtime::Runtime) -> Result<(), QuestionError> {
    let name = "prepared, borrowed";
    if !question.wants(name) {
        return Ok(());
    }
    let world = World::new(runtime, TokenSizes::ENTRA, 1, Picker::uniform(1, 7))?;
    let handle = world.cache.prepare(world.payload.request(0, 0));
    let swap = ArcSwap::from_pointee(0_u64);
    let limit = || {
        let guard = swap.load();
        (coarse(), guard)
    };
    let measured = question
        .compare(name)
        .limit("arc-swap guard load and a coarse clock", sync(limit))
        .variant("peek", sync(|| handle.peek()))
        .variant("peek, 1 thread", threads(1, |_| || handle.peek()))
        .variant("peek, 2 threads on one handle", threads(2, |_| || handle.peek()))
        .variant(
            "peek, kept",
            sync(|| handle.peek().map(|token| token.to_acquired())),
        )
        .run();
    let _ = question
        .target(
            Row::Prepared,
            "× a guard load and a coarse clock",
            at_most(1.5),
            measured.ratio("peek"),
        )
        .reason("it reads two clocks, since none counts suspend and cannot be set back")
        .next_idea("a coarse clock that counts suspend, from a vDSO that has one");
    let _ = question.target(
        Row::Prepared,
        "× as fast with two threads on one handle",
        at_least(1.8),
        measured.ratio_of("peek, 1 thread", "peek, 2 threads on one handle"),
    );
    Ok(())
}

#[cfg(target_os = "linux")]
fn coarse() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse).tv_sec
}

#[cfg(not(target_os = "linux"))]
fn coarse() -> i64 {
    SystemClock.now().0
}

fn tokens(question: &mut Question, runtime: &tokio::runtime::Runtime) -> Result<(), QuestionError> {
    let sizes = question.sized(vec![1, 100], vec![1, 10]);
    for tokens in sizes {
        let name = format!("find, {tokens} tokens in one partition");
        if !question.wants(&name) {
            continue;
        }
        let payload = Payload::present(1).sizes(TokenSizes::SMALL);
        let cache = runtime.block_on(memory_cache(&payload, 1, tokens, strategy()))?;
        let offline = FakeAuthority::at_once(&payload);
        let options = AcquireOptions {
            cache_only: true,
            ..AcquireOptions::default()
        };
        let authority = AuthorityIdentity::of_host(AuthorityKind::Entra, ENVIRONMENT);
        let (home_account_id, context) = (payload.home_account_id(0), TokenContext::default());
        let sets: [ScopeSet; 2] = [
            payload.granted_scopes(tokens - 1),
            payload.requested_scopes(tokens - 1),
        ];
        for scopes in &sets {
            for _ in 0..2 {
                let request = payload.request_for(0, scopes.clone());
                runtime.block_on(cache.acquire(request, options, offline.clone()))?;
            }
        }
        let words: Vec<Vec<&str>> = sets.iter().map(|set| set.words().collect()).collect();
        let ask = |words: &[&str]| {
            cache.find(&Lookup {
                partition: PartitionRef::User {
                    authority: &authority,
                    home_account_id: &home_account_id,
                },
                kind: AuthorityKind::Entra,
                client_id: CLIENT_ID,
                environment: ENVIRONMENT,
                realm: REALM,
                scopes: words,
                token_type: &TokenType::Bearer,
                context: &context,
            })
        };
        question
            .compare(&name)
            .limit("exact scopes", sync(|| ask(&words[0])))
            .variant("fewer scopes", sync(|| ask(&words[1])))
            .run();
    }
    Ok(())
}
