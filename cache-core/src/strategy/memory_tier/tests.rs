use super::answering::ANSWERS_BESIDE;
use super::*;
use crate::cache::arguments::Arguments;
use crate::schema::{AuthorityIdentity, AuthorityKind, Partition, PartitionKey, ScopeSet, TokenRequest};
use crate::strategy::answers::Window;
use crate::time::{CoarseTime, UnixMillis};

fn slot(version: u8) -> Slot {
    Slot {
        partition: Arc::new(IndexedPartition::new(Partition::new(PartitionKey::Residue)).unwrap()),
        version: Version::from_bytes([version; 16]),
        validated_at: Duration::ZERO,
    }
}

#[test]
fn a_read_that_began_before_a_change_is_not_filled_in() {
    let memory = Memory::new(MemoryTier::bounded(1 << 20));
    let key = StoreKey::new("k").unwrap();
    let before = memory.generation(&key);
    memory.forget(&key);
    memory.fill(&key, slot(1), before);
    assert!(memory.lookup(&key, Duration::ZERO).is_none());
    memory.fill(&key, slot(2), memory.generation(&key));
    assert_eq!(
        memory.lookup(&key, Duration::ZERO).unwrap().slot.version,
        Version::from_bytes([2; 16])
    );
}

#[test]
fn a_change_that_is_already_known_still_keeps_older_reads_out() {
    let memory = Memory::new(MemoryTier::bounded(1 << 20));
    let key = StoreKey::new("k").unwrap();
    let old_read = memory.generation(&key);
    memory.fill(&key, slot(2), memory.generation(&key));
    memory.changed(&key, Some(Version::from_bytes([2; 16])));
    memory.fill(&key, slot(1), old_read);
    let kept = memory.lookup(&key, Duration::ZERO).unwrap().slot;
    assert_eq!(kept.version, Version::from_bytes([2; 16]));
}

#[test]
fn a_read_that_began_first_does_not_undo_one_that_began_later() {
    let memory = Memory::new(MemoryTier::bounded(1 << 20));
    let key = StoreKey::new("k").unwrap();
    let later = Slot {
        validated_at: Duration::from_secs(1),
        ..slot(2)
    };
    memory.fill(&key, later, memory.generation(&key));
    memory.fill(&key, slot(1), memory.generation(&key));
    let kept = memory.lookup(&key, Duration::ZERO).unwrap().slot;
    assert_eq!(kept.version, Version::from_bytes([2; 16]));
}

#[test]
fn a_commit_that_was_overtaken_before_its_acknowledgement_is_not_kept() {
    let memory = Memory::new(MemoryTier::bounded(1 << 20));
    let key = StoreKey::new("k").unwrap();
    let version = |byte| Some(Version::from_bytes([byte; 16]));
    for hints in [vec![2], vec![1, 2]] {
        let before = memory.generation(&key);
        for hint in &hints {
            memory.changed(&key, version(*hint));
        }
        memory.committed(&key, slot(1), before);
        assert!(memory.lookup(&key, Duration::ZERO).is_none(), "{hints:?}");
    }
    for hints in [vec![], vec![1]] {
        let before = memory.generation(&key);
        for hint in &hints {
            memory.changed(&key, version(*hint));
        }
        memory.committed(&key, slot(1), before);
        assert!(memory.lookup(&key, Duration::ZERO).is_some(), "{hints:?}");
        memory.forget(&key);
    }
}

#[test]
fn a_slot_is_trusted_until_it_is_stale() {
    let memory = Memory::new(MemoryTier::bounded(1 << 20).max_staleness(Duration::from_secs(2)));
    let key = StoreKey::new("k").unwrap();
    memory.fill(&key, slot(1), memory.generation(&key));
    assert!(memory.lookup(&key, Duration::from_secs(1)).unwrap().is_trusted);
    assert!(!memory.lookup(&key, Duration::from_secs(2)).unwrap().is_trusted);
}

#[test]
fn after_a_gap_in_the_reports_a_slot_is_kept_and_not_trusted() {
    let memory = Memory::new(MemoryTier::bounded(1 << 20));
    let key = StoreKey::new("k").unwrap();
    let before = memory.generation(&key);
    memory.fill(&key, slot(1), before);
    memory.lost();
    assert!(!memory.lookup(&key, Duration::ZERO).unwrap().is_trusted);
    memory.fill(&key, slot(1), before);
    assert!(
        !memory.lookup(&key, Duration::ZERO).unwrap().is_trusted,
        "read before the gap"
    );
    memory.fill(&key, slot(1), memory.generation(&key));
    assert!(memory.lookup(&key, Duration::ZERO).unwrap().is_trusted);
}

