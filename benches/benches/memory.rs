//! What a partition in memory takes beside its secrets, and whether the bound of the memory tier is kept.

use std::process::ExitCode;
use std::sync::Arc;

use allocation_counter::measure;
use benches::harness::{Estimate, Question, QuestionError, Row, answer, at_least, at_most};
use benches::payload::{CLIENT_ID, FakeAuthority, Payload, fill, open};
use cache_core::cache::{AcquireOptions, TokenCache, TokenSource};
use cache_core::codec::BincodeCodec;
use cache_core::schema::index::IndexedPartition;
use cache_core::store::{MemoryStore, Store};
use cache_core::strategy::{MemoryTier, Strategy};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    answer(
        "memory",
        "What does a partition in memory take beside its secrets?",
        ask,
    )
}

const MEANS: [&str; 2] = [
    "Counted is every byte that is asked of the allocator and still held when all users are in memory: texts, headers, encoded rows, the \
     entry in the memory tier with its key, and what notices rollbacks. What the allocator rounds up is not. The secrets are the access, refresh \
     and ID tokens alone, of the sizes that Entra's have.",
    "A bound for the memory tier is a bound: choose it as the users that are active within the tier's staleness times their partitions. A user who \
     asks again and again stays, however many others come by once.",
];

fn ask(question: &mut Question) -> Result<(), QuestionError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for (tokens, most) in [(1, 1.25), (10, 1.15)] {
        let name = if tokens == 1 { "1 token" } else { "10 tokens" };
        let users = question.sized(4096, 256);
        partitions(question, name, users, tokens);
        let over = in_the_tier(question, &runtime, name, users, tokens)?;
        let _ = question
            .target(Row::Memory, name, at_most(most), Estimate::exact(over))
            .reason("headers, names and rows that are no secrets")
            .next_idea("keep names that all users share once for the process");
    }
    bound(question, &runtime)?;
    recovery(question, &runtime)?;
    MEANS.into_iter().for_each(|paragraph| question.means(paragraph));
    Ok(())
}

/// The partitions alone, and what they say of themselves.
fn partitions(question: &mut Question, name: &str, users: usize, tokens: usize) {
    let payload = Payload::present(6);
    let mut kept = Vec::with_capacity(users);
    let rows: Vec<_> = (0..users).map(|user| payload.partition(user, tokens)).collect();
    let secrets: usize = rows.iter().map(Payload::secret_bytes).sum();
    let held = measure(|| {
        kept.extend(
            rows.iter()
                .filter_map(|rows| IndexedPartition::new(rows.clone()).ok())
                .map(Arc::new),
        );
    });
    let said: usize = kept.iter().map(|partition| partition.approximate_bytes()).sum();
    question.count(
        &format!("partition alone, {name}"),
        ratio(held.bytes_current, secrets),
        "× its secrets",
    );
    question.count(
        &format!("what it says of itself, {name}"),
        said as f64 / held.bytes_current as f64,
        "× what was counted",
    );
}

/// Everything that a user in memory takes.
fn in_the_tier(
    question: &mut Question,
    runtime: &Runtime,
    name: &str,
    users: usize,
    tokens: usize,
) -> Result<f64, QuestionError> {
    let payload = Payload::present(6);
    let cache = runtime.block_on(stored(&payload, users, tokens, MemoryTier::bounded(1 << 30)))?;
    let secrets: usize = (0..users)
        .map(|user| Payload::secret_bytes(&payload.partition(user, tokens)))
        .sum();
    // What the first user brings about belongs to the cache.
    runtime.block_on(look_at(&cache, &payload, 0..1));
    let held = measure(|| runtime.block_on(look_at(&cache, &payload, 0..users)));
    let over = ratio(held.bytes_current, secrets);
    question.count(&format!("in the memory tier, {name}"), over, "× its secrets");
    let asked = measure(|| {
        runtime.block_on(ask_for_tokens(&cache, &payload, 0..users, tokens));
    });
    question.count(
        &format!("and every token asked for once, {name}"),
        ratio(held.bytes_current + asked.bytes_current, secrets),
        "× its secrets",
    );
    Ok(over)
}

