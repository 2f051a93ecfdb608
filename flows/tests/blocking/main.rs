//! The clients in a program without an asynchronous runtime. The authority has one of its own, as a server has.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::random::OsRandom;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::MemoryStore;
use cache_core::strategy::{RefreshPolicy, Strategy};
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{
    ALICE, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, FakeAuthority, Grant, HOME_TENANT, Lifetimes,
    PUBLIC_CLIENT,
};
use cache_testkit::clock::ManualClock;
use flows::authority::Authority;
use flows::blocking::{BlockingError, Runtime, Wait};
use flows::client::{ClientCredential, ConfidentialClient, PublicClient};
use flows::http::{HttpClient, ReqwestClient};
use flows::{Error, TokenSource};

const GRAPH: [&str; 1] = ["https://graph.microsoft.com/.default"];

/// An authority on threads of its own.
struct Elsewhere {
    authority: FakeAuthority,
    server: tokio::runtime::Runtime,
}

impl Elsewhere {
    fn start(lifetimes: Lifetimes) -> Self {
        let server = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let config = Config::default()
            .lifetimes(lifetimes)
            .auto_approve_devices(0, ALICE);
        let authority = server.block_on(FakeAuthority::start(config)).unwrap();
        Self { authority, server }
    }

    fn http(&self) -> Arc<dyn HttpClient> {
        let builder = ReqwestClient::builder().ca_certificates(self.authority.ca_pem().unwrap());
        Arc::new(builder.no_proxy().build().unwrap())
    }

    fn detected(&self) -> Authority {
        Authority::detect(&self.authority.authority_url(HOME_TENANT)).unwrap()
    }

    fn confidential(&self, cache: TokenCache) -> ConfidentialClient {
        let secret = ClientCredential::secret(Secret::new(CONFIDENTIAL_SECRET));
        ConfidentialClient::builder(CONFIDENTIAL_CLIENT, self.detected(), secret, cache)
            .http(self.http())
            .build()
            .unwrap()
    }

    fn requests(&self) -> u64 {
        self.authority.grant_count(Grant::ClientCredentials).requests
    }
}

fn cache(runtime: &Runtime, clock: Arc<dyn Clock>) -> TokenCache {
    let store = MemoryStore::with(Arc::clone(&clock), Arc::new(OsRandom));
    let key = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
    let strategy = Strategy::desktop_tool().refresh(RefreshPolicy::ahead());
    let cache = TokenCache::builder(Arc::new(store))
        .clock(clock)
        .strategy(strategy);
    runtime
        .run(cache.open_sealed(Namespace::default(), key))
        .unwrap()
        .unwrap()
}

#[allow(
    clippy::disallowed_methods,
    reason = "the thread of a program without a runtime"
)]
fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

#[test]
fn a_user_signs_in_and_has_tokens_silently() {
    let elsewhere = Elsewhere::start(Lifetimes::default());
    let runtime = Runtime::new().unwrap();
    let cache = cache(&runtime, Arc::new(SystemClock));
    let client = PublicClient::builder(PUBLIC_CLIENT, elsewhere.detected(), cache.clone())
        .http(elsewhere.http())
        .build()
        .unwrap();
    let signed_in = client
        .acquire_token_by_device_code(["User.Read"])
        .on_prompt(|_| {})
        .wait(&runtime)
        .unwrap();
    let account = client.accounts().wait(&runtime).unwrap().accounts.remove(0);
    let silent = client
        .acquire_token_silent(["User.Read"])
        .account(&account)
        .wait(&runtime)
        .unwrap();
    assert_eq!(silent.access_token(), signed_in.access_token());
    let run = runtime.run(client.acquire_token_silent(["User.Read"]).account(&account));
    assert_eq!(run.unwrap().unwrap().metadata().source, TokenSource::Memory);
    assert_eq!(runtime.run(cache.shutdown(Duration::from_secs(5))), Ok(0));
}

#[test]
fn an_error_of_the_authority_comes_through() {
    let elsewhere = Elsewhere::start(Lifetimes::default());
    let runtime = Runtime::new().unwrap();
    let secret = ClientCredential::secret(Secret::new("not the secret"));
    let cache = cache(&runtime, Arc::new(SystemClock));
    let client = ConfidentialClient::builder(CONFIDENTIAL_CLIENT, elsewhere.detected(), secret, cache)
        .http(elsewhere.http())
        .build()
        .unwrap();
    let error = client.acquire_token_for_client(GRAPH).wait(&runtime).unwrap_err();
    assert!(matches!(error, Error::Authority(_)), "{error:?}");
}

