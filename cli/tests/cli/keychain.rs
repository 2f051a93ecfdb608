//! The operating system's keychain: a real GNOME Keyring on a session bus of the test's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use cache_testkit::authority::{FakeAuthority, Grant};
use cache_testkit::secret_service::{Keyrings, SecretServiceSession};
use serde_json::Value;

use crate::program::{Program, Ran, strict_authority};

const SIGN_IN: [&str; 4] = ["login", "device-code", "--scope", "User.Read"];
const TOKEN: [&str; 3] = ["token", "--scope", "User.Read"];

/// A user's desktop session, with the program in it.
struct Desktop {
    session: SecretServiceSession,
    program: Program,
}

impl Desktop {
    /// With options in place of those for store and key.
    async fn new(authority: &FakeAuthority, options: &[&str]) -> Self {
        Self::within(SecretServiceSession::start().await.unwrap(), authority, options)
    }

    fn within(session: SecretServiceSession, authority: &FakeAuthority, options: &[&str]) -> Self {
        let mut program = Program::of_fake(authority);
        program.without("--key");
        program.options(options);
        Self { session, program }
    }

    async fn run(&self, words: &[&str]) -> Ran {
        let mut command = self.program.command(words);
        self.session.configure(command.as_std_mut());
        command.env("XDG_DATA_HOME", self.program.path("data"));
        Ran::of(command).await
    }

    async fn json(&self, words: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(words);
        self.run(&all).await.succeeded().object()
    }

    async fn failing(&self, words: &[&str], exit: i32) -> Value {
        let mut all = vec!["--json"];
        all.extend(words);
        let ran = self.run(&all).await;
        assert_eq!(ran.exit, Some(exit), "{ran:?}");
        ran.object()["error"].clone()
    }
}

impl Desktop {
    /// A run that fails for the keychain: in time, with its kind and what to do, and without a file that was made or changed.
    async fn refused(&self, words: &[&str], kind: &str, advice: &str) {
        let before = files(self.program.folder());
        let began = SystemClock.monotonic();
        let error = self.failing(words, 4).await;
        let took = SystemClock.monotonic().saturating_sub(began);
        assert!(took < Duration::from_secs(20), "{words:?} took {took:?}");
        assert_eq!(error["kind"], kind, "{error}");
        assert!(error["next"].as_str().unwrap().contains(advice), "{error}");
        assert!(error["next"].as_str().unwrap().contains("--key file:"), "{error}");
        let after = files(self.program.folder());
        let new: Vec<_> = after.iter().filter(|file| !before.contains(file)).collect();
        // A store without a key ring holds nothing; SQLite's own files come and go.
        let is_of_store = |file: &Path| {
            file.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("cache.db")
        };
        assert!(new.iter().all(|file| is_of_store(file)), "{new:?}");
    }
}

