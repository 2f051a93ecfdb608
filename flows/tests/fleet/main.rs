//! Fleets: sixteen processes over one store, each with a cache and a client of its own, that refresh, stop, count and sign out.
//!
//! The processes are this test binary again. See `member` for what they do, `fleet` for how they are told.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test that cannot go on should stop; figures are printed"
)]

mod counter;
mod expiries;
mod fleet;
mod increments;
mod member;
mod place;
mod setup;
mod sign_outs;
mod stopped;

use cache_testkit::oidc_provider::{OidcProvider, Options};
use fleet::Fleet;
use place::{Backend, Ground};
use serde_json::json;
use setup::Setup;

/// How many processes a fleet has.
const PROCESSES: usize = 16;

/// How much of something is done, unless `TOKENKEEP_ROUNDS` says otherwise.
fn rounds(default: u64) -> u64 {
    std::env::var("TOKENKEEP_ROUNDS").map_or(default, |text| {
        text.parse().expect("TOKENKEEP_ROUNDS is a number")
    })
}

/// Every process of every fleet begins here, and is the member that it was [set up](Setup::of_this_process) to be.
#[test]
fn members_share_an_account_and_end_with_their_fleet() {
    if let Some(setup) = Setup::of_this_process() {
        return member::run(setup);
    }
    setup::runtime().block_on(async {
        let provider = OidcProvider::start(Options::default()).await.unwrap();
        let ground = Ground::prepare(Backend::Sqlite).await;
        let setup = Setup::of_provider(&ground, &provider);
        let signed_in = setup.sign_in(0).await;
        let fleet = Fleet::start(&setup, 2);
        for answer in fleet.ask_all(json!({ "do": "token" })).await {
            assert_eq!(answer["token"], setup::fingerprint(&signed_in), "{answer}");
            assert_eq!(answer["source"], "store", "{answer}");
        }
        fleet.end().await;
    });
}
