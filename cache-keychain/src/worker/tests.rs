use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use cache_testkit::clock::ManualClock;

use super::{MAX_LEFT_BEHIND, Worker};
use crate::error::{KeychainError, KeychainErrorKind};

const DEADLINE: Duration = Duration::from_secs(5);

/// A worker whose connections are numbered, in a time that the test moves.
struct World {
    worker: Arc<Worker<usize>>,
    clock: ManualClock,
    opened: Arc<AtomicUsize>,
}

/// A connection that the next call must not use.
static REPLACED: AtomicBool = AtomicBool::new(false);

impl World {
    fn new() -> Self {
        Self::with(|_| true)
    }

    fn with(is_current: fn(&usize) -> bool) -> Self {
        let clock = ManualClock::new();
        let opened = Arc::new(AtomicUsize::new(0));
        let count = opened.clone();
        let open = move || Ok(count.fetch_add(1, Ordering::SeqCst) + 1);
        Self {
            worker: Arc::new(Worker::new(DEADLINE, Arc::new(clock.clone()), open, is_current)),
            clock,
            opened,
        }
    }

    /// Starts a call that does not come back before the sender sends or is dropped, and waits until it is being made.
    async fn hang(
        &self,
    ) -> (
        tokio::task::JoinHandle<Result<(), KeychainError>>,
        mpsc::Sender<()>,
    ) {
        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let worker = self.worker.clone();
        let call = tokio::spawn(async move {
            worker
                .run(move |_| {
                    let _ = begin.send(());
                    let _ = released.recv();
                    Ok(())
                })
                .await
        });
        begun.await.unwrap();
        (call, release)
    }

    /// The number of the connection that a call has.
    async fn connection(&self) -> Result<usize, KeychainError> {
        self.worker.run(|connection| Ok(*connection)).await
    }
}

fn kind<T>(result: Result<T, KeychainError>) -> KeychainErrorKind {
    result.err().unwrap().kind()
}

#[tokio::test]
async fn calls_share_a_connection_that_is_opened_by_the_first() {
    let world = World::new();
    assert_eq!(world.opened.load(Ordering::SeqCst), 0);
    for _ in 0..3 {
        assert_eq!(world.connection().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_connection_that_ended_is_opened_anew() {
    let world = World::new();
    for (error, next) in [
        (KeychainErrorKind::Disconnected, 2),
        (KeychainErrorKind::Missing, 2),
        (KeychainErrorKind::Locked, 3),
    ] {
        assert!(world.connection().await.is_ok());
        let failed = world
            .worker
            .run(move |_| Err::<(), _>(KeychainError::of_kind(error)));
        assert_eq!(kind(failed.await), error);
        assert_eq!(world.connection().await.unwrap(), next, "{error:?}");
    }
}

#[tokio::test]
async fn a_connection_to_what_was_replaced_is_opened_anew_before_the_call() {
    let world = World::with(|_| !REPLACED.load(Ordering::SeqCst));
    assert_eq!(world.connection().await.unwrap(), 1);
    REPLACED.store(true, Ordering::SeqCst);
    assert_eq!(world.connection().await.unwrap(), 2);
    REPLACED.store(false, Ordering::SeqCst);
    assert_eq!(world.connection().await.unwrap(), 2);
}

#[tokio::test]
async fn an_opening_that_fails_is_tried_again_by_the_next_call() {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let open = move || match count.fetch_add(1, Ordering::SeqCst) {
        0 => Err(KeychainError::of_kind(KeychainErrorKind::Absent)),
        _ => Ok(()),
    };
    let worker = Worker::new(DEADLINE, Arc::new(ManualClock::new()), open, |()| true);
    assert_eq!(kind(worker.run(|()| Ok(())).await), KeychainErrorKind::Absent);
    assert!(worker.run(|()| Ok(())).await.is_ok());
}

#[tokio::test]
async fn hung_calls_leave_threads_behind_up_to_the_limit_and_recover() {
    let world = World::new();
    let mut releases = Vec::new();
    for count in 1..=MAX_LEFT_BEHIND {
        let (call, release) = world.hang().await;
        world.clock.advance(DEADLINE);
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), KeychainErrorKind::TimedOut);
        assert!(error.to_string().contains("did not answer within 5s"), "{error}");
        releases.push(release);
        assert_eq!(world.worker.left_behind.load(Ordering::SeqCst), count);
    }
    // Nothing is even tried now, and nobody waits.
    let opened = world.opened.load(Ordering::SeqCst);
    let error = world.connection().await.unwrap_err();
    assert_eq!(error.kind(), KeychainErrorKind::TimedOut);
    assert!(error.to_string().contains("have not come back"), "{error}");
    assert_eq!(world.opened.load(Ordering::SeqCst), opened);

    drop(releases);
    while world.worker.left_behind.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.connection().await.unwrap(), opened + 1);
}

