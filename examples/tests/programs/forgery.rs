//! Requests that another site has the browser make.

use cache_testkit::oidc_provider::USERNAME;

use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_signs_the_user_out() {
    let scene = Scene::new(1, 3600, &[]).await;
    let replica = &scene.replicas[0];
    let (mut browser, mut other) = (scene.browser(), scene.browser());
    scene.sign_in(&mut browser, replica).await;
    scene.sign_in(&mut other, replica).await;
    let home = browser.get(&replica.at("/")).await;
    let own = format!("csrf_token={}", home.csrf_token());
    let others = format!("csrf_token={}", other.get(&replica.at("/")).await.csrf_token());
    assert_ne!(own, others);
    let (sign_out, origin) = (replica.at("/sign-out"), Some(replica.url.as_str()));

    for (origin, form) in [
        (origin, ""),
        (origin, "csrf_token="),
        (origin, "csrf_token=wrong"),
        (origin, &others),
        (Some("https://evil.example"), &own),
        (Some("null"), &own),
        (None, &own),
    ] {
        let page = browser.post(&sign_out, origin, form).await;
        assert_eq!(page.status, 403, "{origin:?} {form}");
        assert!(page.set_cookies("").is_empty());
        let home = browser.get(&replica.at("/")).await;
        assert!(home.body.contains(USERNAME), "{origin:?} {form}");
    }
    // An image or a link signs nobody out, and a long body is not read.
    assert_eq!(browser.get(&sign_out).await.status, 405);
    let long = format!("csrf_token={}", "a".repeat(8 * 1024));
    assert_eq!(browser.post(&sign_out, origin, &long).await.status, 413);
    assert!(browser.get(&replica.at("/")).await.body.contains(USERNAME));

    let page = browser.post(&sign_out, origin, &own).await;
    assert_eq!((page.status, page.location()), (303, "/signed-out"));
    assert!(browser.cookie("__Host-session").is_none());
}

/// Without a session nobody knows whose tokens to remove, so nobody is told that it was done.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_by_itself_signs_nobody_out() {
    let scene = Scene::new(1, 3600, &["--session-idle", "1"]).await;
    let replica = &scene.replicas[0];
    let mut browser = scene.browser();
    scene.sign_in(&mut browser, replica).await;
    let home = browser.get(&replica.at("/")).await;
    let form = format!("csrf_token={}", home.csrf_token());
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let page = browser
        .post(&replica.at("/sign-out"), Some(&replica.url), &form)
        .await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("nothing else was ended"), "{}", page.body);
    assert!(browser.cookie("__Host-session").is_none());
    let done = scene.work().await;
    assert_eq!(done[0]["outcome"], "called", "the worker goes on: {done:?}");
}
