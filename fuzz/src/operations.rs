//! Operations of two processes that share a store, played against an oracle, with faults.
//!
//! Two bytes are an operation: what and on whom, and its argument. The promises: never another user's token, never one from before a
//! sign-out that was acknowledged, a sign-in that was acknowledged is found, and no refresh token is sent again once it may be spent.

mod issuer;
mod oracle;

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{AcquireOptions, CacheError, Freshness, SignOutScope, TokenCache};
use cache_core::seal::Namespace;
use cache_core::store::Store;
use cache_core::store::error::ErrorKind;
use cache_core::strategy::{MemoryTier, Strategy};
use cache_core::time::Clock;
use cache_testkit::fault::{Fault, FaultStore};

use crate::scene::{LIMIT, Scene, block_on, golden_key_source};
use crate::{Outcome, Target};
use issuer::{Issuer, Reply};
use oracle::Subject;

/// The target.
pub const TARGET: Target = Target {
    name: "operations",
    title: "operations of two processes on one store with faults, against an oracle",
    run,
    seeds,
    max_len: 48,
};

const USERS: u8 = 3;

/// Plays the operations that the bytes are.
///
/// # Panics
/// When a promise is broken.
pub fn run(data: &[u8]) -> Outcome {
    block_on(async {
        let scene = Scene::new();
        scene.clock.auto_advance(false);
        let ticking = tokio::spawn(tick(scene.clock.clone()));
        let mut world = World::new(scene).await;
        for operation in data.chunks_exact(2) {
            world.operate(operation[0], operation[1]).await;
        }
        let has_served = world.end().await;
        ticking.abort();
        Outcome::taken(has_served)
    })
}

/// Lets time pass for whoever waits.
async fn tick(clock: cache_testkit::clock::ManualClock) {
    loop {
        if clock.sleepers() > 0 {
            clock.advance(Duration::from_millis(250));
        }
        tokio::task::yield_now().await;
    }
}

struct World {
    scene: Scene,
    issuer: Arc<Issuer>,
    processes: [Process; 2],
}

struct Process {
    cache: TokenCache,
    store: FaultStore,
}

impl World {
    async fn new(scene: Scene) -> Self {
        let processes = [Process::start(&scene, 0).await, Process::start(&scene, 1).await];
        Self {
            issuer: Issuer::new(scene.clock.clone()),
            scene,
            processes,
        }
    }

    async fn operate(&mut self, what: u8, argument: u8) {
        // What one process did, another has heard of: until then it may answer from memory, for a time that its strategy bounds.
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
        let process = usize::from(what >> 7);
        let user = (what >> 4 & 7) % USERS;
        let subject = if argument & 0x80 == 0 {
            Subject::User(user)
        } else {
            Subject::Session(user)
        };
        match what & 15 {
            0 | 1 => self.sign_in(process, subject).await,
            // A fault may keep it from an answer.
            2 => _ = self.find(process, subject).await,
            3 => self.acquire(process, subject, argument, Freshness::Cached).await,
            4 => {
                self.acquire(process, subject, argument, Freshness::Forced { rejected: None })
                    .await
            }
            5 => self.sign_out(process, user).await,
            6 => self.forget(process, user).await,
            7 => self.end_session(process, user).await,
            8 => self.processes[process] = Process::start(&self.scene, process).await,
            9 => _ = self.processes[process].cache.sealer().rotate().await,
            10..=12 => self.processes[process].store.inject(fault(argument)),
            13 => self.processes[process].store.heal(),
            14 => self
                .scene
                .clock
                .advance(Duration::from_secs(u64::from(argument) * 30)),
            _ => _ = self.processes[process].cache.accounts().await,
        }
        self.issuer.oracle().assert();
    }

    async fn sign_in(&self, process: usize, subject: Subject) {
        let cache = &self.processes[process].cache;
        let (serial, granted) = self.issuer.grant(subject);
        let user = Subject::User(subject.user()).partition();
        let done = match subject {
            Subject::User(_) => cache.sign_in(&user, granted).await,
            Subject::Session(_) => {
                let lifetime = Duration::from_secs(86_400);
                cache
                    .begin_session(&user, &subject.partition(), granted, lifetime)
                    .await
            }
        };
        if done.is_ok() {
            self.issuer.oracle().stored(subject, serial);
        }
    }

