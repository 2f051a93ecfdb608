//! What spans, events and metrics say of a sign-in and what follows it; and what they never say.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::random::OsRandom;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::secret::Secret;
use cache_core::store::{MemoryStore, Store};
use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{
    ALICE, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Config, FakeAuthority, Grant, HOME_TENANT,
    PUBLIC_CLIENT, Script, ScriptedError,
};
use cache_testkit::clock::ManualClock;
use flows::Error;
use flows::authority::Authority;
use flows::client::{ClientCredential, ConfidentialClient, PublicClient};
use flows::http::{HttpClient, ReqwestClient};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tracing_subscriber::fmt::format::FmtSpan;

/// Every series with its values.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<BTreeMap<String, Vec<f64>>>>);

struct Series(Recorded, String);

impl Recorded {
    fn series(&self, key: &Key) -> Arc<Series> {
        let labels = key
            .labels()
            .map(|label| format!(" {}={}", label.key(), label.value()));
        Arc::new(Series(
            self.clone(),
            key.name().to_owned() + &labels.collect::<String>(),
        ))
    }

    fn count(&self, series: &str) -> usize {
        self.0.lock().unwrap().get(series).map_or(0, Vec::len)
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.series(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        panic!("{key}: there are no gauges")
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.series(key))
    }
}

impl CounterFn for Series {
    fn increment(&self, _: u64) {
        HistogramFn::record(self, 1.0);
    }
    fn absolute(&self, _: u64) {
        panic!("everything is counted one by one")
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        let mut all = self.0.0.lock().unwrap();
        all.entry(self.1.clone()).or_default().push(value);
    }
}

/// What was logged, down to TRACE, of every crate.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Observed {
    log: String,
    metrics: Recorded,
    /// Whatever must not be said: secrets of both sides, and the user.
    secrets: Vec<String>,
    home_account_id: String,
}

