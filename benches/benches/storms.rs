//! Refresh storms: many accounts whose tokens were obtained together, and what the authority sees of it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use benches::harness::{Question, QuestionError, answer};
use benches::payload::{FakeAuthority, LIFETIME, Payload, TokenSizes, fill};
use cache_core::cache::{AcquireOptions, TokenCache, TokenSource};
use cache_core::codec::BincodeCodec;
use cache_core::schema::TokenRequest;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::store::{MemoryStore, Store};
use cache_core::strategy::{MemoryTier, RefreshPolicy, Strategy};
use cache_core::time::Clock;
use cache_testkit::clock::ManualClock;
use cache_testkit::random::SeededRandom;

fn main() -> ExitCode {
    answer(
        "storms",
        "How hard is the authority hit when the tokens of many accounts were obtained together?",
        |question| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(ask(question))
        },
    )
}

/// How often each account asks for its token.
const PERIOD: Duration = Duration::from_secs(10);
/// When the authority recommends to replace a token.
const REFRESH_AFTER: Duration = LIFETIME.checked_div(2).expect("two is not zero");
/// How long the time is over which requests are counted.
const COUNTED_OVER: Duration = Duration::from_secs(60);

async fn ask(question: &mut Question) -> Result<(), QuestionError> {
    let accounts = question.sized(10_000, 200);
    let policies = [
        ("on demand", RefreshPolicy::OnDemand, 1),
        ("ahead, without jitter", RefreshPolicy::Ahead { jitter: 0.0 }, 1),
        ("ahead, jitter 0.25 (the default)", RefreshPolicy::ahead(), 1),
        ("ahead, jitter 0.25, 4 processes", RefreshPolicy::ahead(), 4),
        ("ahead, jitter 1", RefreshPolicy::Ahead { jitter: 1.0 }, 1),
    ];
    for (name, refresh, processes) in policies {
        if !question.wants(name) {
            continue;
        }
        let storm = Storm::new(accounts, refresh, processes).await?.run().await?;
        question.count(
            &format!("{name}: requests for {accounts} accounts"),
            storm.requests as f64,
            "requests",
        );
        question.count(
            &format!("{name}: the worst second"),
            storm.worst_second as f64,
            "requests",
        );
        question.count(
            &format!("{name}: callers that waited"),
            storm.waited as f64,
            "callers",
        );
        question.series(
            &format!("{name}: requests at the authority"),
            "seconds after sign-in",
            "requests a second",
            storm.rates,
        );
    }
    for paragraph in MEANS {
        question.means(paragraph);
    }
    Ok(())
}

const MEANS: [&str; 3] = [
    "All accounts signed in within the same second, for tokens of 65 minutes that the authority recommends to replace after half of that. Each account \
     asks for its token every 10 seconds. Time is simulated, so that what is counted is the policy's doing and not the machine's.",
    "**On demand** every account's token ends in the same moment, and every caller waits for the authority when it is busiest. **Ahead** nobody waits; \
     but without jitter the authority meets the same wall earlier. **With jitter** each token has a moment of its own within the given share of \
     the time that is left, so the load is spread over minutes; it is the same moment in every process, so that no account is refreshed twice.",
    "Choose to refresh ahead, with the default jitter, for everything that serves more than a few accounts. A larger jitter lowers the peak further and \
     leaves less time to ride out an outage of the authority; one of 1 lets some tokens come so near their end that callers wait for them.",
];

/// Accounts that signed in together.
struct Storm {
    clock: ManualClock,
    caches: Vec<TokenCache>,
    accounts: Vec<(Arc<TokenRequest>, Arc<FakeAuthority>)>,
}

/// What came of it.
struct Outcome {
    requests: u64,
    worst_second: u64,
    waited: u64,
    rates: Vec<(f64, f64)>,
}

