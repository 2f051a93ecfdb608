//! Whether a lookup costs more where one partition has many tokens.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use benches::harness::{Question, QuestionError, Row, answer, at_most, batch, sync};
use benches::payload::{FakeAuthority, Payload, TokenSizes, open};
use cache_core::cache::{AcquireOptions, Acquired, CacheError};
use cache_core::schema::index::{IndexedPartition, is_fresh};
use cache_core::schema::{Partition, TokenRequest};
use cache_core::store::{LimitStore, MemoryStore, Store};
use cache_core::strategy::Strategy;
use cache_core::time::{Clock, SystemClock};

fn main() -> ExitCode {
    answer(
        "growth",
        "Does a lookup cost more where one partition has many tokens?",
        ask,
    )
}

const MEANS: [&str; 2] = [
    "All tokens are of one user, client and tenant, for as many resources: nothing but the scopes tells them apart. Up to 16 are looked through; among \
     more, an index gives the candidates, by all scopes or by the rarest of them. It is built by the first lookup, and its time is not counted here. \
     Requests take turns through the whole partition, so from thousands of tokens on the time is that of memory, not of the processor.",
    "In the store such a partition would be one record of many megabytes, read, opened and written as a whole. Every store has a limit, beyond which \
     a commit fails and says so: split an application's tokens by resource then (`Partitioning::AppByResource`).",
];

fn ask(question: &mut Question) -> Result<(), QuestionError> {
    let sizes = question.sized(
        &[1, 10, 100, 1_000, 10_000, 100_000][..],
        &[1, 10, 100, 1_000][..],
    );
    let payload = Payload::present(6).sizes(TokenSizes::SMALL);
    let sets: Vec<_> = sizes
        .iter()
        .map(|tokens| Set::new(&payload, *tokens))
        .collect::<Result<_, _>>()?;
    for (form, most) in [(Form::Exact, 2.0), (Form::Superset, 4.0), (Form::Missing, 4.0)] {
        let name = form.name();
        let mut comparison = question.compare(name).batch(Duration::from_millis(2));
        for (set, tokens) in sets.iter().zip(sizes) {
            let operation = set.lookups(form);
            comparison = if *tokens == 1 {
                comparison.limit("1 token", operation)
            } else {
                comparison.variant(&format!("{tokens} tokens"), operation)
            };
        }
        let measured = comparison.run();
        let largest = format!("{} tokens", sizes[sizes.len() - 1]);
        let growth = measured.ratio(&largest);
        let _ = question
            .target(Row::Growth, &format!("{name}, × one token"), at_most(most), growth)
            .reason("each lookup waits for memory three to five times where the partition does not fit into the caches")
            .next_idea("keep a part of each hash beside the token's header");
    }
    one_request(question, &sets, sizes);
    at_the_store(question)?;
    MEANS.into_iter().for_each(|paragraph| question.means(paragraph));
    Ok(())
}

/// The same request again and again, whose tokens stay in the processor's caches.
fn one_request(question: &mut Question, sets: &[Set], sizes: &[usize]) {
    let (Some(one), Some(many)) = (sets.first(), sets.last()) else {
        return;
    };
    let tokens = sizes[sizes.len() - 1];
    for form in [Form::Exact, Form::Superset] {
        let name = format!("{}, one request again and again", form.name());
        let variant = format!("{tokens} tokens");
        let measured = question
            .compare(&name)
            .batch(Duration::from_millis(2))
            .limit("1 token", one.lookup(form))
            .variant(&variant, many.lookup(form))
            .run();
        let most = if matches!(form, Form::Exact) { 2.0 } else { 4.0 };
        let _ = question
            .target(
                Row::Growth,
                &format!("{name}, × one token"),
                at_most(most),
                measured.ratio(&variant),
            )
            .reason("three hashes instead of a walk over one token")
            .next_idea("keep the hashes in the request");
    }
}

/// What a store says to a partition that is too large for it.
fn at_the_store(question: &mut Question) -> Result<(), QuestionError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let payload = Payload::present(6);
    let refused = runtime.block_on(async {
        let store: Arc<dyn Store> = Arc::new(LimitStore::new(MemoryStore::new(), 1 << 20));
        let cache = open(store, Strategy::web_front_end()).await?;
        for resource in 0..2_000 {
            let request = payload.app_request(0, resource);
            let response = payload.app_response(0, resource);
            let authority =
                FakeAuthority::new(Arc::new(SystemClock), Duration::ZERO, move || response.clone());
            let obtained: Result<Acquired, CacheError> = cache
                .acquire_app(request, AcquireOptions::default(), Arc::new(authority))
                .await;
            match obtained {
                Ok(_) => {}
                Err(CacheError::PartitionTooLarge { .. }) => return Ok(Some(resource)),
                Err(error) => return Err(QuestionError::from(error)),
            }
        }
        Ok(None)
    })?;
    if let Some(tokens) = refused {
        question.count(
            "tokens of one application before a store of 1 MiB a record refuses another",
            tokens as f64,
            "tokens",
        );
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Form {
    Exact,
    Superset,
    Missing,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact scopes",
            Self::Superset => "fewer scopes than granted",
            Self::Missing => "a miss",
        }
    }
}

/// A partition, and requests for many of its tokens.
struct Set {
    partition: IndexedPartition,
    exact: Vec<Arc<TokenRequest>>,
    superset: Vec<Arc<TokenRequest>>,
    missing: Vec<Arc<TokenRequest>>,
}

impl Set {
    fn new(payload: &Payload, tokens: usize) -> Result<Self, QuestionError> {
        const REQUESTS: usize = 1024;
        let rows: Partition = payload.partition(0, tokens);
        let step = (tokens / REQUESTS).max(1);
        let asked = || (0..tokens).step_by(step).take(REQUESTS);
        Ok(Self {
            partition: IndexedPartition::new(rows)?,
            exact: asked().map(|resource| payload.request(0, resource)).collect(),
            superset: asked()
                .map(|resource| payload.subset_request(0, resource))
                .collect(),
            missing: asked()
                .map(|resource| payload.subset_request(0, tokens + resource))
                .collect(),
        })
    }

    fn requests(&self, form: Form) -> &[Arc<TokenRequest>] {
        match form {
            Form::Exact => &self.exact,
            Form::Superset => &self.superset,
            Form::Missing => &self.missing,
        }
    }

    fn lookups(&self, form: Form) -> benches::harness::Operation<'_> {
        let (requests, now) = (self.requests(form), SystemClock.now().to_seconds());
        let mut turns = requests.iter().cycle();
        batch(move |count| {
            for _ in 0..count {
                let found = turns
                    .next()
                    .and_then(|request| self.partition.find(request, |token| is_fresh(token, now)));
                assert_eq!(black_box(found).is_some(), !matches!(form, Form::Missing));
            }
        })
    }

    fn lookup(&self, form: Form) -> benches::harness::Operation<'_> {
        let (requests, now) = (self.requests(form), SystemClock.now().to_seconds());
        let request = &requests[requests.len() / 2];
        sync(move || {
            self.partition
                .find(black_box(request), |token| is_fresh(token, now))
        })
    }
}