/// A sign-in, a hit, a refresh, a refresh that is refused and then throttled, and a token of an application.
async fn observe(personal_data: bool) -> Observed {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let metrics = Recorded::default();
    let _recording = metrics::set_default_local_recorder(&metrics);

    let fake = FakeAuthority::start(Config::default().auto_approve_devices(1, ALICE))
        .await
        .unwrap();
    let http: Arc<dyn HttpClient> = Arc::new(
        ReqwestClient::builder()
            .ca_certificates(fake.ca_pem().unwrap())
            .no_proxy()
            .build()
            .unwrap(),
    );
    let clock = ManualClock::at(SystemClock.now());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom)));
    let key = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
    let cache = TokenCache::builder(store)
        .clock(Arc::new(clock.clone()))
        .open_sealed(Namespace::default(), key)
        .await
        .unwrap();
    let authority = Authority::detect(&fake.authority_url(HOME_TENANT)).unwrap();
    let client = PublicClient::builder(PUBLIC_CLIENT, authority.clone(), cache.clone())
        .http(Arc::clone(&http))
        .log_personal_data(personal_data)
        .build()
        .unwrap();
    let ticking = tokio::spawn({
        let clock = clock.clone();
        async move {
            loop {
                clock.wait_for_sleepers(1).await;
                clock.advance(Duration::from_millis(10));
                SystemClock.sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let signing_in = client
        .acquire_token_by_device_code(["User.Read"])
        .on_prompt(|_| {});
    let signed_in = signing_in.await.unwrap();
    ticking.abort();
    let account = client.accounts().await.unwrap().accounts.remove(0);
    let silent = || client.acquire_token_silent(["User.Read"]).account(&account);
    silent().await.unwrap();
    let refreshed = silent().force_refresh(true).await.unwrap();
    let named =
        ScriptedError::new("temporarily_unavailable", 90_006).description("not now, alice@canary.example");
    fake.script(Script::error(named).grant(Grant::RefreshToken));
    assert!(matches!(
        silent().force_refresh(true).await,
        Err(Error::Authority(_))
    ));
    assert!(matches!(
        silent().force_refresh(true).await,
        Err(Error::Throttled(_))
    ));
    let secret = ClientCredential::secret(Secret::new(CONFIDENTIAL_SECRET));
    let service = ConfidentialClient::builder(CONFIDENTIAL_CLIENT, authority, secret, cache)
        .http(http)
        .build()
        .unwrap();
    let scope = "https://graph.microsoft.com/.default";
    let application = service.acquire_token_for_client([scope]).await.unwrap();

    let tokens =
        [&signed_in, &refreshed, &application].map(|result| result.access_token().expose().to_owned());
    let mut secrets = Vec::from(tokens);
    secrets.extend([ALICE, "canary", CONFIDENTIAL_SECRET, &*account.account.username].map(str::to_owned));
    secrets.push(signed_in.id_token().unwrap().expose().to_owned());
    for index in 0..fake.requests().len() {
        let form = fake.request_form(index).unwrap_or_default();
        let is_secret = |name: &str| ["refresh_token", "device_code", "client_secret"].contains(&name);
        secrets.extend(
            form.into_iter()
                .filter(|(name, _)| is_secret(name))
                .map(|(_, value)| value),
        );
    }
    assert!(secrets.len() > 9, "the refreshes and the polls are among them");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    Observed {
        log,
        metrics: metrics.clone(),
        secrets,
        home_account_id: account.account.home_account_id,
    }
}

#[tokio::test]
async fn a_whole_session_is_logged_without_secrets_or_users() {
    let observed = observe(false).await;
    for secret in &observed.secrets {
        assert!(
            !observed.log.contains(secret.as_str()),
            "{secret} is in {}",
            observed.log
        );
    }
    assert!(
        !observed.log.contains(&observed.home_account_id),
        "{}",
        observed.log
    );
    assert!(observed.metrics.0.lock().unwrap().keys().all(|series| {
        !series.contains(&observed.home_account_id)
            && !observed.secrets.iter().any(|secret| series.contains(secret))
    }));
    for said in [
        "token_request{grant=\"refresh_token\" authority=\"127.0.0.1:",
        "grant=\"client_credentials\"",
        "correlation_id=",
        "status=200 outcome=\"granted\"",
        "status=400 outcome=\"refused\"",
        "acquire{of=\"user\"",
        "outcome=\"hit\" tier=\"memory\"",
        "outcome=\"granted\" tier=\"authority\" reason=\"forced\"",
        "outcome=\"not_sent\"",
        "acquire{of=\"application\"",
        "sign_in",
    ] {
        assert!(observed.log.contains(said), "{said} is not in {}", observed.log);
    }
    // A refresh is a task of its own, and still belongs to the acquisition that asked for it.
    assert!(
        observed.log.contains("}:token_request{grant=\"refresh_token\""),
        "{}",
        observed.log
    );
}

#[tokio::test]
async fn accounts_are_named_only_if_that_was_asked_for_and_secrets_never() {
    let observed = observe(true).await;
    let named = format!("account=\"{}\"", observed.home_account_id);
    assert!(observed.log.contains(&named), "{}", observed.log);
    for secret in &observed.secrets {
        assert!(
            !observed.log.contains(secret.as_str()),
            "{secret} is in {}",
            observed.log
        );
    }
}

#[tokio::test]
async fn metrics_tell_tiers_reasons_durations_and_throttling() {
    let metrics = observe(false).await.metrics;
    for (series, count) in [
        ("tokenkeep_lookups_total tier=memory", None),
        ("tokenkeep_lookups_total tier=store", None),
        ("tokenkeep_refreshes_total outcome=granted", Some(1)),
        ("tokenkeep_refreshes_total outcome=refused", Some(1)),
        ("tokenkeep_refresh_reasons_total reason=forced", Some(3)),
        ("tokenkeep_refresh_reasons_total reason=no_cached_token", Some(1)),
        ("tokenkeep_throttled_total because=too_many_requests", Some(1)),
        ("tokenkeep_http_duration_seconds outcome=answered", Some(6)),
        ("tokenkeep_time_in_cache_seconds source=memory", Some(1)),
        ("tokenkeep_time_in_cache_seconds source=authority", Some(3)),
        ("tokenkeep_time_in_store_seconds", Some(3)),
        ("tokenkeep_time_in_authority_seconds", Some(3)),
    ] {
        let seen = metrics.count(series);
        assert!(
            seen > 0 && count.is_none_or(|count| count == seen),
            "{series}: {seen}"
        );
    }
}
