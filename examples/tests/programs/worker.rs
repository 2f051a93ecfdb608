//! The worker, beside a front end.

use std::time::Duration;

use crate::api::Demand;
use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn it_acts_while_the_user_is_away_and_leaves_alone_whoever_must_come_back() {
    let scene = Scene::new(1, 2, &[]).await;
    let replica = &scene.replicas[0];
    assert!(scene.work().await.is_empty(), "nobody has signed in yet");
    let mut browser = scene.browser();
    scene.sign_in(&mut browser, replica).await;
    tokio::time::sleep(Duration::from_millis(2200)).await;
    let said = scene.work().await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        (&said[0]["outcome"], &said[0]["token_from"]),
        (&"called".into(), &"authority".into())
    );
    assert!(!said[0].to_string().contains("alice"), "{said:?}");
    assert_eq!(scene.api.answered(), 1);

    // The API wants the user. The worker says so once, and does not ask again.
    scene.api.demand(Demand::ImpossibleClaims);
    let said = scene.work().await;
    assert_eq!(said.len(), 1);
    assert_eq!(said[0]["outcome"], "needs_user", "{said:?}");
    let refused = scene.api.refused();
    scene.api.demand(Demand::Nothing);
    assert!(scene.work().await.is_empty());
    assert_eq!(scene.api.refused(), refused);

    // Until the user comes back.
    scene.sign_in(&mut browser, replica).await;
    assert_eq!(scene.work().await[0]["outcome"], "called");
    assert_eq!(
        scene.provider.statistics().await.unwrap().refresh_tokens_reused,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_refuses_is_said_and_tried_again() {
    let scene = Scene::new(1, 3600, &[]).await;
    let mut browser = scene.browser();
    scene.sign_in(&mut browser, &scene.replicas[0]).await;
    scene.api.demand(Demand::Impossible);
    let said = scene.work().await;
    assert_eq!(
        (&said[0]["outcome"], &said[0]["status"]),
        (&"refused".into(), &401.into())
    );
    scene.api.demand(Demand::Nothing);
    let said = crate::process::run(scene.worker(&["--once", "--name-accounts"])).await;
    assert!(said.contains(r#""account":"alice","outcome":"called""#), "{said}");
}
