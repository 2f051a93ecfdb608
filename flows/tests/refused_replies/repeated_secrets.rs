//! Authorities that repeat what they refuse: "Invalid refresh token: 8xLOxBtZp8". Errors are logged, and say it to nobody.

use std::error::Error as _;
use std::fmt::Write;

use flows::{Error, IdTokenVerification};

use crate::scene::Scene;

const SECRETS: [&str; 4] = ["client_secret", "code", "code_verifier", "refresh_token"];

/// All that a program can show of `error`.
fn shown(error: &Error) -> String {
    let mut shown = format!("{error:?} {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(shown, " {error}").unwrap();
        cause = error.source();
    }
    let refusal = match error {
        Error::Authority(refusal) => Some(&**refusal),
        Error::InteractionRequired(required) => required.refusal(),
        _ => None,
    };
    let refusal = refusal.expect("a refusal");
    for text in [refusal.trace_id(), refusal.timestamp(), refusal.error_uri()] {
        write!(shown, " {}", text.unwrap()).unwrap();
    }
    shown
}

/// How many secrets were posted and repeated, and are not in `error`.
fn kept(scene: &Scene, error: &Error) -> usize {
    let shown = shown(error);
    let repeated = scene.wire.repeated();
    let secrets: Vec<_> = repeated
        .iter()
        .filter(|(name, _)| SECRETS.contains(&&**name))
        .collect();
    for (name, value) in &secrets {
        assert!(!shown.contains(value), "{name}: {shown}");
        assert!(shown.contains(&format!("Invalid {name}: [redacted]")), "{shown}");
    }
    // The rest of what the authority says is there to be read.
    assert!(shown.contains("Invalid grant_type: "), "{shown}");
    secrets.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_repeats_secrets_in_its_refusals_is_not_repeated() {
    let scene = Scene::new(IdTokenVerification::WhereNotOverTls).await;
    scene.sign_in().await.unwrap();
    let account = scene.account().await;

    scene.wire.repeat_request();
    let refused = scene.silent(&account, "Mail.Read").await.unwrap_err();
    assert_eq!(
        kept(&scene, &refused),
        2,
        "the refresh token and the client's secret"
    );
    // They would go through the browser.
    let Error::InteractionRequired(required) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(required.claims(), None);

    scene.wire.repeat_request();
    let refused = scene.sign_in().await.unwrap_err();
    assert_eq!(
        kept(&scene, &refused),
        3,
        "the code, its verifier and the client's secret"
    );
}
