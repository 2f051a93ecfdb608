//! The front end with Entra, as the fake authority plays it: continuous access evaluation, and two users beside each other.

use std::process::Command;

use cache_testkit::authority::{
    ALICE, BOB, CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET, Client, Config, FakeAuthority, HOME_TENANT, Script,
    ScriptedError,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

use crate::browser::{Browser, Page};
use crate::process::{Process, free_port, wait_for};

struct Entra {
    authority: FakeAuthority,
    url: String,
    trusted: String,
    _process: Process,
    _folder: TempDir,
}

impl Entra {
    async fn new() -> Self {
        let port = free_port();
        let url = format!("https://localhost:{port}");
        let client = Client::confidential(CONFIDENTIAL_CLIENT, CONFIDENTIAL_SECRET)
            .redirect_uri(&format!("{url}/signed-in"));
        let authority = FakeAuthority::start(Config::default().client(client))
            .await
            .unwrap();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let ca = authority.ca_pem().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_front-end"));
        command
            .args([
                "--store",
                &format!("sqlite:{}", folder.path().join("cache.db").display()),
            ])
            .args(["--key", &format!("file:{}", folder.path().join("key").display())])
            .args([
                "--authority",
                &format!("entra:{}", authority.authority_url(HOME_TENANT)),
            ])
            .args(["--client-id", CONFIDENTIAL_CLIENT])
            .args([
                "--client-secret",
                &format!("file:{}", file("secret", CONFIDENTIAL_SECRET)),
            ])
            .args(["--scope", "User.Read", "--api", &authority.resource_url()])
            .args(["--ca-certificates", &file("ca.pem", ca)])
            .args(["--public-url", &url, "--listen", &format!("127.0.0.1:{port}")])
            .args(["--tls-certificate", &file("tls.crt", &cert.pem())])
            .args(["--tls-key", &file("tls.key", &signing_key.serialize_pem())]);
        let process = Process::start(&mut command);
        wait_for(port).await;
        Self {
            trusted: format!("{ca}\n{}", cert.pem()),
            authority,
            url,
            _process: process,
            _folder: folder,
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Follows the redirects from `page`, as whoever has a session at the authority.
    async fn follow(&self, browser: &mut Browser, mut page: Page) -> Page {
        for _ in 0..6 {
            if page.status < 300 || page.status >= 400 {
                return page;
            }
            let location = page.location().to_owned();
            let url = if location.starts_with('/') {
                self.at(&location)
            } else {
                location
            };
            page = browser.get(&url).await;
        }
        panic!("it redirects without end");
    }

    async fn sign_in(&self, browser: &mut Browser, username: &str) {
        self.authority.set_signed_in_user(Some(username));
        let page = browser.get(&self.at("/sign-in")).await;
        let page = self.follow(browser, page).await;
        assert!(page.body.contains(username), "{}", page.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_answered_by_a_refresh_and_a_revocation_by_the_user() {
    let entra = Entra::new().await;
    let mut browser = Browser::trusting(&entra.trusted);
    entra.sign_in(&mut browser, ALICE).await;
    let call = entra.at("/call-api");
    let page = browser.get(&call).await;
    assert!(page.body.contains(ALICE), "{}", page.body);

    // The front end promised to answer challenges, so its tokens live on until there is one.
    entra.authority.raise_access_event(ALICE).unwrap();
    let page = browser.get(&call).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(
        page.body.contains(r#"<span id="source">authority</span>"#),
        "{}",
        page.body
    );

    entra.authority.revoke_user(ALICE).unwrap();
    let demanded = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let refusal = ScriptedError::claims_challenge(demanded).suberror("basic_action");
    entra.authority.script(Script::error(refusal));
    let page = browser.get(&call).await;
    let asked = reqwest::Url::parse(page.location()).unwrap();
    let claims = asked
        .query_pairs()
        .find(|(name, _)| name == "claims")
        .unwrap()
        .1
        .into_owned();
    assert!(claims.contains("acrs") && claims.contains("c1"), "{claims}");
    let page = entra.follow(&mut browser, page).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(
        page.body.contains("The API answered") && page.body.contains(ALICE),
        "{}",
        page.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_of_one_front_end_never_meet() {
    let entra = Entra::new().await;
    let (mut alice, mut bob) = (
        Browser::trusting(&entra.trusted),
        Browser::trusting(&entra.trusted),
    );
    entra.sign_in(&mut alice, ALICE).await;
    entra.sign_in(&mut bob, BOB).await;
    let check = async |browser: &mut Browser, own: &str, other: &str| {
        for path in ["/", "/call-api"] {
            let page = browser.get(&entra.at(path)).await;
            assert!(
                page.body.contains(own) && !page.body.contains(other),
                "{}",
                page.body
            );
        }
    };
    check(&mut alice, ALICE, BOB).await;
    check(&mut bob, BOB, ALICE).await;

    // One signs out, and the other does not notice.
    let home = alice.get(&entra.at("/")).await;
    let form = format!("csrf_token={}", home.csrf_token());
    alice.post(&entra.at("/sign-out"), Some(&entra.url), &form).await;
    assert!(
        alice
            .get(&entra.at("/"))
            .await
            .body
            .contains("You are not signed in")
    );
    check(&mut bob, BOB, ALICE).await;

    // The same browser, another user: nothing of the first is left.
    entra.sign_in(&mut alice, BOB).await;
    check(&mut alice, BOB, ALICE).await;
}
