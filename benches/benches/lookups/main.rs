//! What a lookup costs that memory answers, beside what the machine allows and what people write today.
#![allow(missing_docs, reason = "a program")]

mod partitions;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use benches::harness::{Question, QuestionError, Row, answer, at_least, at_most, on, sync, threads};
use benches::payload::{
    CLIENT_ID, ENVIRONMENT, FakeAuthority, Payload, Picker, REALM, TokenSizes, fill, memory_cache, open,
};
use cache_core::cache::{AcquireOptions, Lookup, PartitionRef};
use cache_core::codec::BincodeCodec;
use cache_core::schema::{AuthorityIdentity, AuthorityKind, ScopeSet, TokenContext, TokenType};
use cache_core::store::{MemoryStore, Store};
use cache_core::time::{Clock, SystemClock, UnixSeconds};

use crate::world::{World, strategy};

fn main() -> ExitCode {
    answer(
        "lookups",
        "What does a lookup cost that memory answers?",
        |question| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            partitions::partitions(question, &runtime)?;
            prepared(question, &runtime)?;
            by_two_threads(question, &runtime)?;
            tokens(question, &runtime)?;
            expired(question, &runtime)?;
            question.means(
            "A lookup from plain arguments costs a hash of them, one line of a table, and one comparison: nothing that grows \
             with the cache but the wait for memory. A program that asks for the same token again and again prepares its request \
             and pays neither.",
        );
            Ok(())
        },
    )
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
        .reason("it also looks at what ends an answer: a change, a gap in the store's reports, two deadlines")
        .next_idea("keep the deadlines and the flag in one word");
    Ok(())
}

/// What two threads do at once, each entry as the inverse of the throughput: threads that do not hinder each other halve it.
fn by_two_threads(question: &mut Question, runtime: &tokio::runtime::Runtime) -> Result<(), QuestionError> {
    const ONE: &str = "peek, 1 thread";
    const TWO: &str = "peek, 2 threads on one handle";
    let name = "two threads";
    if !question.wants(name) {
        return Ok(());
    }
    let world = World::new(runtime, TokenSizes::ENTRA, 2, Picker::uniform(2, 7))?;
    let handle = world.cache.prepare(world.payload.request(0, 0));
    let swap = ArcSwap::from_pointee(0_u64);
    let granted = world.payload.granted_scopes(0);
    let scopes: Vec<&str> = granted.words().collect();
    let lookups = world.lookups(&scopes);
    let limit = |_| || (swap.load(), coarse());
    let measured = question
        .compare(name)
        .batch(Duration::from_millis(3))
        .limit("a guard load and a coarse clock, 1 thread", threads(1, limit))
        .variant("a guard load and a coarse clock, 2 threads", threads(2, limit))
        .variant(ONE, threads(1, |_| || handle.peek()))
        .variant(TWO, threads(2, |_| || handle.peek()))
        .variant("find, 1 thread", threads(1, |_| || world.cache.find(&lookups[0])))
        .variant(
            "find, 2 threads, another token each",
            threads(2, |thread| {
                let lookup = &lookups[thread];
                || world.cache.find(lookup)
            }),
        )
        .variant(
            "find, 2 threads, one token",
            threads(2, |_| || world.cache.find(&lookups[0])),
        )
        .run();
    let _ = question
        .target(
            Row::Prepared,
            "× as fast with two threads on one handle",
            at_least(1.8),
            measured.ratio_of(ONE, TWO),
        )
        .reason("where two processors are one core's, two threads share what computes; the limit's rows show how far this machine goes")
        .next_idea("none: nothing that is written is shared");
    Ok(())
}

/// What a lookup costs whose token has expired: that memory has no answer, and that it has no token.
fn expired(question: &mut Question, runtime: &tokio::runtime::Runtime) -> Result<(), QuestionError> {
    let name = "expired";
    if !question.wants(name) {
        return Ok(());
    }
    let now = SystemClock.now().to_seconds();
    let payload = Payload::new(1, UnixSeconds(now.0 - 10 * 24 * 3600)).sizes(TokenSizes::SMALL);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let cache = runtime.block_on(open(Arc::clone(&store), strategy()))?;
    let users = std::iter::once(payload.partition(0, 1));
    runtime.block_on(fill(&store, cache.sealer(), &BincodeCodec, users))?;
    let offline = FakeAuthority::at_once(&payload);
    let options = AcquireOptions {
        cache_only: true,
        ..AcquireOptions::default()
    };
    let request = payload.request(0, 0);
    let handle = cache.prepare(Arc::clone(&request));
    question
        .compare(name)
        .limit("peek: no answer", sync(|| handle.peek()))
        .variant(
            "acquire from the cache only: no token",
            on(runtime, async || {
                let request = Arc::clone(&request);
                cache.acquire(request, options, offline.clone()).await
            }),
        )
        .run();
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