/// Every file below the folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Every file below the folder that holds the text.
fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = files(folder);
    found.retain(|path| {
        let content = std::fs::read(path).unwrap_or_default();
        content
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    });
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_in_the_keychain_and_nowhere_else() {
    let authority = strict_authority().await;
    let mut desktop = Desktop::new(&authority, &["--key", "keychain"]).await;
    desktop.json(&SIGN_IN).await;
    let token = desktop.json(&TOKEN).await;
    assert_eq!(token["metadata"]["source"], "store");
    assert!(!desktop.program.path("config").exists(), "a key file was made");
    let secret = token["access_token"].as_str().unwrap();
    assert_eq!(files_with(desktop.program.folder(), secret).len(), 0);
    let items = desktop.session.items().await.unwrap();
    assert_eq!(items.len(), 1, "{items:?}");
    let attributes = format!("{items:?}");
    for name in ["alice", "contoso", authority.base_url()] {
        assert!(!attributes.contains(name), "{attributes}");
    }
    let report = desktop.json(&["doctor"]).await.to_string();
    for words in ["gnome-keyring", "its own key is of the source keychain"] {
        assert!(report.contains(words), "{report}");
    }

    desktop.session.lock().await.unwrap();
    let locked = "unlock your login keyring";
    desktop.refused(&TOKEN, "keychain_locked", locked).await;
    desktop.refused(&SIGN_IN, "keychain_locked", locked).await;
    let report = desktop.run(&["--json", "doctor"]).await;
    assert_eq!(report.exit, Some(4));
    assert!(report.stdout.contains(locked), "{}", report.stdout);
    desktop.session.unlock().await.unwrap();
    desktop.json(&TOKEN).await;

    desktop.session.pause_service().unwrap();
    desktop.refused(&TOKEN, "keychain_not_answering", "hangs").await;
    let waited = desktop.run(&TOKEN).await;
    assert!(
        waited.stderr.contains("a keychain may ask somebody, or hang")
            && !waited.stderr.contains("waiting for the authority"),
        "{}",
        waited.stderr
    );
    desktop.session.resume_service().unwrap();
    desktop.json(&TOKEN).await;

    desktop.session.stop_service();
    desktop
        .refused(&TOKEN, "keychain_absent", "desktop session")
        .await;
    // Another keyring, which the key is not in: no second key is made.
    desktop.session.start_service(Keyrings::New).await.unwrap();
    let error = desktop.failing(&TOKEN, 4).await;
    assert_eq!(error["kind"], "key_source", "{error}");
    let next = error["next"].as_str().unwrap();
    assert!(
        next.contains("`--key keychain`")
            && next.contains("another keychain")
            && !next.contains("quarantine"),
        "{next}"
    );
    let named = [&TOKEN[..], &["--key", "keychain:mistyped"]].concat();
    desktop.program.without("--key");
    let error = desktop.failing(&named, 4).await;
    let next = error["next"].as_str().unwrap();
    assert!(
        next.contains("`--key keychain:mistyped`") && !next.contains("quarantine"),
        "{next}"
    );
    assert_eq!(desktop.session.items().await.unwrap().len(), 0);
    assert_eq!(authority.grant_count(Grant::DeviceCode).issued, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_keychain_nothing_is_kept() {
    let authority = strict_authority().await;
    for session in [
        SecretServiceSession::without_bus().unwrap(),
        SecretServiceSession::start_without_service().await.unwrap(),
    ] {
        let desktop = Desktop::within(session, &authority, &["--key", "keychain"]);
        desktop
            .refused(&SIGN_IN, "keychain_absent", "desktop session")
            .await;
        desktop
            .refused(&TOKEN, "keychain_absent", "desktop session")
            .await;
        let report = desktop.run(&["--json", "doctor"]).await;
        assert_eq!(report.exit, Some(4));
        assert!(report.stdout.contains("desktop session"), "{}", report.stdout);

        let mut desktop = desktop;
        desktop.program.options(&["--store", "keychain"]);
        desktop
            .refused(&SIGN_IN, "keychain_absent", "desktop session")
            .await;
    }
    assert!(authority.requests().is_empty(), "nobody was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_is_taken_by_decision_and_once() {
    let authority = strict_authority().await;
    let headless = SecretServiceSession::start_without_service().await.unwrap();
    let mut desktop = Desktop::within(headless, &authority, &[]);
    let file = desktop.program.path("fallback/key");
    let key = format!("keychain,else=file:{}", file.display());
    desktop.program.options(&["--key", &key]);
    desktop.json(&SIGN_IN).await;
    assert!(file.exists());
    let report = desktop.json(&["doctor"]).await.to_string();
    assert!(report.contains("its own key is of the source file"), "{report}");

    // A keychain that comes later changes nothing.
    desktop.session.start_service(Keyrings::New).await.unwrap();
    desktop.json(&TOKEN).await;
    assert_eq!(desktop.session.items().await.unwrap().len(), 0);

    // What was made with the keychain needs it.
    let mut other = Desktop::new(&authority, &[]).await;
    let file = other.program.path("fallback/key");
    let key = format!("keychain,else=file:{}", file.display());
    other.program.options(&["--key", &key]);
    other.json(&SIGN_IN).await;
    assert!(!file.exists());
    assert_eq!(other.session.items().await.unwrap().len(), 1);
    other.session.stop_service();
    other.refused(&TOKEN, "keychain_absent", "desktop session").await;
    assert!(!file.exists(), "a second key was made");

    // A locked one is there: that is no reason to decide for the other key for good.
    let locked = Desktop::new(&authority, &["--key", &key]).await;
    locked.session.lock().await.unwrap();
    let error = locked.failing(&SIGN_IN, 4).await;
    assert_eq!(error["kind"], "keychain_locked", "{error}");
    assert!(!file.exists());
    assert!(
        !locked.program.path("cache.db").exists(),
        "a store without a ring was left"
    );
    locked.session.unlock().await.unwrap();
    locked.session.pause_service().unwrap();
    let error = locked.failing(&SIGN_IN, 4).await;
    assert_eq!(error["kind"], "keychain_not_answering", "{error}");
    assert!(!file.exists() && !locked.program.path("cache.db").exists());
    locked.session.resume_service().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_phrase_is_asked_for_only_where_there_is_no_keychain() {
    let authority = strict_authority().await;
    let desktop = Desktop::new(&authority, &["--key", "keychain,else=passphrase"]).await;
    // Standard input is empty, so a question would fail.
    desktop.json(&SIGN_IN).await;
    desktop.json(&TOKEN).await;
    let headless = SecretServiceSession::without_bus().unwrap();
    let mut headless = Desktop::within(headless, &authority, &["--key", "keychain,else=passphrase"]);
    headless.failing(&SIGN_IN, 4).await;
    headless.program.set("TOKENKEEP_PASSPHRASE", "correct horse");
    headless.json(&SIGN_IN).await;
    headless.json(&TOKEN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_moves_into_the_keychain_and_out_again() {
    let authority = strict_authority().await;
    let mut desktop = Desktop::new(&authority, &[]).await;
    let file = format!("file:{}", desktop.program.path("key").display());
    desktop.program.options(&["--key", &file]);
    desktop.json(&SIGN_IN).await;
    let moved = desktop
        .json(&["keys", "rewrap", "--new-key", "keychain:my-app"])
        .await;
    assert_eq!(moved["key"], "keychain:my-app");
    desktop.failing(&TOKEN, 4).await;
    desktop.program.options(&["--key", "keychain:my-app"]);
    desktop.json(&TOKEN).await;
    let back = desktop.program.path("back");
    let back = format!("file:{}", back.display());
    desktop.json(&["keys", "rewrap", "--new-key", &back]).await;
    desktop.program.options(&["--key", &back]);
    desktop.session.stop_service();
    desktop.json(&TOKEN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_cache_is_kept_in_the_keychain_itself() {
    let authority = strict_authority().await;
    let key = ["--store", "keychain:my-app", "--key", "keychain"];
    let desktop = Desktop::new(&authority, &key).await;
    let report = desktop.json(&["doctor"]).await.to_string();
    assert!(report.contains("nothing is there yet"), "{report}");
    desktop.failing(&["inspect"], 4).await;
    desktop.json(&SIGN_IN).await;
    let token = desktop.json(&TOKEN).await;
    assert_eq!(token["metadata"]["source"], "store");
    desktop
        .json(&["token", "--scope", "User.Read", "--force-refresh"])
        .await;
    assert_eq!(
        desktop.json(&["keys", "list"]).await["keys"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert!(!desktop.program.path("cache.db").exists());
    let attributes = format!("{:?}", desktop.session.items().await.unwrap());
    for name in ["alice", "contoso", authority.base_url()] {
        assert!(!attributes.contains(name), "{attributes}");
    }
    desktop.json(&["doctor"]).await;
    desktop.session.lock().await.unwrap();
    desktop
        .refused(&TOKEN, "keychain_locked", "unlock your login keyring")
        .await;
    desktop.session.unlock().await.unwrap();
    assert_eq!(desktop.json(&["logout"]).await["removed"], true);
    desktop.failing(&TOKEN, 3).await;
    assert_eq!(authority.families_revoked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_msal_programs_are_used_where_they_are() {
    let authority = strict_authority().await;
    for store in [
        "msal-secret-service:service=my app,account=msal",
        "msal-secret-service:schema=my_schema,kind=tokens",
    ] {
        let desktop = Desktop::new(&authority, &["--store", store]).await;
        let lock = format!("{store},path={}", desktop.program.path("cache.bin").display());
        let mut desktop = desktop;
        desktop.program.options(&["--store", &lock]);
        desktop.failing(&TOKEN, 3).await;
        let signed_in = desktop.run(&SIGN_IN).await.succeeded();
        assert!(
            signed_in.stderr.contains("is not encrypted by this program"),
            "{}",
            signed_in.stderr
        );
        let before = authority.requests().len();
        let token = desktop.json(&TOKEN).await;
        assert_eq!(token["metadata"]["source"], "store");
        assert_eq!(authority.requests().len(), before);
        desktop
            .json(&["token", "--scope", "User.Read", "--force-refresh"])
            .await;
        let items = desktop.session.items().await.unwrap();
        assert_eq!(items.len(), 1, "{items:?}");
        let report = desktop.json(&["doctor"]).await.to_string();
        for words in ["not encrypted by this program", "gnome-keyring"] {
            assert!(report.contains(words), "{report}");
        }

        assert_eq!(desktop.json(&["logout"]).await["removed"], true);
        desktop.failing(&TOKEN, 3).await;

        desktop.session.lock().await.unwrap();
        let error = desktop.failing(&TOKEN, 4).await;
        assert!(error.to_string().contains("nlock"), "{error}");
        let token = token["access_token"].as_str().unwrap();
        assert_eq!(files_with(desktop.program.folder(), token).len(), 0);
    }
    assert_eq!(authority.grant_count(Grant::DeviceCode).issued, 2);
    assert_eq!(authority.families_revoked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_key_is_listed_and_removed_and_the_needed_one_is_not() {
    let authority = strict_authority().await;
    let desktop = Desktop::new(&authority, &["--key", "keychain"]).await;
    desktop.json(&SIGN_IN).await;
    let only = desktop.json(&["keys", "keychain"]).await["keys"].clone();
    let [only] = only.as_array().unwrap().as_slice() else {
        panic!("{only}");
    };
    assert_eq!(only["needed"], true);
    let first = only["item"].as_str().unwrap();
    desktop.failing(&["keys", "keychain", "--remove", first], 2).await;

    let rewrapped = desktop
        .run(&["keys", "rewrap", "--new-key", "keychain"])
        .await
        .succeeded();
    assert!(
        rewrapped.stderr.contains("tokenkeep keys keychain"),
        "{rewrapped:?}"
    );
    let keys = desktop.json(&["keys", "keychain"]).await["keys"].clone();
    let needed: Vec<_> = keys
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["needed"])
        .collect();
    assert_eq!(needed.iter().filter(|needed| ***needed == true).count(), 1);
    assert_eq!(needed.len(), 2);
    desktop.json(&["keys", "keychain", "--remove", first]).await;
    desktop.failing(&["keys", "keychain", "--remove", first], 2).await;
    assert_eq!(desktop.session.items().await.unwrap().len(), 1);
    assert_eq!(desktop.json(&TOKEN).await["metadata"]["source"], "store");
}
