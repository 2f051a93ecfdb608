use proptest::prelude::*;

use super::*;

const KEY: Key = [1; 32];

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn failure(asked: Option<u64>) -> Failure {
    Failure {
        because: ThrottledBecause::Unavailable,
        asked: asked.map(seconds),
        curve: Curve::USUAL,
    }
}

fn required() -> InteractionRequired {
    InteractionRequired::no_refresh_token()
}

/// The pauses of failures that follow one another, each request sent as soon as it may be.
fn pauses(curve: Curve, jitter: f64, count: usize) -> Vec<Duration> {
    let (mut memory, mut now) = (Memory::default(), seconds(1_000));
    let failure = Failure {
        curve,
        ..failure(None)
    };
    let one = |_| {
        let sent = now;
        now += Duration::from_millis(10);
        memory.failed(KEY, failure, sent, now, jitter);
        let (left, _) = memory.pause(&KEY, now).unwrap();
        now += left;
        assert!(memory.pause(&KEY, now).is_none());
        left
    };
    (0..count).map(one).collect()
}

#[test]
fn failures_double_the_pause_from_five_seconds_to_five_minutes() {
    let expected = [5, 10, 20, 40, 80, 160, 300, 300].map(seconds);
    assert_eq!(pauses(Curve::USUAL, 0.0, 8), expected);
    let most: Vec<_> = expected.iter().map(|pause| pause.mul_f64(1.25)).collect();
    assert_eq!(pauses(Curve::USUAL, 1.0, 8), most);
}

#[test]
fn what_cannot_be_reached_is_tried_sooner() {
    let expected = [1, 2, 4, 8, 16, 30, 30].map(seconds);
    assert_eq!(pauses(Curve::GENTLE, 0.0, 7), expected);
}

#[test]
fn an_answer_resets_the_pause_unless_it_is_older_than_the_failure() {
    let mut memory = Memory::default();
    memory.failed(KEY, failure(None), seconds(10), seconds(12), 0.0);
    memory.answered(&KEY, seconds(11));
    assert_eq!(memory.pause(&KEY, seconds(12)).unwrap().0, seconds(5));
    memory.failed(KEY, failure(None), seconds(17), seconds(18), 0.0);
    assert_eq!(memory.pause(&KEY, seconds(18)).unwrap().0, seconds(10));
    memory.answered(&KEY, seconds(28));
    memory.failed(KEY, failure(None), seconds(30), seconds(31), 0.0);
    assert_eq!(memory.pause(&KEY, seconds(31)).unwrap().0, seconds(5));
}

#[test]
fn requests_that_fail_together_are_one_failure() {
    let mut memory = Memory::default();
    for task in 0..100 {
        memory.failed(
            KEY,
            failure(None),
            seconds(10),
            Duration::from_millis(10_500 + task),
            0.0,
        );
    }
    let (left, _) = memory.pause(&KEY, Duration::from_millis(10_599)).unwrap();
    assert_eq!(left, seconds(5));
}

#[test]
fn a_shorter_pause_never_replaces_a_longer_one() {
    let mut memory = Memory::default();
    memory.failed(KEY, failure(Some(600)), seconds(0), seconds(1), 0.0);
    memory.failed(KEY, failure(None), seconds(0), seconds(2), 0.0);
    memory.failed(KEY, failure(Some(1)), seconds(0), seconds(3), 0.0);
    assert_eq!(memory.pause(&KEY, seconds(3)).unwrap().0, seconds(598));
    assert!(memory.pause(&[2; 32], seconds(3)).is_none(), "another request");
}

#[test]
fn a_wait_of_nothing_is_a_failure_like_any_other() {
    let mut memory = Memory::default();
    memory.failed(KEY, failure(Some(0)), seconds(0), seconds(1), 0.0);
    assert_eq!(memory.pause(&KEY, seconds(1)).unwrap().0, seconds(5));
}

#[test]
fn after_a_pause_one_request_finds_out_for_all() {
    let mut memory = Memory::default();
    let ends = seconds(36);
    memory.failed(KEY, failure(None), seconds(0), seconds(1), 0.0);
    assert!(memory.pause(&KEY, seconds(6)).is_none());
    memory.admitted(&KEY, seconds(6), ends);
    assert_eq!(memory.pause(&KEY, seconds(6)).unwrap().0, PROBED);
    // A request that was not sent, and one that nobody ever settles, hold nobody up.
    memory.withdrawn(&KEY, seconds(35));
    assert!(memory.pause(&KEY, seconds(6)).is_some(), "another's");
    memory.withdrawn(&KEY, ends);
    assert!(memory.pause(&KEY, seconds(6)).is_none());
    memory.admitted(&KEY, seconds(6), ends);
    assert!(memory.pause(&KEY, seconds(35)).is_some());
    assert!(memory.pause(&KEY, ends).is_none());
    memory.answered(&KEY, seconds(6));
    memory.admitted(&KEY, seconds(6), ends);
    assert!(memory.pause(&KEY, seconds(6)).is_none(), "it has recovered");
}

