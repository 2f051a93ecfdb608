//! What the browser holds, and what becomes of it when somebody meddles.

use std::time::Duration;

use cache_testkit::oidc_provider::USERNAME;

use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn the_cookies_stay_with_the_browser_and_say_nothing() {
    let scene = Scene::new(1, 3600, &[]).await;
    let mut browser = scene.browser();
    let replica = &scene.replicas[0];
    let begun = browser.get(&replica.at("/sign-in?return_to=/call-api")).await;
    let back = scene.provider.authorize(begun.location()).await.unwrap();
    let signed_in = browser.get(&back).await;
    assert_eq!(signed_in.location(), "/call-api");
    let session = signed_in.set_cookies("__Host-session=");
    let pending = begun.set_cookies("__Host-sign-in-");
    assert_eq!((session.len(), pending.len()), (1, 1));
    for cookie in session.iter().chain(&pending) {
        for attribute in ["; HttpOnly", "; SameSite=Lax", "; Secure", "; Path=/"] {
            assert!(cookie.contains(attribute), "{attribute} in {cookie}");
        }
        assert!(!cookie.contains("Domain"), "{cookie}");
    }
    // The redirect's state is the cookie's, which does not show it.
    let (_, state) = begun.location().split_once("&state=").unwrap();
    let state = state.split('&').next().unwrap();
    assert!(!pending[0].contains(state), "{}", pending[0]);
    // It was used, so it is gone.
    assert!(browser.cookie("__Host-sign-in-").is_none());

    let page = browser.get(&replica.at("/")).await;
    assert!(page.body.contains(USERNAME), "{}", page.body);
    for (name, part) in [
        ("content-security-policy", "default-src 'none'"),
        ("content-security-policy", "frame-ancestors 'none'"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert!(page.headers[name].to_str().unwrap().contains(part), "{name}");
    }
    let missing = browser.get(&replica.at("/nowhere")).await;
    assert_eq!(missing.status, 404);
    assert!(missing.headers.contains_key("content-security-policy"));

    // And whoever reads the store learns neither the user nor anything of the cookie.
    let stored = scene.stored();
    assert!(stored.contains("web-sessions"));
    let value = &browser.cookie("__Host-session").unwrap().1;
    for secret in [USERNAME, "alice", page.csrf_token(), value] {
        assert!(!stored.contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_was_not_made_here_names_no_session() {
    let scene = Scene::new(1, 3600, &[]).await;
    let mut browser = scene.browser();
    let replica = &scene.replicas[0];
    scene.sign_in(&mut browser, replica).await;
    let (name, value) = browser.cookie("__Host-session").unwrap().clone();
    let flipped = |at: usize| {
        let mut bytes = value.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    browser.get(&replica.at("/sign-in")).await;
    let pending = browser.cookie("__Host-sign-in-").unwrap().1.clone();
    for forged in [
        flipped(0),
        flipped(value.len() / 2),
        value[..value.len() - 4].to_owned(),
        // Encrypted here, but as another cookie.
        pending,
        format!("{}.0", "A".repeat(43)),
        String::new(),
    ] {
        browser.set_cookie(&name, &forged);
        let page = browser.get(&replica.at("/")).await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains("You are not signed in"), "{forged}");
    }
    browser.set_cookie(&name, &value);
    assert!(browser.get(&replica.at("/")).await.body.contains(USERNAME));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_by_itself() {
    let idle = Scene::new(1, 3600, &["--session-idle", "3"]).await;
    let absolute = Scene::new(1, 3600, &["--session-lifetime", "2"]).await;
    let (mut left, mut busy) = (idle.browser(), absolute.browser());
    idle.sign_in(&mut left, &idle.replicas[0]).await;
    absolute.sign_in(&mut busy, &absolute.replicas[0]).await;
    // Used all the time, which helps the one and not the other.
    for _ in 0..16 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert!(left.get(&idle.replicas[0].at("/")).await.body.contains(USERNAME));
        busy.get(&absolute.replicas[0].at("/")).await;
    }
    let page = busy.get(&absolute.replicas[0].at("/")).await;
    assert!(page.body.contains("You are not signed in"));
    tokio::time::sleep(Duration::from_millis(3300)).await;
    let page = left.get(&idle.replicas[0].at("/")).await;
    assert!(page.body.contains("You are not signed in"));
}
