//! What the errors of sealing say that they are.

use super::*;

#[test]
fn a_source_that_cannot_say_now_says_nothing_of_the_ring() {
    let unavailable = KeySourceError::Unavailable {
        place: "the key".to_owned(),
        what: "locked".to_owned(),
        source: None,
    };
    assert!(!SealError::KeySource(unavailable).is_about_ring());
    let missing = KeySourceError::Missing {
        place: "the key".to_owned(),
    };
    assert!(SealError::KeySource(missing).is_about_ring());
}

fn key() -> StoreKey {
    StoreKey::new("ns/user/alice").unwrap()
}

/// One of each error that a predicate is about, and some that none is.
fn errors() -> Vec<(&'static str, SealError)> {
    let key_id = KeyId::from_bytes([7; KeyId::BYTES]);
    let namespace = || "ns".to_owned();
    vec![
        (
            "not sealed",
            SealError::NotSealed {
                key: key(),
                reason: FormatError::NoMagic,
            },
        ),
        (
            "wrong length",
            SealError::WrongLength {
                key: key(),
                reason: FormatError::NoMagic,
            },
        ),
        ("plaintext record", SealError::PlaintextRecord { key: key() }),
        ("sealed record", SealError::SealedRecord { key: key() }),
        (
            "unsupported format",
            SealError::UnsupportedFormat {
                key: key(),
                what: "suite 2".to_owned(),
            },
        ),
        ("unknown key", SealError::UnknownKey { key: key(), key_id }),
        ("wrong key", SealError::WrongKey { key: key(), key_id }),
        ("wrong location", SealError::WrongLocation { key: key() }),
        ("tampered", SealError::Tampered { key: key() }),
        (
            "rolled back",
            SealError::RolledBack {
                key: key(),
                seen: 2,
                found: 1,
            },
        ),
        (
            "stale ring",
            SealError::StaleRing {
                age: Duration::from_secs(900),
            },
        ),
        (
            "ring missing",
            SealError::RingMissing {
                namespace: namespace(),
                example: key(),
            },
        ),
        (
            "ring rolled back",
            SealError::RingRolledBack { seen: 2, found: 1 },
        ),
        (
            "ring unreadable",
            SealError::RingUnreadable {
                key: key(),
                what: "is too short".to_owned(),
            },
        ),
        (
            "wrong key source",
            SealError::WrongKeySource {
                source_kind: "file".to_owned(),
            },
        ),
        ("contended", SealError::Contended { key: key() }),
        (
            "no keys",
            SealError::NoKeys {
                namespace: namespace(),
            },
        ),
    ]
}

fn those_that(holds: impl Fn(&SealError) -> bool) -> Vec<&'static str> {
    let errors = errors();
    let held = errors.iter().filter(|(_, error)| holds(error));
    held.map(|(name, _)| *name).collect()
}

#[test]
fn each_question_is_answered_yes_by_its_own_errors_only() {
    assert_eq!(
        those_that(SealError::is_not_sealed),
        ["not sealed", "plaintext record"]
    );
    assert_eq!(those_that(SealError::is_wrong_length), ["wrong length"]);
    assert_eq!(those_that(SealError::is_plaintext_record), ["plaintext record"]);
    assert_eq!(
        those_that(SealError::is_unsupported_format),
        ["unsupported format"]
    );
    assert_eq!(those_that(SealError::is_unknown_key), ["unknown key"]);
    assert_eq!(those_that(SealError::is_wrong_key), ["wrong key"]);
    assert_eq!(those_that(SealError::is_wrong_location), ["wrong location"]);
    assert_eq!(those_that(SealError::is_tampered), ["tampered"]);
    assert_eq!(
        those_that(SealError::is_rolled_back),
        ["rolled back", "ring rolled back"]
    );
    assert_eq!(those_that(SealError::is_stale_ring), ["stale ring"]);
    assert_eq!(those_that(SealError::is_wrong_key_source), ["wrong key source"]);
    assert_eq!(
        those_that(SealError::is_about_ring),
        ["ring missing", "ring unreadable", "wrong key source"]
    );
}

#[test]
fn quarantine_is_for_single_records_that_cannot_be_opened() {
    assert_eq!(
        those_that(SealError::is_unreadable_record),
        [
            "not sealed",
            "wrong length",
            "plaintext record",
            "sealed record",
            "unsupported format",
            "unknown key",
            "wrong key",
            "wrong location",
            "tampered",
        ]
    );
}

/// A record of the other kind is what a mode meets that was changed; anything else at that place is no record.
#[test]
fn a_record_of_the_other_mode_is_called_that_only_where_one_was_expected() {
    use RecordFormat::{KeyRing, Plaintext, Sealed};
    for expected in [Sealed, Plaintext, KeyRing] {
        let met = |found| SealError::format(&key(), expected, FormatError::Other(found));
        let is_plaintext = matches!(met(Plaintext), SealError::PlaintextRecord { .. });
        let is_sealed = matches!(met(Sealed), SealError::SealedRecord { .. });
        assert_eq!(
            (is_plaintext, is_sealed),
            (expected == Sealed, expected == Plaintext)
        );
        let wrong_length = SealError::format(&key(), expected, FormatError::TooShort { length: 1 });
        assert_eq!(
            matches!(wrong_length, SealError::WrongLength { .. }),
            expected == Sealed
        );
    }
}
