//! Tests of the key ring.

use super::*;
use crate::random::OsRandom;

const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

fn ring() -> KeyRing {
    KeyRing::generate(&OsRandom, NOW).unwrap()
}

fn states(ring: &KeyRing) -> Vec<KeyState> {
    ring.keys.iter().map(|key| key.status.state).collect()
}

fn decode(bytes: &[u8]) -> Result<KeyRing, MalformedRing> {
    KeyRing::decode([1; 16], 1, bytes)
}

#[test]
fn a_key_lives_through_its_states() {
    let mut ring = ring();
    let first = ring.keys[0].status.id;
    let second = ring.add(new_key(&OsRandom, NOW).unwrap()).unwrap();
    assert_eq!(states(&ring), [KeyState::Primary, KeyState::Pending]);
    ring.promote(second, NOW).unwrap();
    assert_eq!(states(&ring), [KeyState::ReadOnly, KeyState::Primary]);

    let early = NOW.saturating_add(Duration::from_secs(119));
    let wait = Duration::from_secs(1);
    assert_eq!(
        ring.retire(first, early),
        Err(RingError::TooSoon { id: first, wait })
    );
    ring.retire(first, NOW.saturating_add(Duration::from_secs(120)))
        .unwrap();
    assert_eq!(states(&ring), [KeyState::Retired, KeyState::Primary]);
    assert_eq!(ring.keys[0].key, SecretKey::zero(), "a retired key is wiped");
}

#[test]
fn impossible_changes_are_refused() {
    let mut ring = ring();
    let primary = ring.keys[0].status.id;
    assert!(matches!(
        ring.promote(primary, NOW),
        Err(RingError::WrongState { .. })
    ));
    assert!(matches!(
        ring.retire(primary, NOW),
        Err(RingError::WrongState { .. })
    ));
    let absent = KeyId::from_bytes([0; 8]);
    assert_eq!(ring.promote(absent, NOW), Err(RingError::NoSuchKey(absent)));
    ring.generation = u64::MAX;
    assert_eq!(ring.advance(), Err(RingError::Exhausted));
}

#[test]
fn a_full_ring_forgets_retired_keys_only() {
    let mut ring = ring();
    let second = ring.add(new_key(&OsRandom, NOW).unwrap()).unwrap();
    while ring.keys.len() < MAX_KEYS {
        ring.add(new_key(&OsRandom, NOW).unwrap()).unwrap();
    }
    assert_eq!(ring.add(new_key(&OsRandom, NOW).unwrap()), Err(RingError::Full));
    ring.retire(second, NOW).unwrap();
    ring.add(new_key(&OsRandom, NOW).unwrap()).unwrap();
    assert_eq!(ring.keys.len(), MAX_KEYS);
    assert!(ring.keys.iter().all(|key| key.status.id != second));
    let bytes = ring.encode();
    assert_eq!(bytes.len(), MAX_RING_BYTES);
    assert!(KeyRing::decode(ring.id, 1, &bytes).is_ok());
}

#[test]
fn a_ring_round_trips_and_every_truncation_is_refused() {
    let mut ring = ring();
    let second = ring.add(new_key(&OsRandom, NOW).unwrap()).unwrap();
    ring.promote(second, NOW).unwrap();
    let bytes = ring.encode();
    assert_eq!(KeyRing::decode(ring.id, ring.generation, &bytes), Ok(ring));
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length]).is_err(), "{length}");
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(decode(&longer).is_err());
}

#[test]
fn rings_that_contradict_themselves_are_refused() {
    let mut ring = ring();
    ring.add(new_key(&OsRandom, NOW).unwrap()).unwrap();
    let bytes = ring.encode();
    let with = |index: usize, value: &[u8]| {
        let mut changed = bytes.to_vec();
        changed[index..index + value.len()].copy_from_slice(value);
        decode(&changed).unwrap_err().0
    };
    assert!(with(0, &[2]).contains("version"));
    assert!(with(37, &[1]).contains("length"));
    assert!(with(HEAD_BYTES + 8, &[9]).contains("unknown state"));
    assert!(with(HEAD_BYTES + 8, &[3]).contains("dates"));
    assert!(with(HEAD_BYTES + 41, &[0; 32]).contains("does not fit"));
    let first: [u8; 8] = *ring.keys[0].status.id.as_bytes();
    assert!(with(HEAD_BYTES + KEY_BYTES, &first).contains("one name"));
    assert!(
        decode(&{
            let mut none = bytes[..HEAD_BYTES].to_vec();
            none[37] = 0;
            none
        })
        .unwrap_err()
        .0
        .contains("primary")
    );
}

#[test]
fn the_dates_of_a_key_fit_its_state() {
    let bytes = ring().encode();
    let states = [
        (KeyState::Pending, [false, false, false], 0b000),
        (KeyState::Primary, [true, false, false], 0b000),
        (KeyState::ReadOnly, [true, true, false], 0b000),
        // From whatever state it was retired.
        (KeyState::Retired, [false, false, true], 0b011),
    ];
    for (state, needed, free) in states {
        for dated in 0..8_usize {
            let mut changed = bytes.to_vec();
            changed[HEAD_BYTES + 8] = state.code();
            let mut fits = true;
            for (index, needed) in needed.into_iter().enumerate() {
                let is_dated = dated >> index & 1 == 1;
                fits &= is_dated == needed || free >> index & 1 == 1;
                let date = if is_dated { NOW.0 } else { NOT_YET };
                let place = HEAD_BYTES + 17 + 8 * index;
                changed[place..place + 8].copy_from_slice(&date.to_be_bytes());
            }
            let refused = decode(&changed).is_err_and(|error| error.0.contains("dates"));
            assert_eq!(refused, !fits, "{state:?} {dated:03b}");
        }
    }
}

#[test]
fn debug_shows_no_key() {
    let ring = ring();
    let shown = format!("{ring:?}");
    assert!(shown.contains("[redacted]"));
    let bytes = format!("{:?}", ring.keys[0].key.expose());
    assert!(!shown.contains(bytes.trim_matches(['[', ']'])));
}
