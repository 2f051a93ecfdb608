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

#[cfg(target_os = "linux")]
#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let tally = passes("power-cut");
    assert_eq!(tally.count("cuts over an MSAL file"), 12);
    assert!(tally.count("cuts that lost something") > 6, "{tally:?}");
    assert!(tally.count("sign-ins recorded") == 3 * 72, "{tally:?}");
    assert!(tally.count("records opened") > 24, "{tally:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn every_seal_draws_a_nonce_of_its_own_also_in_forks() {
    let tally = passes("nonces");
    assert_eq!(tally.count("nonces"), 12_000);
    assert_eq!(tally.count("seals with a draw of their own"), 3_000);
    assert_eq!(tally.count("seals after forks"), 2_000);
}

#[cfg(target_os = "linux")]
#[test]
fn a_call_that_fails_is_told_and_takes_nothing_that_was_acknowledged() {
    let tally = passes("failing-calls");
    assert!(tally.count("calls failed") > 6, "{tally:?}");
    assert!(tally.count("sign-ins acknowledged") > 24, "{tally:?}");
    assert!(tally.count("power cuts afterwards") > 12, "{tally:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_for_want_of_something_is_refused_until_the_want_ends() {
    let tally = passes("starved");
    assert_eq!(tally.count("ordeals recovered from"), 12);
    assert!(
        tally.count("a sign-in without space refused as Full") > 6,
        "{tally:?}"
    );
    assert!(tally.count("tokens read in want") > 24, "{tally:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_damaged_database_is_refused_and_kept_or_answers_rightly() {
    let tally = passes("damage");
    assert_eq!(tally.count("databases: a page of random bytes"), 8);
    assert!(tally.count("refused as Corrupt") > 8, "{tally:?}");
    assert!(tally.count("refused as NewerSchema") >= 8, "{tally:?}");
    assert!(tally.count("tokens read") > 240, "{tally:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn files_are_private_from_the_first_moment_and_never_somebody_elses() {
    let tally = passes("modes");
    assert!(tally.count("calls that make files or folders") > 26, "{tally:?}");
    assert!(tally.count("refused as PermissionDenied") > 6, "{tally:?}");
    assert!(tally.count("sign-ins") > 6, "{tally:?}");
}