#[test]
fn a_slot_that_nobody_vouches_for_is_kept_until_it_is_read_again() {
    let memory = Memory::new(MemoryTier::bounded(1 << 20));
    let key = StoreKey::new("k").unwrap();
    memory.fill(&key, slot(1), memory.generation(&key));
    memory.distrust(&key);
    assert!(!memory.lookup(&key, Duration::ZERO).unwrap().is_trusted);
    memory.changed(&key, Some(Version::from_bytes([2; 16])));
    assert!(
        memory.lookup(&key, Duration::ZERO).is_none(),
        "known to be another"
    );
}

#[test]
fn memory_is_bounded_in_bytes() {
    let memory = Memory::new(MemoryTier::bounded(64 << 10));
    for index in 0..10_000 {
        let key = StoreKey::new(format!("k{index}")).unwrap();
        memory.fill(&key, slot(1), memory.generation(&key));
    }
    assert!(memory.slots.as_ref().unwrap().weight() <= 64 << 10);
}

fn arguments_of(request: &TokenRequest) -> Arguments<'_> {
    Arguments::of_request(request).unwrap()
}

fn request(scopes: &str) -> TokenRequest {
    let partition = PartitionKey::User {
        authority: AuthorityIdentity::of_issuer("https://issuer.example"),
        home_account_id: "alice".into(),
    };
    let scopes = ScopeSet::parse(scopes);
    TokenRequest::new(
        partition,
        AuthorityKind::Oidc,
        "client",
        "issuer.example",
        "",
        scopes,
    )
}

const NOW: CoarseTime = CoarseTime {
    wall: UnixMillis(1000),
    monotonic: 1000,
};

/// A window around [`NOW`].
const OPEN: Window = Window {
    since: UnixMillis(1000),
    until: UnixMillis(2000),
    until_monotonic: 2000,
};

/// Records an answer to `request` from what is kept under `key`.
fn record(memory: &Memory, key: &StoreKey, request: &TokenRequest) -> Option<Arc<Answer>> {
    let found = memory.lookup(key, Duration::ZERO)?;
    record_under(memory, request, &[found.guard])
}

fn record_under(memory: &Memory, request: &TokenRequest, guards: &[Guard]) -> Option<Arc<Answer>> {
    let partition = Arc::new(IndexedPartition::new(Partition::new(PartitionKey::Residue)).unwrap());
    let arguments = arguments_of(request);
    memory.record(&arguments, arguments.hash(), OPEN, guards, &partition, 0)
}

/// Fills a slot under each of the keys.
fn guards_of(memory: &Memory, keys: &[StoreKey; 2]) -> [Guard; 2] {
    keys.each_ref().map(|key| {
        memory.fill(key, slot(1), memory.generation(key));
        memory.lookup(key, Duration::ZERO).unwrap().guard
    })
}

fn is_answered(memory: &Memory, request: &TokenRequest) -> bool {
    let arguments = arguments_of(request);
    memory.answer(&arguments, arguments.hash(), NOW).is_some()
}

fn kept(key: &StoreKey) -> Memory {
    let memory = Memory::new(MemoryTier::bounded(1 << 20));
    memory.fill(key, slot(1), memory.generation(key));
    memory
}

type Change = fn(&Memory, &StoreKey);

/// Everything that ends a slot's time.
const CHANGES: [(&str, Change); 7] = [
    ("forgotten", |memory, key| memory.forget(key)),
    ("distrusted", |memory, key| memory.distrust(key)),
    ("changed", |memory, key| {
        memory.changed(key, Some(Version::from_bytes([9; 16])));
    }),
    ("removed", |memory, key| {
        memory.changed(key, None);
    }),
    ("lost", |memory, _| memory.lost()),
    ("read again", |memory, key| {
        memory.fill(key, slot(2), memory.generation(key))
    }),
    ("committed", |memory, key| {
        memory.committed(key, slot(3), memory.generation(key));
    }),
];