#[test]
fn a_token_that_is_due_is_refreshed_between_two_calls() {
    let lifetimes = Lifetimes::default().refresh_in(Duration::from_secs(600));
    let elsewhere = Elsewhere::start(lifetimes);
    let runtime = Runtime::new().unwrap();
    let clock = ManualClock::at(SystemClock.now());
    let client = elsewhere.confidential(cache(&runtime, Arc::new(clock.clone())));
    let first = client.acquire_token_for_client(GRAPH).wait(&runtime).unwrap();
    clock.advance(Duration::from_secs(1800));
    elsewhere.authority.advance(Duration::from_secs(1800));
    let due = client.acquire_token_for_client(GRAPH).wait(&runtime).unwrap();
    assert_eq!(
        due.access_token(),
        first.access_token(),
        "nobody waits for the refresh"
    );

    // Nobody calls the runtime now, and it works all the same.
    let patience = SystemClock.monotonic() + Duration::from_secs(20);
    while elsewhere.requests() < 2 && SystemClock.monotonic() < patience {
        sleep(Duration::from_millis(5));
    }
    assert_eq!(elsewhere.requests(), 2);
    let unfinished = runtime
        .run(client.cache().shutdown(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(unfinished, 0);
    let next = client.acquire_token_for_client(GRAPH).wait(&runtime).unwrap();
    assert_ne!(next.access_token(), first.access_token());
    assert_eq!(elsewhere.requests(), 2);
}

#[test]
fn many_threads_wait_on_one_runtime_for_one_request() {
    let elsewhere = Elsewhere::start(Lifetimes::default());
    let runtime = Runtime::new().unwrap();
    let client = elsewhere.confidential(cache(&runtime, Arc::new(SystemClock)));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| client.acquire_token_for_client(GRAPH).wait(&runtime).unwrap());
        }
    });
    assert_eq!(elsewhere.requests(), 1);
}

#[test]
fn waiting_inside_an_asynchronous_runtime_is_an_error_and_no_panic() {
    let elsewhere = Elsewhere::start(Lifetimes::default());
    let runtime = Runtime::new().unwrap();
    let client = elsewhere.confidential(cache(&runtime, Arc::new(SystemClock)));
    let attempt = || client.acquire_token_for_client(GRAPH).wait(&runtime);
    let is_refused = |result: Result<_, Error>| match result {
        Err(Error::Blocking(error)) => assert_eq!(error, BlockingError::InsideRuntime),
        other => panic!("{other:?}"),
    };
    is_refused(elsewhere.server.block_on(async { attempt() }));
    is_refused(runtime.run(async { attempt() }).unwrap());
    let inside = elsewhere
        .server
        .block_on(async { runtime.run(std::future::ready(1)) });
    assert_eq!(inside, Err(BlockingError::InsideRuntime));
    assert_eq!(elsewhere.requests(), 0, "nothing was begun");
    attempt().unwrap();
}

#[test]
fn dropping_it_ends_in_bounded_time_whatever_is_under_way() {
    let runtime = Runtime::new().unwrap().grace(Duration::from_millis(200));
    let (never, held) = mpsc::channel::<()>();
    runtime
        .run(async {
            tokio::spawn(std::future::pending::<()>());
            tokio::task::spawn_blocking(move || held.recv());
        })
        .unwrap();
    let began = SystemClock.monotonic();
    drop(runtime);
    let took = SystemClock.monotonic().saturating_sub(began);
    assert!(took < Duration::from_secs(4), "{took:?}");
    drop(never);
}

#[test]
fn dropping_it_inside_an_asynchronous_runtime_is_no_panic() {
    let elsewhere = Elsewhere::start(Lifetimes::default());
    let runtime = Runtime::new().unwrap();
    elsewhere.server.block_on(async move { drop(runtime) });
}

/// Runs a test of this program again, in a process of its own with a limit of the shell's `ulimit`.
#[cfg(unix)]
fn limited(test: &str, limit: &str) {
    let output = std::process::Command::new("sh")
        .args(["-c", &format!("ulimit {limit} && exec \"$@\""), "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(LIMITED, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

/// Says that this is that process.
#[cfg(unix)]
const LIMITED: &str = "TOKENKEEP_TEST_LIMITED";

#[cfg(unix)]
fn is_limited() -> bool {
    std::env::var_os(LIMITED).is_some()
}

#[cfg(unix)]
fn is_not_started<T>(taken: Vec<T>) {
    let refused = Runtime::new().map(drop);
    drop(taken);
    assert!(
        matches!(refused, Err(BlockingError::NotStarted(_))),
        "{refused:?}"
    );
    assert!(Runtime::new().is_ok());
}

#[cfg(unix)]
#[test]
fn a_process_without_a_descriptor_to_spare_is_told_so() {
    if !is_limited() {
        return limited("a_process_without_a_descriptor_to_spare_is_told_so", "-n 32");
    }
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    is_not_started(taken);
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_without_room_for_a_thread_is_told_so() {
    if !is_limited() {
        return limited("a_process_without_room_for_a_thread_is_told_so", "-v 400000");
    }
    // Less than a thread's stack is left.
    let mut taken = Vec::with_capacity(1_000);
    let mut chunk = Vec::<u8>::new();
    while chunk.try_reserve_exact(1 << 20).is_ok() {
        taken.push(std::mem::take(&mut chunk));
    }
    is_not_started(taken);
}
