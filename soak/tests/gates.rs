//! Every gate at the size of a test.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use soak::gates;
use soak::stage::Stage;
use soak::tally::Tally;

/// Runs a gate's first cases, in which nothing may be violated.
fn passes(name: &str) -> Tally {
    let gate = gates::named(name).unwrap();
    let stage = Stage::new(env!("CARGO_BIN_EXE_soak")).unwrap();
    let tally = (gate.run)(&stage, 0..gate.test_size)
        .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
    assert_eq!(tally.violations, 0, "{:#?}", tally.examples);
    tally
}

#[test]
fn a_killed_writer_loses_nothing_that_was_acknowledged() {
    let tally = passes("kill-writer");
    assert_eq!(tally.count("writers killed"), 24);
    assert!(tally.count("sign-ins acknowledged") > 24, "{tally:?}");
    assert!(tally.count("records opened") > 24, "{tally:?}");
}

#[test]
fn processes_that_count_together_lose_no_update() {
    let tally = passes("compare-and-swap");
    assert_eq!(tally.count("increments acknowledged"), 2_560);
    assert!(tally.count("conflicts, tried again") > 0, "{tally:?}");
}

#[test]
fn bytes_near_honest_ones_break_nothing() {
    let tally = passes("fuzzing");
    for target in fuzz::TARGETS {
        for became in ["taken", "refused"] {
            let inputs = tally.count(&format!(
                "inputs of {} near its seeds that were {became}",
                target.name
            ));
            assert!(inputs > 2, "{}: {tally:?}", target.name);
        }
    }
}

#[test]
fn damage_of_a_record_is_found_by_the_check_that_it_is_for_and_nothing_is_lost() {
    let tally = passes("damaged-records");
    for error in [
        "NotSealed",
        "UnsupportedFormat",
        "UnknownKey",
        "WrongKey",
        "WrongLocation",
        "WrongLength",
        "Tampered",
    ] {
        assert!(
            tally.count(&format!("flips found as {error}")) > 0,
            "{error}: {tally:?}"
        );
    }
    assert!(tally.count("cuts found as WrongLength") > 1_000, "{tally:?}");
    assert!(
        tally.count("swapped pairs found as WrongLocation") > 200,
        "{tally:?}"
    );
    assert!(
        tally.count("swapped pairs under a cache found as WrongLocation") > 0,
        "{tally:?}"
    );
}
