//! The manual clock and the generators for tests.

use std::time::Duration;

use cache_core::random::{Random, random_bytes};
use cache_core::time::{Clock, UnixMillis, with_deadline};
use cache_testkit::clock::ManualClock;
use cache_testkit::random::{FailingRandom, SeededRandom};

#[tokio::test]
async fn sleepers_wake_at_their_deadline_and_not_before() {
    let clock = ManualClock::new();
    let sleepers = [3, 1, 2].map(|seconds| {
        let clock = clock.clone();
        tokio::spawn(async move {
            clock.sleep(Duration::from_secs(seconds)).await;
            clock.monotonic()
        })
    });
    clock.wait_for_sleepers(3).await;
    for second in 1..=3 {
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.sleepers(), 3 - second);
        tokio::task::yield_now().await;
    }
    let [three, one, two] = sleepers;
    assert_eq!(one.await.unwrap(), Duration::from_secs(1));
    assert_eq!(two.await.unwrap(), Duration::from_secs(2));
    assert_eq!(three.await.unwrap(), Duration::from_secs(3));
}

#[tokio::test]
async fn setting_the_wall_clock_wakes_nobody() {
    let clock = ManualClock::at(UnixMillis(1_000));
    let sleeper = tokio::spawn({
        let clock = clock.clone();
        async move { clock.sleep(Duration::from_secs(1)).await }
    });
    clock.wait_for_sleepers(1).await;
    clock.set(UnixMillis(50_000));
    assert_eq!(
        (clock.now(), clock.monotonic(), clock.sleepers()),
        (UnixMillis(50_000), Duration::ZERO, 1)
    );
    clock.set(UnixMillis(0));
    clock.advance(Duration::from_secs(1));
    assert_eq!(clock.now(), UnixMillis(1_000));
    sleeper.await.unwrap();
}

#[tokio::test]
async fn cancelled_sleep_leaves_no_sleeper() {
    let clock = ManualClock::new();
    let done = with_deadline(&clock, Duration::from_secs(1), async {
        tokio::task::yield_now().await;
        clock.sleepers()
    });
    assert_eq!(done.await, Some(1));
    assert_eq!(clock.sleepers(), 0);
}

#[tokio::test]
async fn auto_advance_passes_sleeps_at_once() {
    let clock = ManualClock::new();
    clock.auto_advance(true);
    clock.sleep(Duration::from_secs(7)).await;
    clock.sleep(Duration::ZERO).await;
    assert_eq!(clock.monotonic(), Duration::from_secs(7));
    assert_eq!(
        clock.now(),
        ManualClock::START.saturating_add(Duration::from_secs(7))
    );
}

#[test]
fn seeded_random_repeats_and_failing_random_fails() {
    let draw = |seed| random_bytes::<40>(&SeededRandom::new(seed)).unwrap();
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    let generator = SeededRandom::new(1);
    assert_ne!(
        random_bytes::<16>(&generator).unwrap(),
        random_bytes::<16>(&generator).unwrap()
    );
    assert!(FailingRandom.fill(&mut [0; 4]).is_err());
}