#[test]
fn an_answer_ends_with_every_change_of_what_it_came_from() {
    let key = StoreKey::new("k").unwrap();
    for (name, change) in CHANGES {
        let memory = kept(&key);
        let request = request("a");
        let answer = record(&memory, &key, &request).unwrap();
        assert!(is_answered(&memory, &request));
        change(&memory, &key);
        assert!(!is_answered(&memory, &request), "{name}");
        assert!(!memory.holds(&answer, NOW), "{name}: nor in a handle that has it");
    }
    let memory = kept(&key);
    let request = request("a");
    record(&memory, &key, &request).unwrap();
    memory.changed(&key, Some(Version::from_bytes([1; 16])));
    assert!(is_answered(&memory, &request), "that change is known");
}

#[test]
fn an_answer_that_was_computed_before_a_change_and_comes_after_it_is_not_given() {
    let key = StoreKey::new("k").unwrap();
    for (name, change) in CHANGES {
        let memory = kept(&key);
        let request = request("a");
        let guard = memory.lookup(&key, Duration::ZERO).unwrap().guard;
        change(&memory, &key);
        record_under(&memory, &request, &[guard]);
        assert!(!is_answered(&memory, &request), "{name}");
    }
}

#[test]
fn an_answer_from_two_partitions_ends_with_either() {
    let keys = ["session", "user"].map(|key| StoreKey::new(key).unwrap());
    for changed in &keys {
        let memory = Memory::new(MemoryTier::bounded(1 << 20));
        let guards = guards_of(&memory, &keys);
        let request = request("a");
        record_under(&memory, &request, &guards).unwrap();
        assert!(is_answered(&memory, &request));
        memory.forget(changed);
        assert!(!is_answered(&memory, &request));
        assert!(record_under(&memory, &request, &guards).is_none());
    }
}

/// The user's partition lists the answers of the sessions, and would keep all that an evicted session had.
#[test]
fn what_a_session_had_is_let_go_with_its_partition() {
    let keys = ["session", "user"].map(|key| StoreKey::new(key).unwrap());
    let memory = Memory::new(MemoryTier::bounded(1 << 20));
    let guards = guards_of(&memory, &keys);
    let partition = Arc::new(IndexedPartition::new(Partition::new(PartitionKey::Residue)).unwrap());
    let request = request("a");
    let arguments = arguments_of(&request);
    memory
        .record(&arguments, arguments.hash(), OPEN, &guards, &partition, 0)
        .unwrap();
    assert_eq!(Arc::strong_count(&partition), 2);
    memory.forget(&keys[0]);
    assert_eq!(Arc::strong_count(&partition), 1);
}

#[test]
fn an_answer_holds_within_its_window_on_both_clocks() {
    let key = StoreKey::new("k").unwrap();
    let memory = kept(&key);
    let answer = record(&memory, &key, &request("a")).unwrap();
    for (wall, monotonic, holds) in [
        (1000, 0, true),
        (1999, 1999, true),
        (999, 1000, false),
        (2000, 1000, false),
        (1000, 2000, false),
    ] {
        let now = CoarseTime {
            wall: UnixMillis(wall),
            monotonic,
        };
        assert_eq!(memory.holds(&answer, now), holds, "{now:?}");
    }
}

#[test]
fn equal_hashes_are_told_apart_by_what_was_asked() {
    let key = StoreKey::new("k").unwrap();
    let memory = kept(&key);
    let guard = memory.lookup(&key, Duration::ZERO).unwrap().guard;
    let requests = ["a", "b", "a b", "c"].map(request);
    let partition = Arc::new(IndexedPartition::new(Partition::new(PartitionKey::Residue)).unwrap());
    for (index, request) in (0..).zip(&requests[..3]) {
        let arguments = arguments_of(request);
        let guards = std::slice::from_ref(&guard);
        memory
            .record(&arguments, 7, OPEN, guards, &partition, index)
            .unwrap();
    }
    for (index, request) in (0..).zip(&requests[..3]) {
        let answer = memory.answer(&arguments_of(request), 7, NOW).unwrap();
        assert_eq!(answer.index, index);
    }
    assert!(memory.answer(&arguments_of(&requests[3]), 7, NOW).is_none());
}

