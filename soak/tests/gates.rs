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

#[test]
fn others_compute_what_this_computes() {
    let tally = passes("vectors");
    assert!(tally.count("vectors of Wycheproof opened") > 20, "{tally:?}");
    assert!(tally.count("forgeries of Wycheproof refused") > 10, "{tally:?}");
    assert_eq!(tally.count("accumulated vectors of C2SP"), 10_000);
    assert_eq!(tally.count("frozen records opened"), 2);
    assert_eq!(
        tally.count("frozen partitions read and written by both codecs"),
        3
    );
    assert_eq!(tally.count("records of this run opened by Python"), 60);
}

#[test]
fn a_store_that_went_back_is_refused_where_that_can_be_known() {
    let tally = passes("rollback");
    for what in [
        "records refused",
        "records that were a miss",
        "records from before a sign-out refused",
        "key rings refused",
        "records of a whole store refused",
        "limit: the last state of an ended sign-in, put back, served",
        "limit: a whole store put back while no process runs, served",
    ] {
        assert!(tally.count(what) >= 4, "{what}: {tally:?}");
    }
}

#[test]
fn a_clock_that_jumps_makes_no_token_serve_longer_and_no_storm() {
    let tally = passes("clock-jumps");
    assert_eq!(
        tally.count("jumps of both clocks") + tally.count("jumps of one clock"),
        100
    );
    assert!(tally.count("refreshes after such a jump") > 10, "{tally:?}");
}

#[test]
fn secrets_are_where_they_belong_and_nowhere_else() {
    let tally = passes("canaries");
    for end in ["Return", "Panic", "Abort"] {
        assert_eq!(
            tally.count(&format!("processes that ended by {end}")),
            1,
            "{tally:?}"
        );
    }
    assert!(
        tally.count("control: secrets found in a plaintext file") > 3,
        "{tally:?}"
    );
    assert!(tally.count("lines of logs") > 100, "{tally:?}");
    assert!(
        tally.count("bytes of `Debug` and errors searched") > 10_000,
        "{tally:?}"
    );
    assert!(tally.count("files searched") >= 3, "{tally:?}");
}
