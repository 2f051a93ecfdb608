//! The operating system's keychain: a real GNOME Keyring on a session bus of the test's own.

use std::path::Path;

use cache_testkit::authority::{FakeAuthority, Grant};
use cache_testkit::secret_service::SecretServiceSession;
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
        let mut program = Program::of_fake(authority);
        program.without("--key");
        program.options(options);
        let session = SecretServiceSession::start().await.unwrap();
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

/// Every file below the folder that holds the text.
fn files_with(folder: &Path, text: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if path.is_file() {
            let content = std::fs::read(&path).unwrap();
            if content
                .windows(text.len())
                .any(|window| window == text.as_bytes())
            {
                found.push(path);
            }
        }
    }
    found
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
        assert!(report.contains("not encrypted by this program"), "{report}");

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
