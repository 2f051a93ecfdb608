//! Many processes at once over one account whose token has expired: the case that rotation punishes.

use cache_testkit::oidc_provider::{OidcProvider, Options};
use futures_util::future::join_all;

use crate::program::{Program, wait_until_expired};

const PROCESSES: usize = 8;

/// How many rounds are played unless `TOKENKEEP_ROUNDS` says otherwise.
const ROUNDS: u64 = 10;

fn rounds() -> u64 {
    std::env::var("TOKENKEEP_ROUNDS")
        .map_or(ROUNDS, |text| text.parse().expect("TOKENKEEP_ROUNDS is a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_make_one_refresh_a_round() {
    let provider = OidcProvider::start(Options::default()).await.unwrap();
    let program = Program::of_provider(&provider);
    program.sign_in(&provider).await;
    let words = ["token", "--scope", "api:read"];
    for round in 1..=rounds() {
        // A token that expires at once, before a crowd whose own token does not: else the slowest of the
        // crowd would rightly ask for yet another.
        provider.set_access_token_ttl(1).await.unwrap();
        let short = program.json(&[&words[..], &["--force-refresh"]].concat()).await;
        provider.set_access_token_ttl(3600).await.unwrap();
        wait_until_expired(&short["expires_on"]).await;
        let before = provider.statistics().await.unwrap();

        let objects = join_all((0..PROCESSES).map(|_| program.json(&words))).await;
        let token = &objects[0]["access_token"];
        assert!(token.is_string() && *token != short["access_token"]);
        assert!(
            objects.iter().all(|object| object["access_token"] == *token),
            "round {round}"
        );
        let asked = objects
            .iter()
            .filter(|object| object["metadata"]["source"] == "authority")
            .count();
        assert_eq!(asked, 1, "round {round}");

        let after = provider.statistics().await.unwrap();
        assert_eq!(
            after.refresh_requests(),
            before.refresh_requests() + 1,
            "round {round}"
        );
        assert_eq!(
            after.refresh_tokens_consumed,
            before.refresh_tokens_consumed + 1,
            "round {round}"
        );
        assert_eq!(
            (after.refresh_tokens_reused, after.grants_revoked),
            (0, 0),
            "round {round}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_scope_sets_at_once_never_spend_a_token_twice() {
    let provider = OidcProvider::start(Options {
        access_token_ttl_seconds: 1,
    })
    .await
    .unwrap();
    let program = Program::of_provider(&provider);
    program.sign_in(&provider).await;
    // Held back, so that both are certainly under way at the same time.
    provider.set_token_delay(300).await.unwrap();
    provider.set_access_token_ttl(3600).await.unwrap();
    crate::program::pause(2100).await;
    let (narrow, wide) = tokio::join!(
        program.json(&["token", "--scope", "api:read"]),
        program.json(&["token", "--scope", "openid profile api:read"]),
    );
    assert!(narrow["access_token"].is_string() && wide["access_token"].is_string());
    let statistics = provider.statistics().await.unwrap();
    assert!((1..=2).contains(&statistics.refresh_requests()), "{statistics:?}");
    assert_eq!(statistics.refresh_tokens_consumed, statistics.refresh_requests());
    assert_eq!(
        (statistics.refresh_tokens_reused, statistics.grants_revoked),
        (0, 0)
    );
}