#[tokio::test]
async fn a_call_that_waits_too_long_for_its_turn_is_never_made() {
    let world = World::new();
    let (hung, release) = world.hang().await;
    let made = Arc::new(AtomicBool::new(false));
    let (worker, marked) = (world.worker.clone(), made.clone());
    let waiting = tokio::spawn(async move {
        worker
            .run(move |_| {
                marked.store(true, Ordering::SeqCst);
                Ok(())
            })
            .await
    });
    tokio::task::yield_now().await;
    world.clock.advance(DEADLINE);
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), KeychainErrorKind::TimedOut);
    assert!(error.to_string().contains("nothing was done"), "{error}");
    assert_eq!(kind(hung.await.unwrap()), KeychainErrorKind::TimedOut);
    drop(release);
    assert!(world.connection().await.is_ok());
    assert!(!made.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_cancelled_call_is_not_made_later() {
    let world = World::new();
    let (hung, release) = world.hang().await;
    let made = Arc::new(AtomicBool::new(false));
    let marked = made.clone();
    {
        let mut cancelled = Box::pin(world.worker.run(move |_| {
            marked.store(true, Ordering::SeqCst);
            Ok(())
        }));
        // Sent, and not begun: the thread is busy.
        let polled = futures_util::future::poll_immediate(&mut cancelled).await;
        assert!(polled.is_none());
    }
    drop(release);
    hung.await.unwrap().unwrap();
    // In order: this one comes after the one that was cancelled.
    assert_eq!(world.connection().await.unwrap(), 1);
    assert!(!made.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_hung_call_whose_caller_is_gone_does_not_hang_those_that_come_later() {
    let world = World::new();
    let (call, release) = world.hang().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    world.clock.advance(DEADLINE);
    assert_eq!(world.connection().await.unwrap(), 2, "on a thread of its own");
    assert_eq!(world.worker.left_behind.load(Ordering::SeqCst), 1);

    drop(release);
    while world.worker.left_behind.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.connection().await.unwrap(), 2);
}

#[tokio::test]
async fn a_call_is_not_made_after_an_opening_that_took_too_long() {
    let clock = ManualClock::new();
    let (begin, begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let open = move || {
        begin.send(()).unwrap();
        let _ = released.lock().unwrap().recv();
        Ok(())
    };
    let worker = Worker::new(DEADLINE, Arc::new(clock.clone()), open, |()| true);
    let made = Arc::new(AtomicBool::new(false));
    let marked = made.clone();
    let call = worker.run(move |()| {
        marked.store(true, Ordering::SeqCst);
        Ok(())
    });
    let late = async {
        tokio::task::yield_now().await;
        begun.recv().unwrap();
        clock.advance(DEADLINE);
    };
    let (outcome, ()) = tokio::join!(call, late);
    assert_eq!(kind(outcome), KeychainErrorKind::TimedOut);
    drop(release);
    while worker.left_behind.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }
    assert!(!made.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_library_that_panics_ends_one_call_and_its_connection() {
    let world = World::new();
    assert_eq!(world.connection().await.unwrap(), 1);
    let (hung, release) = world.hang().await;
    let panicking = world
        .worker
        .run(|_| -> Result<(), _> { panic!("a bug of the library") });
    let (panicked, waiting, ()) = tokio::join!(panicking, world.connection(), async {
        tokio::task::yield_now().await;
        drop(release);
    });
    hung.await.unwrap().unwrap();
    let error = panicked.unwrap_err();
    assert_eq!(error.kind(), KeychainErrorKind::Other);
    assert!(error.to_string().contains("panicked"), "{error}");
    assert_eq!(
        waiting.unwrap(),
        2,
        "the call behind it is made, on a connection of its own"
    );
}
