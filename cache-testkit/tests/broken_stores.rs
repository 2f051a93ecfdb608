//! Each rule of the suite catches the store that breaks it, and none of them complains of a store that is right.

use std::collections::BTreeSet;
use std::future::Future;

use cache_testkit::broken::{BrokenHarness, Flaw};
use cache_testkit::suite::{self, CASES, Case};

#[test]
fn a_store_without_flaw_keeps_every_rule() {
    for case in CASES {
        on_virtual_time(async move { case.check(&BrokenHarness::new(None)).await });
    }
}

#[test]
fn one_harness_serves_all_rules_in_turn() {
    on_virtual_time(async { suite::run(&BrokenHarness::new(None)).await });
}

#[test]
fn every_flaw_is_caught() {
    let mut missed = Vec::new();
    for &flaw in Flaw::ALL {
        for &rule in flaw.caught_by() {
            if !breaks(flaw, rule) {
                missed.push(format!("{flaw:?} is not caught by {rule}"));
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn every_rule_catches_a_flaw() {
    let caught: BTreeSet<&str> = Flaw::ALL
        .iter()
        .flat_map(|flaw| flaw.caught_by())
        .copied()
        .collect();
    let rules: BTreeSet<&str> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(caught, rules, "the rules that catch a flaw, and all rules");
}

/// Whether a store with the flaw fails the rule.
fn breaks(flaw: Flaw, rule: &str) -> bool {
    let case = Case::named(rule).unwrap_or_else(|| panic!("the suite has no rule {rule}"));
    on_virtual_time(async move {
        let check = tokio::spawn(async move { case.check(&BrokenHarness::new(Some(flaw))).await });
        match check.await {
            Ok(()) => false,
            Err(error) => error.is_panic(),
        }
    })
}

/// Runs on a runtime whose time passes at once when all tasks wait, so that a rule that waits in vain for a
/// message gives up without delay.
fn on_virtual_time<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap_or_else(|error| panic!("no runtime for the test: {error}"))
        .block_on(test)
}
