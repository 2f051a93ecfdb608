//! Calls to the protected API, and what it refuses.

use std::time::Duration;

use crate::api::Demand;
use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_replaced_once() {
    let scene = Scene::new(1, 3600, &[]).await;
    let mut browser = scene.browser();
    let replica = &scene.replicas[0];
    scene.sign_in(&mut browser, replica).await;
    let call = replica.at("/call-api");
    let page = browser.get(&call).await;
    // Escaped: the API is not trusted with the page.
    assert!(
        page.body.contains("&lt;b&gt;hello&lt;/b&gt; alice"),
        "{}",
        page.body
    );
    for demand in [Demand::NewClaims, Demand::NewToken] {
        let (refused, before) = (scene.api.refused(), scene.provider.statistics().await.unwrap());
        scene.api.demand(demand.clone());
        let page = browser.get(&call).await;
        assert!(page.body.contains("hello"), "{demand:?} {}", page.body);
        let after = scene.provider.statistics().await.unwrap();
        assert_eq!(
            after.refresh_requests(),
            before.refresh_requests() + 1,
            "{demand:?}"
        );
        assert_eq!(scene.api.refused(), refused + 1, "{demand:?}");
    }
    let refused = scene.api.refused();
    scene.api.demand(Demand::Impossible);
    let page = browser.get(&call).await;
    assert_eq!(page.status, 502);
    assert!(page.body.contains("status 401"), "{}", page.body);
    assert_eq!(scene.api.refused(), refused + 2);
    assert_eq!(
        scene.provider.statistics().await.unwrap().refresh_tokens_reused,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demand_that_no_refresh_meets_sends_the_user_once() {
    let scene = Scene::new(1, 3600, &[]).await;
    let mut browser = scene.browser();
    let replica = &scene.replicas[0];
    scene.sign_in(&mut browser, replica).await;
    scene.api.demand(Demand::ImpossibleClaims);
    let call = replica.at("/call-api");
    let page = browser.get(&call).await;
    let asked = page.location().to_owned();
    assert!(asked.starts_with(scene.provider.issuer()), "{asked}");
    assert!(asked.contains("claims=") && asked.contains("acrs"), "{asked}");
    assert!(asked.contains("login_hint=alice"), "{asked}");
    let back = scene.provider.authorize(&asked).await.unwrap();
    assert_eq!(browser.get(&back).await.location(), "/call-api");
    // No redirect, or the browser would turn in circles.
    let page = browser.get(&call).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("does not accept that"), "{}", page.body);
    scene.api.demand(Demand::Nothing);
    assert!(browser.get(&call).await.body.contains("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_refreshed_without_the_user() {
    let scene = Scene::new(2, 2, &[]).await;
    let mut browser = scene.browser();
    scene.sign_in(&mut browser, &scene.replicas[0]).await;
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(2200)).await;
        let page = browser.get(&scene.replicas[round % 2].at("/call-api")).await;
        assert!(page.body.contains("hello"), "{}", page.body);
    }
    let statistics = scene.provider.statistics().await.unwrap();
    assert_eq!(statistics.refresh_tokens_reused, 0);
    assert!(statistics.refresh_requests() >= 3);
}
