//! The Azure CLI, and this program at the Azure CLI's own files: `--store azure-cli`.
//!
//! Both are processes that print one token and end, so what is measured is what a person or a script waits for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use benches::harness::{Question, QuestionError, sync};
use benches::payload::{ENVIRONMENT, REALM};
use cache_testkit::authority::{Config, FakeAuthority, HOME_TENANT};
use cache_testkit::msal_program::target_directory;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::users::Users;

const NAME: &str = "a token on the command line";
const SUBSCRIPTION: &str = "0b1f6471-1bf0-4dda-aec3-111122223333";
const SCOPE: &str = "https://management.azure.com/.default";
/// What the token was granted: the scope as the Azure CLI asks for it (its resource ends with a slash) and as others do.
const GRANTED: &str = "https://management.azure.com//.default https://management.azure.com/.default \
                       https://management.azure.com/user_impersonation";

pub(crate) fn ask(question: &mut Question) -> Result<(), QuestionError> {
    if !question.wants(NAME) {
        return Ok(());
    }
    let scene = Scene::new()?;
    for command in [scene.azure_cli(), scene.tokenkeep()] {
        scene.prints_the_token(command)?;
    }
    // Once more, since the first run of the Azure CLI writes indices.
    scene.prints_the_token(scene.azure_cli())?;
    question
        .compare(NAME)
        .limit(
            "a process that does nothing",
            sync(|| run(&mut Command::new("true"))),
        )
        .variant(
            "tokenkeep token --store azure-cli",
            sync(|| run(&mut scene.tokenkeep())),
        )
        .peer(
            "az account get-access-token",
            sync(|| run(&mut scene.azure_cli())),
        )
        .run();
    for command in [scene.azure_cli(), scene.tokenkeep()] {
        scene.prints_the_token(command)?;
    }
    Ok(())
}

fn run(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// A signed-in user's files, and an authority on loopback, whose metadata the Azure CLI fetches once.
struct Scene {
    folder: TempDir,
    token: String,
    python: PathBuf,
    tokenkeep: PathBuf,
    authority: FakeAuthority,
    _runtime: tokio::runtime::Runtime,
}

impl Scene {
    fn new() -> Result<Self, QuestionError> {
        let target = target_directory()?;
        let python = target.join("azure-cli-venv").join(if cfg!(windows) {
            "Scripts/python.exe"
        } else {
            "bin/python"
        });
        if !python.is_file() {
            return Err(format!(
                "{} is not there; `cargo xtask test --azure-cli` installs it into the target directory of the workspace, so let both have the same \
                 CARGO_TARGET_DIR",
                python.display()
            )
            .into());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let authority = runtime.block_on(FakeAuthority::start(Config::default()))?;
        let folder = tempfile::tempdir()?;
        let users = Users::new(1);
        let scene = Self {
            token: users.access_token(0),
            python,
            tokenkeep: build_tokenkeep(&target)?,
            authority,
            _runtime: runtime,
            folder,
        };
        scene.sign_in(&users)?;
        Ok(scene)
    }

    /// Writes what a sign-in leaves: the cloud, the subscription and the tokens.
    fn sign_in(&self, users: &Users) -> Result<(), QuestionError> {
        let azure = self.path("azure");
        fs::create_dir_all(&azure)?;
        fs::write(self.path("ca.pem"), self.authority.ca_pem().unwrap_or_default())?;
        let clouds = format!(
            "[Loop]\nendpoint_active_directory = {}\nendpoint_active_directory_resource_id = https://management.azure.com/\n\
             endpoint_management = https://management.core.windows.net/\nendpoint_resource_manager = https://127.0.0.1:9\n\
             subscription = {SUBSCRIPTION}\n",
            self.authority.base_url()
        );
        fs::write(azure.join("clouds.config"), clouds)?;
        fs::write(azure.join("config"), "[cloud]\nname = Loop\n")?;

        let mut document: Value = serde_json::from_slice(users.document().expose())?;
        if let Some(rows) = document["AccessToken"].as_object_mut() {
            for row in rows.values_mut() {
                row["target"] = GRANTED.into();
            }
        }
        let username = document["Account"]
            .as_object()
            .and_then(|rows| rows.values().next())
            .map_or(Value::Null, |row| row["username"].clone());
        let document = document.to_string();
        let document = document
            .replace(ENVIRONMENT, "127.0.0.1")
            .replace(REALM, HOME_TENANT);
        fs::write(azure.join("msal_token_cache.json"), document)?;
        let profile = json!({
            "installationId": "0b1f6471-1bf0-11ef-aec3-111122223333",
            "subscriptions": [{
                "id": SUBSCRIPTION, "name": "Loop", "state": "Enabled", "isDefault": true, "environmentName": "Loop",
                "user": { "name": username, "type": "user" }, "tenantId": HOME_TENANT, "homeTenantId": HOME_TENANT, "managedByTenants": [],
            }],
        });
        Ok(fs::write(azure.join("azureProfile.json"), profile.to_string())?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn azure_cli(&self) -> Command {
        let mut command = Command::new(&self.python);
        command
            .args([
                "-m",
                "azure.cli",
                "account",
                "get-access-token",
                "--output",
                "json",
            ])
            .env("AZURE_CORE_INSTANCE_DISCOVERY", "false")
            .env("AZURE_CORE_COLLECT_TELEMETRY", "no")
            .env("REQUESTS_CA_BUNDLE", self.path("ca.pem"));
        self.at_home(command)
    }

    fn tokenkeep(&self) -> Command {
        let mut command = Command::new(&self.tokenkeep);
        command
            .args(["--json", "--store", "azure-cli", "--ca-cert"])
            .arg(self.path("ca.pem"))
            .args(["token", "--scope", SCOPE]);
        self.at_home(command)
    }

    fn at_home(&self, mut command: Command) -> Command {
        command
            .env("AZURE_CONFIG_DIR", self.path("azure"))
            .env("HOME", self.folder.path())
            .env("NO_PROXY", "127.0.0.1");
        command
    }

    fn prints_the_token(&self, mut command: Command) -> Result<(), QuestionError> {
        let output = command.stdin(Stdio::null()).output()?;
        let printed = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let token = printed.get("accessToken").or(printed.get("access_token"));
        if token.and_then(Value::as_str) == Some(&self.token) {
            return Ok(());
        }
        Err(format!(
            "{} did not print the token: {}",
            command.get_program().display(),
            String::from_utf8_lossy(&output.stderr)
        )
        .into())
    }
}

/// The program of this workspace, as users have it.
fn build_tokenkeep(target: &Path) -> Result<PathBuf, QuestionError> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--locked",
            "--package",
            "tokenkeep",
            "--manifest-path",
        ])
        .arg(manifest)
        .env("CARGO_TARGET_DIR", target)
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        return Err("the program tokenkeep could not be built".into());
    }
    Ok(target.join(format!("release/tokenkeep{}", std::env::consts::EXE_SUFFIX)))
}
