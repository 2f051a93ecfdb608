//! Whether a lookup costs more where one partition has many tokens.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use benches::harness::{Measured, Operation, Question, QuestionError, Row, answer, at_most, batch};
use benches::payload::{
    CLIENT_ID, ENVIRONMENT, FakeAuthority, Payload, REALM, TokenSizes, memory_cache, open,
};
use cache_core::cache::{AcquireOptions, Acquired, CacheError, Lookup, PartitionRef};
use cache_core::schema::index::{IndexedPartition, is_fresh};
use cache_core::schema::{
    AuthorityIdentity, AuthorityKind, Partition, TokenContext, TokenRequest, TokenType,
};
use cache_core::store::MemoryStore;
use cache_core::strategy::{MemoryTier, Strategy};
use cache_core::time::{Clock, SystemClock};
use cache_testkit::declared::DeclaredStore;

fn main() -> ExitCode {
    answer(
        "growth",
        "Does a lookup cost more where one partition has many tokens?",
        ask,
    )
}

const MEANS: [&str; 3] = [
    "All tokens are of one user, client and tenant, for as many resources: nothing but the scopes tells them apart. Up to 16 are looked through, of \
     most of them nothing but a mask of the scopes; among more, an index names the token, by all scopes or by one that few tokens have. It is built \
     by the first lookup, and its time is not counted here.",
    "Hot is what a program that runs asks for: a few tokens, again and again, of a partition however large. So a row of the table is one request, \
     or 64 in turn, in every size as many, so that both sides read as many requests. That 1,024 requests take turns at random shows what memory \
     adds where neither the requests nor the partition fit into the processor's caches.",
    "In the store such a partition would be one record of many megabytes, read, opened and written as a whole. Every store has a limit, and so has \
     the codec with 64 MiB, beyond which a commit fails and says so: split an application's tokens by resource then (`Partitioning::AppByResource`).",
];

/// How many requests take turns, by what that is called, and whether it is hot.
const TURNS: [(&str, usize, bool); 3] = [
    ("one request", 1, true),
    ("64 in turn", 64, true),
    ("1,024 at random", 1_024, false),
];

fn ask(question: &mut Question) -> Result<(), QuestionError> {
    let sizes = question.sized(
        &[1, 10, 100, 1_000, 10_000, 100_000][..],
        &[1, 10, 100, 1_000][..],
    );
    let payload = Payload::present(6).sizes(TokenSizes::SMALL);
    // Made before the partitions, whose rows leave holes in memory that requests would be scattered over.
    let requests: Vec<_> = sizes
        .iter()
        .map(|tokens| Requests::new(&payload, *tokens))
        .collect();
    let sets: Vec<_> = requests
        .into_iter()
        .zip(sizes)
        .map(|(requests, tokens)| Set::new(&payload, requests, *tokens))
        .collect::<Result<_, _>>()?;
    for (form, most) in [(Form::Exact, 2.0), (Form::Superset, 4.0), (Form::Missing, 4.0)] {
        for (turns, requests, is_hot) in TURNS {
            let name = format!("{}, {turns}", form.name());
            let mut comparison = question.compare(&name).batch(Duration::from_millis(1));
            for (set, tokens) in sets.iter().zip(sizes) {
                let operation = set.lookups(form, requests);
                comparison = if *tokens == 1 {
                    comparison.limit("1 token", operation)
                } else {
                    comparison.variant(&format!("{tokens} tokens"), operation)
                };
            }
            let measured = comparison.run();
            // A miss, of which the issue says nothing, is decided by a mask or an empty place: less than a hit of one token takes.
            if is_hot && !matches!(form, Form::Missing) {
                judge(question, &name, most, &measured, &sizes[1..]);
            }
        }
    }
    in_the_cache(question)?;
    at_the_store(question)?;
    MEANS.into_iter().for_each(|paragraph| question.means(paragraph));
    Ok(())
}

/// Judges the worst of all sizes.
fn judge(question: &mut Question, name: &str, most: f64, measured: &Measured, sizes: &[usize]) {
    let ratios = sizes
        .iter()
        .filter_map(|tokens| measured.ratio(&format!("{tokens} tokens")));
    let worst = ratios.max_by(|one, two| one.median.total_cmp(&two.median));
    let _ = question
        .target(
            Row::Growth,
            &format!("{name}, worst × one token"),
            at_most(most),
            worst,
        )
        .reason(
            "a partition that does not fit into the caches is waited for: its index, its header and its text",
        )
        .next_idea("keep the scopes of a token beside its header");
}

