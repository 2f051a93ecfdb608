//! Several front ends on one store.

use cache_testkit::oidc_provider::USERNAME;

use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_holds_at_all_replicas_and_ends_at_all_of_them() {
    let scene = Scene::new(2, 3600, &[]).await;
    let [one, two] = &scene.replicas[..] else {
        unreachable!()
    };
    let mut browser = scene.browser();
    scene.sign_in(&mut browser, one).await;
    // Cookies know no ports, so this is what a load balancer does.
    let home = browser.get(&two.at("/")).await;
    assert!(home.body.contains(USERNAME), "{}", home.body);
    let answer = browser.get(&two.at("/call-api")).await;
    assert!(answer.body.contains("hello"), "{}", answer.body);
    let mut elsewhere = scene.browser();
    scene.sign_in(&mut elsewhere, two).await;

    // A sign-in gives the browser another session, and the one from before is over.
    let before = browser.clone();
    scene.sign_in(&mut browser, one).await;
    assert_ne!(before.cookie("__Host-session"), browser.cookie("__Host-session"));
    for replica in [one, two] {
        let page = before.clone().get(&replica.at("/")).await;
        assert!(page.body.contains("You are not signed in"));
    }

    // Whoever copied the cookie has nothing after the sign-out, wherever they go.
    let mut thief = browser.clone();
    let home = browser.get(&one.at("/")).await;
    let form = format!("csrf_token={}", home.csrf_token());
    let page = browser.post(&one.at("/sign-out"), Some(&one.url), &form).await;
    assert_eq!(page.location(), "/signed-out");
    let page = browser.get(&one.at("/signed-out")).await;
    assert!(page.body.contains("You are signed out"), "{}", page.body);
    assert!(page.body.contains("/session/end?client_id="), "{}", page.body);
    for replica in [one, two] {
        for browser in [&mut thief, &mut elsewhere] {
            let page = browser.get(&replica.at("/")).await;
            assert!(page.body.contains("You are not signed in"));
            let page = browser.get(&replica.at("/call-api")).await;
            assert_eq!(page.location(), "/sign-in?return_to=/call-api");
        }
    }
    // A later sign-in of the same user brings none of them back.
    scene.sign_in(&mut browser, two).await;
    assert!(browser.get(&one.at("/")).await.body.contains(USERNAME));
    assert!(
        thief
            .get(&two.at("/"))
            .await
            .body
            .contains("You are not signed in")
    );
    // The refresh token of the sign-out was revoked at the issuer.
    assert!(scene.provider.statistics().await.unwrap().grants_revoked >= 1);
}
