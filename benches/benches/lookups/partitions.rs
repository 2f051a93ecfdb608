//! Whether a lookup costs more in a cache of many users, beside a bare map and what people write today.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};

use benches::harness::{Measured, Question, QuestionError, Row, at_least, at_most, on, sync};
use benches::payload::{CLIENT_ID, ENVIRONMENT, FakeAuthority, LIFETIME, Payload, Picker, REALM, TokenSizes};
use cache_core::cache::AcquireOptions;
use cache_core::schema::TokenRequest;
use cache_core::strategy::table::{Entry, Table};
use cache_core::time::{Clock, SystemClock, UnixSeconds};

use crate::world::{World, mixed};

const FIND: &str = "find";
const BARE: &str = "bare get and Arc clone";
const MOKA: &str = "moka";
const NAIVE: &str = "string keys and scope sets";

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

pub(crate) fn partitions(
    question: &mut Question,
    runtime: &tokio::runtime::Runtime,
) -> Result<(), QuestionError> {
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
    const REASON: &str = "the bare map is given the hash; the lookup hashes whose token it is, compares ten texts byte for byte and reads the \
                          clock";
    const NEXT: &str = "let a program keep what it asks alike for everybody as a value, so that only whose token it is differs";
    let row = Row::Find;
    let name = format!("× the bare map, {users} partitions");
    let _ = question
        .target(row, &name, at_most(2.0), measured.ratio(FIND))
        .reason(REASON)
        .next_idea(NEXT);
    let name = format!("× faster than moka, {users} partitions");
    let _ = question
        .target(
            row,
            &name,
            at_least(faster_than_moka),
            measured.ratio_of(MOKA, FIND),
        )
        .reason(REASON)
        .next_idea(NEXT);
    let name = format!("× faster than string keys and scope sets, {users} partitions");
    let _ = question
        .target(
            row,
            &name,
            at_least(faster_than_naive),
            measured.ratio_of(NAIVE, FIND),
        )
        .reason(REASON)
        .next_idea(NEXT);
}
