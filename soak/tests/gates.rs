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
    assert_eq!(tally.count("stopped spends"), 12);
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