#[test]
fn a_failure_long_ago_does_not_count() {
    let mut memory = Memory::default();
    memory.failed(KEY, failure(None), seconds(0), seconds(1), 0.0);
    memory.failed(KEY, failure(None), seconds(305), seconds(306), 0.0);
    assert_eq!(memory.pause(&KEY, seconds(306)).unwrap().0, seconds(5));
}

#[test]
fn a_refusal_holds_two_minutes_or_until_its_user_acts() {
    let (mut memory, other) = (Memory::default(), [2; 32]);
    let (alice, bob) = ([3; 32], [4; 32]);
    memory.refused(KEY, Some(alice), required(), seconds(0));
    memory.refused(other, Some(bob), required(), seconds(0));
    assert!(memory.refusal(&KEY, seconds(119)).is_some());
    assert!(memory.refusal(&KEY, seconds(120)).is_none());
    memory.user_acted(&alice);
    assert!(memory.refusal(&KEY, seconds(1)).is_none());
    assert!(memory.refusal(&other, seconds(1)).is_some());
}

#[test]
fn the_memory_is_bounded_and_forgets_first_what_ends_first() {
    let mut memory = Memory::default();
    let key = |number: usize| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    };
    for number in 0..3 * MOST {
        let now = Duration::from_millis(number as u64);
        memory.failed(key(number), failure(Some(3_600)), now, now, 0.0);
        memory.refused(key(number), None, required(), now);
        assert!(memory.pauses.len() <= MOST && memory.refusals.len() <= MOST);
        assert!(memory.pause(&key(number), now).is_some());
    }
    let now = Duration::from_millis(3 * MOST as u64);
    let known = |number: usize| memory.pause(&key(number), now).is_some();
    assert!(!known(0) && !known(MOST));
    assert!((3 * MOST - MOST / 2..3 * MOST).all(known));
    // What is over makes room before anything that still holds.
    let later = seconds(10_000);
    memory.failed(key(0), failure(None), later, later, 0.0);
    assert!(memory.pauses.len() <= MOST);
}

#[derive(Clone, Debug)]
enum Event {
    /// A task wants to send.
    Try,
    /// The oldest or newest request under way ends.
    End {
        newest: bool,
        reply: Reply,
    },
    Pass(u64),
}

#[derive(Clone, Copy, Debug)]
enum Reply {
    Granted,
    Failed(Option<u64>),
}

fn event() -> impl Strategy<Value = Event> {
    let reply = prop_oneof![
        Just(Reply::Granted),
        prop::option::of(0_u64..4_000).prop_map(Reply::Failed),
    ];
    prop_oneof![
        Just(Event::Try),
        (any::<bool>(), reply).prop_map(|(newest, reply)| Event::End { newest, reply }),
        (0_u64..400_000).prop_map(Event::Pass),
    ]
}

proptest! {
    /// Whatever the interleaving: between a failure and the end of what it forbids, nothing is admitted unless an
    /// answer to a younger request came in between; and nothing is forbidden for longer than asked, five minutes and a quarter, or
    /// what the request that finds out can take.
    #[test]
    fn nothing_is_sent_before_it_may_be(
        events in prop::collection::vec(event(), 1..200),
        jitter in 0.0_f64..1.0,
    ) {
        let mut memory = Memory::default();
        let mut now = Duration::from_secs(1);
        let mut under_way = Vec::new();
        // (noted at, forbidden until at least)
        let mut forbidden: Vec<(Duration, Duration)> = Vec::new();
        let mut longest = Duration::ZERO;
        for event in events {
            match event {
                Event::Pass(millis) => now += Duration::from_millis(millis),
                Event::Try => match memory.pause(&KEY, now) {
                    None => {
                        memory.admitted(&KEY, now, now + seconds(30));
                        longest = longest.max(now + seconds(30));
                        prop_assert!(forbidden.iter().all(|(_, until)| *until <= now));
                        under_way.push(now);
                    }
                    Some((left, _)) => prop_assert!(now + left <= longest),
                },
                Event::End { newest, reply } => {
                    let sent = if newest {
                        under_way.pop()
                    } else {
                        (!under_way.is_empty()).then(|| under_way.remove(0))
                    };
                    let Some(sent) = sent else { continue };
                    match reply {
                        Reply::Granted => {
                            memory.answered(&KEY, sent);
                            forbidden.retain(|(noted, _)| {
                                // The last failure decides: only an answer to a younger request than it counts.
                                sent <= *noted
                            });
                        }
                        Reply::Failed(asked) => {
                            memory.failed(KEY, failure(asked), sent, now, jitter);
                            let wait = match asked {
                                Some(asked) if asked > 0 => seconds(asked),
                                _ => seconds(5),
                            };
                            forbidden.push((now, now + wait));
                            longest = longest.max(now + wait.max(seconds(375)));
                        }
                    }
                }
            }
        }
    }
}