#[test]
fn a_partition_that_answers_are_given_from_survives_pressure_and_others_do_not() {
    let memory = Memory::new(MemoryTier::bounded(64 << 10));
    let keys = ["hot", "cold"].map(|key| StoreKey::new(key).unwrap());
    for key in &keys {
        memory.fill(key, slot(1), memory.generation(key));
    }
    let requests = ["hot", "cold"].map(request);
    for (key, request) in keys.iter().zip(&requests) {
        record(&memory, key, request).unwrap();
    }
    for index in 0..10_000 {
        assert!(is_answered(&memory, &requests[0]), "evicted by the {index}th");
        let key = StoreKey::new(format!("k{index}")).unwrap();
        memory.fill(&key, slot(1), memory.generation(&key));
        // Asked for as well, or nothing that was ever asked for would be in its way.
        memory.lookup(&key, Duration::ZERO);
        memory.lookup(&key, Duration::ZERO);
    }
    assert!(!is_answered(&memory, &requests[1]), "nobody asked for it");
    assert_eq!(memory.answers.len(), 1, "the evicted one's answer went with it");
}

/// Without it the session could not be answered from memory either.
#[test]
fn the_partition_of_a_sessions_user_survives_pressure_as_the_sessions_does() {
    let memory = Memory::new(MemoryTier::bounded(64 << 10));
    let keys = ["session", "user"].map(|key| StoreKey::new(key).unwrap());
    let guards = guards_of(&memory, &keys);
    let request = request("a");
    record_under(&memory, &request, &guards).unwrap();
    for index in 0..10_000 {
        assert!(is_answered(&memory, &request), "evicted by the {index}th");
        let key = StoreKey::new(format!("k{index}")).unwrap();
        memory.fill(&key, slot(1), memory.generation(&key));
        memory.lookup(&key, Duration::ZERO);
    }
}

#[test]
fn a_partition_that_is_too_large_for_memory_leaves_no_answer() {
    let memory = Memory::new(MemoryTier::bounded(1 << 10));
    let key = StoreKey::new("k").unwrap();
    memory.fill(&key, slot(1), memory.generation(&key));
    let request = request("a");
    let is_kept = memory.lookup(&key, Duration::ZERO).is_some();
    assert_eq!(record(&memory, &key, &request).is_some(), is_kept);
    assert_eq!(is_answered(&memory, &request), is_kept);
}

#[test]
fn answers_of_one_partition_are_bounded_and_count_among_its_bytes() {
    let key = StoreKey::new("k").unwrap();
    let memory = kept(&key);
    let before = memory.slots.as_ref().unwrap().weight();
    for index in 0..10_000 {
        record(&memory, &key, &request(&format!("scope-{index}"))).unwrap();
        assert!(memory.answers.len() <= ANSWERS_BESIDE);
    }
    assert!(is_answered(&memory, &request("scope-9999")));
    let weight = memory.slots.as_ref().unwrap().weight();
    assert!(
        weight >= before + (ANSWERS_BESIDE * 256) as u64,
        "{before} {weight}"
    );
    memory.forget(&key);
    assert_eq!(memory.answers.len(), 0);
    assert_eq!(memory.slots.as_ref().unwrap().weight(), 0);
}

#[test]
fn a_table_that_grows_loses_no_answer() {
    let memory = Memory::new(MemoryTier::bounded(1 << 30));
    let requests: Vec<_> = (0..5000)
        .map(|index| request(&format!("scope-{index}")))
        .collect();
    for (index, request) in requests.iter().enumerate() {
        let key = StoreKey::new(format!("k{index}")).unwrap();
        memory.fill(&key, slot(1), memory.generation(&key));
        record(&memory, &key, request).unwrap();
    }
    let answered = requests
        .iter()
        .filter(|request| is_answered(&memory, request))
        .count();
    assert_eq!((answered, memory.answers.len()), (5000, 5000));
}

#[test]
fn threads_that_change_and_ask_at_once_never_see_what_was_changed_before() {
    let key = StoreKey::new("k").unwrap();
    let memory = kept(&key);
    let request = request("a");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    memory.fill(&key, slot(1), memory.generation(&key));
                    record(&memory, &key, &request);
                }
            });
        }
        for _ in 0..2000 {
            let known = {
                let arguments = arguments_of(&request);
                memory.answer(&arguments, arguments.hash(), NOW)
            };
            memory.forget(&key);
            assert!(known.is_none_or(|answer| !memory.holds(&answer, NOW)));
        }
    });
    memory.forget(&key);
    assert!(!is_answered(&memory, &request));
    assert_eq!(memory.answers.len(), 0);
}