impl Storm {
    async fn new(accounts: usize, refresh: RefreshPolicy, processes: usize) -> Result<Self, QuestionError> {
        let clock = ManualClock::new();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let random = Arc::new(SeededRandom::new(6));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::with(Arc::clone(&shared), random.clone()));
        let mut caches = Vec::new();
        for _ in 0..processes {
            let strategy = Strategy::web_front_end()
                .memory_tier(MemoryTier::bounded(256 << 20))
                .refresh(refresh);
            let source = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
            let builder = TokenCache::builder(Arc::clone(&store))
                .clock(Arc::clone(&shared))
                .strategy(strategy);
            caches.push(builder.open_sealed(Namespace::default(), source).await?);
        }
        let payload = Payload::new(6, clock.now().to_seconds())
            .sizes(TokenSizes::SMALL)
            .refresh_after(REFRESH_AFTER);
        let partitions = (0..accounts).map(|account| payload.partition(account, 1));
        fill(&store, caches[0].sealer(), &BincodeCodec, partitions).await?;

        let counter = authority(&shared, &payload, 0);
        let account = |account| {
            let authority = authority(&shared, &payload, account).counting_with(&counter);
            (payload.request(account, 0), Arc::new(authority))
        };
        let accounts = (0..accounts).map(account).collect();
        Ok(Self {
            clock,
            caches,
            accounts,
        })
    }

    /// Lets the accounts ask until every token has been replaced or has expired.
    async fn run(self) -> Result<Outcome, QuestionError> {
        let (start, end) = (
            REFRESH_AFTER.as_secs() - COUNTED_OVER.as_secs(),
            LIFETIME.as_secs(),
        );
        self.clock.advance(Duration::from_secs(start));
        let mut outcome = Outcome {
            requests: 0,
            worst_second: 0,
            waited: 0,
            rates: Vec::new(),
        };
        let mut counted = 0;
        for second in start..end {
            let before = self.requests();
            self.ask(second, &mut outcome).await?;
            self.settle().await;
            let requests = self.requests() - before;
            outcome.worst_second = outcome.worst_second.max(requests);
            counted += requests;
            self.clock.advance(Duration::from_secs(1));
            let over = COUNTED_OVER.as_secs();
            if (second - start) % over == over - 1 {
                let since = second + 1 - over;
                outcome.rates.push((since as f64, counted as f64 / over as f64));
                counted = 0;
            }
        }
        outcome.requests = self.requests();
        let busy = outcome.rates.iter().rposition(|(_, rate)| *rate > 0.0);
        outcome.rates.truncate(busy.map_or(0, |last| last + 1));
        Ok(outcome)
    }

    /// The accounts whose turn it is ask, each in the process that a load balancer happens to choose.
    async fn ask(&self, second: u64, outcome: &mut Outcome) -> Result<(), QuestionError> {
        let period = PERIOD.as_secs();
        let turn = (second % period) as usize;
        for (account, (request, authority)) in self
            .accounts
            .iter()
            .enumerate()
            .skip(turn)
            .step_by(period as usize)
        {
            let process = (account + (second / period) as usize) % self.caches.len();
            let (request, call) = (Arc::clone(request), Arc::clone(authority));
            let acquired = self.caches[process]
                .acquire(request, AcquireOptions::default(), call)
                .await?;
            outcome.waited += u64::from(acquired.source() == TokenSource::Authority);
        }
        Ok(())
    }

    /// Lets refreshes in the background come to their end. Neither the authority nor the store takes any time.
    async fn settle(&self) {
        const QUIET_TURNS: u32 = 64;
        let (mut seen, mut quiet) = (self.requests(), 0);
        while quiet < QUIET_TURNS {
            tokio::task::yield_now().await;
            let now = self.requests();
            quiet = if now == seen { quiet + 1 } else { 0 };
            seen = now;
        }
    }

    fn requests(&self) -> u64 {
        self.accounts
            .first()
            .map_or(0, |(_, authority)| authority.requests())
    }
}

fn authority(clock: &Arc<dyn Clock>, payload: &Payload, account: usize) -> FakeAuthority {
    FakeAuthority::granting(
        Arc::clone(clock),
        Duration::ZERO,
        payload.response(account, 0),
        LIFETIME,
    )
}
