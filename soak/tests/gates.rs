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
fn an_account_that_is_removed_during_a_refresh_stays_away() {
    let tally = passes("removal");
    assert!(
        tally.count("interleavings, every order of two programs") > 500,
        "{tally:?}"
    );
    assert!(
        tally.count("refreshes that reached the issuer") > 500,
        "{tally:?}"
    );
}

#[test]
fn what_tasks_are_told_of_a_record_is_linearizable() {
    let tally = passes("histories");
    assert!(tally.count("conflicts") > 100, "{tally:?}");
    assert!(tally.count("operations of unknown outcome") > 50, "{tally:?}");
}

#[test]
fn no_read_and_no_write_of_other_processes_fails_while_keys_rotate() {
    let tally = passes("key-rotation");
    assert_eq!(tally.count("keys retired"), 1);
    assert!(
        tally.count("reads") > 100 && tally.count("writes") > 50,
        "{tally:?}"
    );
}