    /// What is there, without a request to the authority.
    async fn find(&self, process: usize, subject: Subject) -> Result<(), CacheError> {
        let options = AcquireOptions {
            cache_only: true,
            ..AcquireOptions::default()
        };
        let cache = &self.processes[process].cache;
        let call = self.issuer.call(subject, Reply::NotSent);
        match cache.acquire(subject.request(), options, call).await {
            Ok(acquired) => self
                .issuer
                .oracle()
                .served(subject, acquired.token().secret.expose()),
            Err(CacheError::InteractionRequired(_)) => {
                self.issuer.oracle().missing(subject, self.scene.clock.now());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn acquire(&self, process: usize, subject: Subject, argument: u8, freshness: Freshness) {
        let options = AcquireOptions {
            freshness,
            ..AcquireOptions::default()
        };
        let cache = &self.processes[process].cache;
        let call = self.issuer.call(subject, Reply::of(argument));
        if let Ok(acquired) = cache.acquire(subject.request(), options, call).await {
            self.issuer
                .oracle()
                .served(subject, acquired.token().secret.expose());
        }
    }

    async fn sign_out(&self, process: usize, user: u8) {
        let cache = &self.processes[process].cache;
        let ended = [Subject::User(user), Subject::Session(user)];
        self.issuer.oracle().ending(&ended);
        let key = Subject::User(user).partition();
        if cache
            .sign_out(&key, issuer::CLIENT, SignOutScope::Client)
            .await
            .is_ok()
        {
            self.issuer.oracle().ended(&ended);
        }
    }

    async fn forget(&self, process: usize, user: u8) {
        let cache = &self.processes[process].cache;
        let ended = [Subject::User(user), Subject::Session(user)];
        self.issuer.oracle().ending(&ended);
        if cache
            .forget_account(&Subject::User(user).partition())
            .await
            .is_ok()
        {
            self.issuer.oracle().ended(&ended);
        }
    }

    async fn end_session(&self, process: usize, user: u8) {
        let session = Subject::Session(user);
        self.issuer.oracle().ending(&[session]);
        if self.processes[process]
            .cache
            .end_session(&session.partition())
            .await
            .is_ok()
        {
            self.issuer.oracle().ended(&[session]);
        }
    }

    /// A program that starts afterwards, without faults, finds everything in order. Whether any token was ever found.
    async fn end(mut self) -> bool {
        for process in &self.processes {
            process.store.heal();
            process.cache.shutdown(LIMIT).await;
        }
        self.processes[0] = Process::start(&self.scene, 0).await;
        for subject in (0..USERS).flat_map(|user| [Subject::User(user), Subject::Session(user)]) {
            if let Err(error) = self.find(0, subject).await {
                panic!("{subject:?} was not looked up without a fault: {error:?}");
            }
        }
        self.issuer.oracle().assert();
        for record in self.processes[0].cache.inspect().await.expect("a memory store") {
            let contents = record.contents.as_ref();
            assert!(
                contents.is_none_or(Result::is_ok),
                "{} cannot be opened",
                record.key
            );
        }
        self.issuer.oracle().has_served()
    }
}

impl Process {
    async fn start(scene: &Scene, number: usize) -> Self {
        let inner: Arc<dyn Store> = scene.store.clone();
        let store = FaultStore::new(inner, scene.clock());
        let memory = if number == 0 {
            MemoryTier::bounded(1 << 20).max_staleness(Duration::from_secs(30))
        } else {
            MemoryTier::bounded(1 << 20).max_staleness(Duration::ZERO)
        };
        let cache = TokenCache::builder(Arc::new(store.clone()))
            .clock(scene.clock())
            .random(scene.random.clone())
            .strategy(Strategy::desktop_tool().memory_tier(memory))
            .open_sealed(Namespace::default(), golden_key_source())
            .await
            .expect("nothing fails while a process starts");
        Self { cache, store }
    }
}

/// A fault that strikes once, after some operations that go well.
fn fault(argument: u8) -> Fault {
    let fault = match argument & 7 {
        0 => Fault::fail(ErrorKind::Unavailable),
        1 => Fault::fail(ErrorKind::Conflict),
        2 | 3 => Fault::lost_reply(),
        4 | 5 => Fault::lost_request(),
        6 => Fault::crash_before(),
        _ => Fault::crash_after(),
    };
    fault.after(usize::from(argument >> 3 & 7)).once()
}

fn seeds() -> Vec<Vec<u8>> {
    vec![
        // Signed in by one, found by the other; signed out by one, not found by the other.
        vec![0x00, 0, 0x82, 0, 0x05, 0, 0x82, 0],
        // A session that ends with its user; a refresh of each; a restart.
        vec![
            0x00, 0, 0x00, 0x80, 0x84, 0, 0x84, 0x80, 0x08, 0, 0x02, 0x80, 0x06, 0, 0x02, 0x80,
        ],
        // Replies that are lost, of the store and of the authority; time passes.
        vec![
            0x00, 0, 0x0a, 2, 0x04, 0, 0x82, 0, 0x84, 2, 0x0e, 200, 0x83, 0, 0x03, 0,
        ],
        // A crash while it signs out, and a key that is rotated meanwhile.
        vec![
            0x10, 0, 0x1a, 7, 0x15, 0, 0x99, 0, 0x18, 0, 0x12, 0, 0x90, 0, 0x12, 0,
        ],
    ]
}
