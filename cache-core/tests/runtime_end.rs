//! A runtime that ends while a cache is used on it.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cache_core::cache::{Acquired, CacheError, TokenCache};
use cache_core::strategy::Strategy;
use support::*;

/// Signs a user in when its task is dropped, which the end of the runtime does: a task of another thread can come in the same moment.
struct SignInAtTheEnd {
    cache: TokenCache,
    issuer: Arc<Issuer>,
    outcome: Sender<Poll<Result<Acquired, CacheError>>>,
}

impl Drop for SignInAtTheEnd {
    fn drop(&mut self) {
        let user = user();
        let sign_in = pin!(self.cache.sign_in(&user, self.issuer.sign_in("a")));
        let outcome = sign_in.poll(&mut Context::from_waker(Waker::noop()));
        self.outcome.send(outcome).unwrap();
    }
}

/// What a sign-in is told that begins as the runtime ends.
fn sign_in_at_the_end(strategy: Strategy) -> Poll<Result<Acquired, CacheError>> {
    let (sender, outcome) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (clock, store) = parts();
        let issuer = Issuer::new(&clock);
        let cache = runtime.block_on(open_with(&store, &clock, strategy));
        let at_the_end = SignInAtTheEnd {
            cache,
            issuer,
            outcome: sender,
        };
        runtime.spawn(async move {
            let _at_the_end = at_the_end;
            std::future::pending::<()>().await;
        });
        drop(runtime);
    });
    outcome
        .recv_timeout(Duration::from_secs(60))
        .unwrap_or_else(|_| panic!("the runtime does not end"))
}

#[test]
fn a_commit_that_begins_then_is_refused_and_holds_nothing_up() {
    let outcome = sign_in_at_the_end(Strategy::desktop_tool());
    assert!(
        matches!(outcome, Poll::Ready(Err(CacheError::LeaderLost))),
        "{outcome:?}"
    );
}

#[test]
fn so_is_what_the_directory_is_told() {
    let outcome = sign_in_at_the_end(Strategy::web_front_end());
    assert!(
        matches!(outcome, Poll::Ready(Err(CacheError::LeaderLost))),
        "{outcome:?}"
    );
}