/// The same through the cache, whose answers to what was asked before do not depend on the partition.
fn in_the_cache(question: &mut Question) -> Result<(), QuestionError> {
    const REQUESTS: usize = 64;
    // Many more would be a record beyond what the store in memory takes.
    let sizes = question.sized(&[1, 10, 100, 1_000, 10_000, 30_000][..], &[1, 10, 100][..]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let payload = Payload::present(6).sizes(TokenSizes::SMALL);
    let tier = MemoryTier::bounded(1 << 30).max_staleness(Duration::from_secs(24 * 3600));
    let mut caches = Vec::new();
    for tokens in sizes {
        let strategy = Strategy::web_front_end().memory_tier(tier);
        let cache = runtime.block_on(memory_cache(&payload, 1, *tokens, strategy))?;
        let requests = drawn(REQUESTS, *tokens).map(|resource| payload.request(0, resource));
        let requests: Vec<_> = requests.collect();
        let options = AcquireOptions {
            cache_only: true,
            ..AcquireOptions::default()
        };
        let mut prepared = Vec::new();
        for request in &requests {
            let offline = FakeAuthority::at_once(&payload);
            runtime.block_on(cache.acquire(Arc::clone(request), options, offline))?;
            prepared.push(cache.prepare(Arc::clone(request)));
        }
        caches.push((cache, requests, prepared));
    }
    let authority = AuthorityIdentity::of_host(AuthorityKind::Entra, ENVIRONMENT);
    let (home_account_id, context) = (payload.home_account_id(0), TokenContext::default());
    for name in ["find, from plain arguments", "peek of a prepared request"] {
        let mut comparison = question.compare(name).batch(Duration::from_millis(1));
        for ((cache, requests, prepared), tokens) in caches.iter().zip(sizes) {
            let words: Vec<Vec<&str>> = requests
                .iter()
                .map(|request| request.scopes().words().collect())
                .collect();
            let mut turns = (0..REQUESTS).cycle();
            let (authority, home_account_id, context) = (&authority, &home_account_id, &context);
            let lookup = move |turn: usize| {
                cache.find(&Lookup {
                    partition: PartitionRef::User {
                        authority,
                        home_account_id,
                    },
                    kind: AuthorityKind::Entra,
                    client_id: CLIENT_ID,
                    environment: ENVIRONMENT,
                    realm: REALM,
                    scopes: &words[turn],
                    token_type: &TokenType::Bearer,
                    context,
                })
            };
            let is_peek = name.starts_with("peek");
            let operation = batch(move |count| {
                for _ in 0..count {
                    let turn = turns.next().unwrap_or_default();
                    let is_found = if is_peek {
                        black_box(prepared[turn].peek()).is_some()
                    } else {
                        black_box(lookup(turn)).is_some()
                    };
                    assert!(is_found);
                }
            });
            comparison = if *tokens == 1 {
                comparison.limit("1 token", operation)
            } else {
                comparison.variant(&format!("{tokens} tokens"), operation)
            };
        }
        let measured = comparison.run();
        judge(question, name, 2.0, &measured, &sizes[1..]);
    }
    Ok(())
}

/// So many of `tokens`, spread over all of them in no order.
fn drawn(requests: usize, tokens: usize) -> impl Iterator<Item = usize> {
    (0..requests).map(move |turn| turn.wrapping_mul(0x9e37_79b1) % tokens)
}

/// What a store says to a partition that is too large for it.
fn at_the_store(question: &mut Question) -> Result<(), QuestionError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let payload = Payload::present(6);
    // Each token that is added writes the whole record anew.
    let limit = if question.is_quick() { 64 << 10 } else { 1 << 20 };
    let refused = runtime.block_on(async {
        // The cache looks at this before it writes.
        let store = DeclaredStore::new(Arc::new(MemoryStore::new()), |capabilities| {
            capabilities.max_value_bytes = limit;
        });
        let cache = open(Arc::new(store), Strategy::web_front_end()).await?;
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
                Err(CacheError::PartitionTooLarge { .. }) => return Ok(resource),
                Err(error) => return Err(QuestionError::from(error)),
            }
        }
        Err("a record of any size was stored".into())
    })?;
    question.count(
        &format!(
            "tokens of one application before a store of {} KiB a record refuses another",
            limit >> 10
        ),
        refused as f64,
        "tokens",
    );
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

/// Requests for many tokens of a partition.
struct Requests {
    exact: Vec<Arc<TokenRequest>>,
    superset: Vec<Arc<TokenRequest>>,
    missing: Vec<Arc<TokenRequest>>,
}

impl Requests {
    fn new(payload: &Payload, tokens: usize) -> Self {
        const REQUESTS: usize = 1024;
        let drawn = || drawn(REQUESTS, tokens);
        Self {
            exact: drawn().map(|resource| payload.request(0, resource)).collect(),
            superset: drawn()
                .map(|resource| payload.subset_request(0, resource))
                .collect(),
            missing: drawn()
                .map(|resource| payload.subset_request(0, tokens + resource))
                .collect(),
        }
    }
}

/// A partition, and what is asked of it.
struct Set {
    partition: IndexedPartition,
    requests: Requests,
}

impl Set {
    fn new(payload: &Payload, requests: Requests, tokens: usize) -> Result<Self, QuestionError> {
        let rows: Partition = payload.partition(0, tokens);
        Ok(Self {
            partition: IndexedPartition::new(rows)?,
            requests,
        })
    }

    fn lookups(&self, form: Form, requests: usize) -> Operation<'_> {
        let all = match form {
            Form::Exact => &self.requests.exact,
            Form::Superset => &self.requests.superset,
            Form::Missing => &self.requests.missing,
        };
        let now = SystemClock.now().to_seconds();
        let mut turns = all[..requests].iter().cycle();
        batch(move |count| {
            for _ in 0..count {
                let found = turns
                    .next()
                    .and_then(|request| self.partition.find(request, |token| is_fresh(token, now)));
                assert_eq!(black_box(found).is_some(), !matches!(form, Form::Missing));
            }
        })
    }
}