/// The bound, when many times as much was read as it has room for.
fn bound(question: &mut Question, runtime: &Runtime) -> Result<(), QuestionError> {
    const BOUND: u64 = 8 << 20;
    let payload = Payload::present(6);
    let users = question.sized(12_000, 4_000);
    let cache = runtime.block_on(stored(&payload, users, 1, MemoryTier::bounded(BOUND)))?;
    runtime.block_on(look_at(&cache, &payload, 0..1));
    let held = measure(|| runtime.block_on(look_at(&cache, &payload, 0..users)));
    let of_bound = held.bytes_current as f64 / BOUND as f64;
    question.count("held at a bound of 8 MiB", of_bound, "× the bound");
    let _ = question
        .target(
            Row::Memory,
            "held, × the tier's bound",
            at_most(1.1),
            Estimate::exact(of_bound),
        )
        .reason("the directory remembers beside the tier when each user is due again")
        .next_idea("count those reminders among the tier's bytes");
    Ok(())
}

/// Who is still in memory after many others came by once.
fn recovery(question: &mut Question, runtime: &Runtime) -> Result<(), QuestionError> {
    const REGULARS: usize = 200;
    let payload = Payload::present(6);
    let users = question.sized(8_000, 3_000);
    let cache = runtime.block_on(stored(&payload, users, 1, MemoryTier::bounded(8 << 20)))?;
    let hits = runtime.block_on(async {
        for _ in 0..3 {
            ask_for_tokens(&cache, &payload, 0..REGULARS, 1).await;
        }
        look_at(&cache, &payload, REGULARS..users).await;
        let first = ask_for_tokens(&cache, &payload, 0..REGULARS, 1).await;
        (first, ask_for_tokens(&cache, &payload, 0..REGULARS, 1).await)
    });
    let share = |hits: usize| hits as f64 / REGULARS as f64;
    question.count("regulars in memory after a flood", share(hits.0), "of them");
    let _ = question
        .target(
            Row::Memory,
            "regulars in memory one round after a flood",
            at_least(0.99),
            Estimate::exact(share(hits.1)),
        )
        .reason("a flood evicts who is not asked for meanwhile")
        .next_idea("a larger ghost list");
    Ok(())
}

/// A cache whose store holds the users, and whose memory holds none.
async fn stored(
    payload: &Payload,
    users: usize,
    tokens: usize,
    tier: MemoryTier,
) -> Result<TokenCache, QuestionError> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let cache = open(Arc::clone(&store), Strategy::web_front_end().memory_tier(tier)).await?;
    let partitions = (0..users).map(|user| payload.partition(user, tokens));
    fill(&store, cache.sealer(), &BincodeCodec, partitions).await?;
    Ok(cache)
}

async fn look_at(cache: &TokenCache, payload: &Payload, users: std::ops::Range<usize>) {
    for user in users {
        let found = cache.id_tokens(&payload.key(user), CLIENT_ID).await;
        assert!(
            found.is_ok_and(|rows| rows.len() == 1),
            "user {user} is in the store"
        );
        // What is entered into the directory in the background would wait until then.
        tokio::task::yield_now().await;
    }
}

/// Asks for every token of the users. Gives how many were in memory.
async fn ask_for_tokens(
    cache: &TokenCache,
    payload: &Payload,
    users: std::ops::Range<usize>,
    tokens: usize,
) -> usize {
    let offline = FakeAuthority::at_once(payload);
    let options = AcquireOptions {
        cache_only: true,
        ..AcquireOptions::default()
    };
    let mut hits = 0;
    for user in users {
        for resource in 0..tokens {
            let request = payload.request(user, resource);
            let found = cache.acquire(request, options, offline.clone()).await;
            hits += usize::from(found.is_ok_and(|found| found.source() == TokenSource::Memory));
        }
    }
    hits
}

fn ratio(bytes: i64, secrets: usize) -> f64 {
    bytes as f64 / secrets as f64
}
