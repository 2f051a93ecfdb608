//! Sign-ins that somebody else began, ended or aimed elsewhere.

use cache_testkit::oidc_provider::USERNAME;

use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_belongs_to_one_browser_and_is_used_once() {
    let scene = Scene::new(1, 3600, &[]).await;
    let replica = &scene.replicas[0];
    let (mut victim, mut attacker) = (scene.browser(), scene.browser());
    let begun = attacker.get(&replica.at("/sign-in")).await;
    let forged = scene.provider.authorize(begun.location()).await.unwrap();

    // The attacker's answer in the victim's browser, which has begun one of its own, or none.
    for _ in 0..2 {
        let page = victim.get(&forged).await;
        assert_eq!(page.status, 400, "{}", page.body);
        assert!(victim.cookie("__Host-session").is_none());
        victim.get(&replica.at("/sign-in")).await;
    }
    // The victim's own state with the attacker's code.
    let own = victim.get(&replica.at("/sign-in")).await;
    let own = scene.provider.authorize(own.location()).await.unwrap();
    let parameter = |url: &str, name: &str| {
        let url = reqwest::Url::parse(url).unwrap();
        url.query_pairs()
            .find(|(known, _)| known == name)
            .unwrap()
            .1
            .into_owned()
    };
    let (code, state) = (parameter(&forged, "code"), parameter(&own, "state"));
    let iss = parameter(&own, "iss");
    let page = victim
        .get(&replica.at(&format!("/signed-in?code={code}&state={state}&iss={iss}")))
        .await;
    assert_eq!(page.status, 400, "{}", page.body);
    assert!(victim.cookie("__Host-session").is_none());

    // The same again: the browser has lost what it would need.
    let own = victim.get(&replica.at("/sign-in")).await;
    let own = scene.provider.authorize(own.location()).await.unwrap();
    let kept = victim.clone();
    assert_eq!(victim.get(&own).await.status, 303);
    assert_eq!(victim.get(&own).await.status, 400);
    assert!(victim.get(&replica.at("/")).await.body.contains(USERNAME));
    // A browser that keeps it all the same is refused by the issuer.
    let mut kept = kept;
    let page = kept.get(&own).await;
    assert_eq!(page.status, 400, "{}", page.body);
    assert!(kept.cookie("__Host-session").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_others_are_refused_and_shown_as_text() {
    let scene = Scene::new(1, 3600, &[]).await;
    let replica = &scene.replicas[0];
    let mut browser = scene.browser();
    let begin = async |browser: &mut crate::browser::Browser| {
        let begun = browser.get(&replica.at("/sign-in")).await;
        let url = reqwest::Url::parse(begun.location()).unwrap();
        url.query_pairs()
            .find(|(name, _)| name == "state")
            .unwrap()
            .1
            .into_owned()
    };
    let issuer = scene.provider.issuer();
    let state = begin(&mut browser).await;
    let page = browser
        .get(&replica.at(&format!(
            "/signed-in?error=access_denied&error_description=%3Cscript%3Ealert(1)%3C/script%3E&state={state}&iss={issuer}"
        )))
        .await;
    assert_eq!(page.status, 400);
    assert!(page.body.contains("access_denied"), "{}", page.body);
    assert!(
        page.body.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{}",
        page.body
    );
    assert!(!page.body.contains("<script"), "{}", page.body);
    // It is over: the user starts again, and nobody goes on with it.
    assert!(browser.cookie("__Host-sign-in-").is_none());

    for answer in [
        "code=a&iss=https://evil.example",
        "code=a",
        "iss=ISSUER",
        "code=a&code=b&iss=ISSUER",
    ] {
        let state = begin(&mut browser).await;
        let answer = answer.replace("ISSUER", issuer);
        let page = browser
            .get(&replica.at(&format!("/signed-in?{answer}&state={state}")))
            .await;
        assert!(page.status >= 400, "{answer}");
        assert!(browser.cookie("__Host-session").is_none(), "{answer}");
    }
    for answer in ["", "?code=a", "?state=", "?state=a&code=b"] {
        assert_eq!(
            browser
                .get(&replica.at(&format!("/signed-in{answer}")))
                .await
                .status,
            400
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_leads_back_to_listed_pages_only() {
    let scene = Scene::new(1, 3600, &["--return-to", "/reports"]).await;
    let mut browser = scene.browser();
    let replica = &scene.replicas[0];
    for listed in ["/", "/call-api", "/reports"] {
        let page = browser
            .get(&replica.at(&format!("/sign-in?return_to={listed}")))
            .await;
        assert_eq!(page.status, 303, "{listed}");
    }
    for other in [
        "//evil.example",
        "/%5Cevil.example",
        "%2F%2Fevil.example",
        "%252F%252Fevil.example",
        "/%09/evil.example",
        "https://evil.example/",
        "https:%2F%2Fevil.example",
        "javascript:alert(1)",
        "/call-api%3Fnext=//evil.example",
        "/call-api%0D%0Aset-cookie:a=b",
        "/sign-out",
        "",
    ] {
        let page = browser
            .get(&replica.at(&format!("/sign-in?return_to={other}")))
            .await;
        assert_eq!(page.status, 400, "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_sign_in_beside_each_other_and_many_do_not_fill_the_browser() {
    let scene = Scene::new(1, 3600, &[]).await;
    let mut browser = scene.browser();
    let replica = &scene.replicas[0];
    let mut begun = Vec::new();
    for _ in 0..6 {
        begun.push(browser.get(&replica.at("/sign-in")).await);
        // Their age says which goes first.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let pending = browser
        .cookies
        .iter()
        .filter(|(name, _)| name.starts_with("__Host-sign-in-"));
    assert_eq!(pending.count(), 4);
    for (place, begun) in begun.iter().enumerate() {
        let back = scene.provider.authorize(begun.location()).await.unwrap();
        let status = browser.get(&back).await.status;
        assert_eq!(status, if place < 2 { 400 } else { 303 }, "{place}");
    }
}
