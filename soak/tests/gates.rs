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
    assert_eq!(gate.too_seldom(&tally, gate.test_size), Vec::<String>::new());
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
    assert!(tally.count("deletes of unknown outcome") > 10, "{tally:?}");
    assert!(tally.count("reads that were lost") > 10, "{tally:?}");
}

#[test]
fn no_read_and_no_write_of_other_processes_fails_while_keys_rotate() {
    let tally = passes("key-rotation");
    assert_eq!(tally.count("keys retired"), 1);
    assert!(
        tally.count("reads") > 100 && tally.count("writes") > 50,
        "{tally:?}"
    );
    assert!(
        tally.count("operations that began under an older ring") >= 8,
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
    let tally = passes("damaged-databases");
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

#[test]
fn processes_that_count_through_the_cache_lose_no_update() {
    let tally = passes("cached-increments");
    for backend in ["SQLite", "Redis"] {
        let acknowledged = tally.count(&format!("increments acknowledged over {backend}"));
        assert_eq!(acknowledged, 1_280, "{tally:?}");
    }
}

#[test]
fn each_expiry_costs_one_refresh() {
    let tally = passes("rotation-race");
    assert!(tally.count("expiries") >= 80, "{tally:?}");
    let unseen = tally.count("refreshes of tokens that expired unseen");
    assert_eq!(tally.count("expiries") + unseen, tally.count("refreshes"));
    for kind in ["oidc-provider", "glewlwyd"] {
        for backend in ["SQLite", "Redis"] {
            let expiries = tally.count(&format!("expiries at {kind} over {backend}"));
            assert!(expiries >= 20, "{tally:?}");
        }
    }
    assert!(tally.count("answers") > 2 * tally.count("expiries"), "{tally:?}");
}

#[test]
fn a_spender_that_was_stopped_stores_nothing() {
    let tally = passes("stopped-spender");
    assert_eq!(tally.count("processes stopped"), 6);
    assert_eq!(tally.count("spends of stopped processes"), 12);
    for kind in ["oidc-provider", "glewlwyd"] {
        assert_eq!(tally.count(&format!("outcomes typed at {kind}")), 4, "{tally:?}");
        assert!(
            tally.count(&format!("late replies revoked at {kind}")) > 0,
            "{tally:?}"
        );
    }
    assert_eq!(tally.count("sessions that live on where reuse is safe"), 4);
}

#[test]
fn a_refresh_in_flight_does_not_bring_an_account_back() {
    let tally = passes("removal-race");
    assert_eq!(tally.count("removals"), 24);
    assert_eq!(tally.count("removed with the reply in hand"), 12);
    assert!(tally.count("late replies revoked") >= 12, "{tally:?}");
}

#[test]
fn a_token_whose_reply_was_lost_is_never_sent_again() {
    let tally = passes("lost-reply");
    assert_eq!(tally.count("replies lost"), 16);
    assert_eq!(tally.count("tokens sent again"), 0);
    assert_eq!(tally.count("callers told, each by a typed outcome"), 128);
}

#[test]
fn whoever_is_killed_with_a_reply_costs_one_sign_in_at_most() {
    let tally = passes("killed-spender");
    assert_eq!(tally.count("processes killed"), 16);
    let lost = tally.count("replies lost by the kill");
    assert!(lost >= 8, "{tally:?}");
    assert_eq!(tally.count("re-authentications"), lost);
    assert_eq!(lost + tally.count("commits that were before the kill"), 16);
    assert_eq!(tally.count("windows measured"), 16);
}

#[test]
fn a_primary_that_is_killed_loses_nothing_that_all_replicas_have() {
    let tally = passes("redis-failover");
    for deciders in ["Sentinel", "Cluster"] {
        for promise in ["durable", "acknowledged"] {
            let of = |what: &str| tally.count(&format!("{deciders}, {promise}: {what}"));
            assert_eq!(of("kills"), 1);
            assert!(of("increments acknowledged") > 100, "{tally:#?}");
            assert!(of("sign-ins and sign-outs acknowledged") > 20, "{tally:#?}");
            assert!(of("attempts that failed") > 0, "{tally:#?}");
            assert!(of("reads after sleeping through a failover") >= 11, "{tally:#?}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_primary_that_is_cut_off_acknowledges_nothing_that_must_be_replicated() {
    let tally = passes("redis-partition");
    for deciders in ["Sentinel", "Cluster"] {
        let durable = |what: &str| tally.count(&format!("{deciders}, durable: {what}"));
        assert_eq!(durable("cuts"), 1);
        assert_eq!(durable("acknowledged by the old primary alone"), 0);
        assert_eq!(durable("increments acknowledged and lost"), 0);
        assert!(durable("attempts of unknown outcome") > 0, "{tally:#?}");
        assert!(durable("increments acknowledged") > 100, "{tally:#?}");
    }
    // That is the promise of this mode, and the reason for the other. (Primaries of a Cluster stop by themselves within a second.)
    for what in [
        "acknowledged by the old primary alone",
        "increments acknowledged and lost",
        "reads beside the old primary",
    ] {
        let number = tally.count(&format!("Sentinel, acknowledged: {what}"));
        assert!(number > 0, "{what}: {tally:#?}");
    }
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
        tally.count("swapped records under a cache found as WrongLocation") > 80,
        "{tally:?}"
    );
    // Of eight records, each with each other.
    assert_eq!(tally.count("pairs swapped in a store"), 28);
    assert!(
        tally.count("swapped records under a cache found as RingUnreadable") == 7,
        "{tally:?}"
    );
    for kind in ["User", "Session", "App", "ProofKey", "Directory", "KeyRing"] {
        assert_eq!(
            tally.count(&format!("records damaged under a cache: {kind}")),
            1,
            "{tally:?}"
        );
    }
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
        "limit: a record put back before a process that starts, served",
        "limit: a key ring put back before a process that starts, opened",
        "records under a newer key than those of the ring that was put back, refused",
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
    for end in ["Return", "Panic", "Abort", "AbortWithDump"] {
        assert_eq!(
            tally.count(&format!("processes that ended by {end}")),
            1,
            "{tally:?}"
        );
    }
    // A process that forbids nothing leaves its secrets in a core dump, wherever the system writes one.
    let dumped = tally.count("control: core dumps of processes that do not forbid them");
    let none =
        "control: processes that left no core dump although they do not forbid it, as the system writes none";
    assert_eq!(dumped + tally.count(none), 1, "{tally:?}");
    assert_eq!(
        tally.count("control: environments in which the key was found that came by it")
            + tally.count("environments that only root may read"),
        4,
        "{tally:?}"
    );
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

#[cfg(target_os = "linux")]
#[test]
fn a_front_end_and_its_workers_live_on_while_things_go_wrong() {
    let tally = passes("endurance");
    assert_eq!(tally.count("users served by a process in the end"), 4 * 3 * 6);
    for fault in [
        "replies of the issuer lost",
        "the issuer away for seconds",
        "a worker killed and started anew",
        "a process stopped past its deadline",
        "all connections to Redis closed",
        "Redis paused",
        "Redis restarted",
        "the database locked by another process",
        "keys of the cache rotated",
    ] {
        assert!(tally.count(&format!("fault: {fault}")) > 0, "{fault}: {tally:?}");
    }
    assert!(tally.count("tokens out of memory") > 500, "{tally:?}");
    assert!(tally.count("tokens out of the issuer") > 20, "{tally:?}");
    assert!(
        tally.count("tokens whose owner the issuer was asked") > 50,
        "{tally:?}"
    );
    assert!(tally.count("sign-outs") > 12, "{tally:?}");
    assert!(tally.count("refreshes granted") > 15, "{tally:?}");
    assert!(tally.count("samples of memory and descriptors") > 30, "{tally:?}");
}
