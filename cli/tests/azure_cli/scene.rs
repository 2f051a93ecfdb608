//! One user's machine: the Azure CLI, this program, and a cloud on loopback.

use std::path::PathBuf;
use std::process::Stdio;

use cache_testkit::authority::{ALICE, Client, Config, FakeAuthority, Rotation};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::installed;
use crate::program::{Program, Ran};
use crate::resource_manager::ResourceManager;

/// The client ID of the Azure CLI.
pub(crate) const AZURE_CLI: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";

/// What both ask a token for.
pub(crate) const SCOPE: &str = "https://management.azure.com/.default";

pub(crate) struct Scene {
    pub(crate) authority: FakeAuthority,
    pub(crate) manager: ResourceManager,
    pub(crate) tokenkeep: Program,
    python: PathBuf,
}

impl Scene {
    /// With a cloud that is registered and chosen, and nobody signed in. Refresh tokens are used once, or their family is revoked.
    pub(crate) async fn new() -> Self {
        Self::with(|config| config).await
    }

    /// The same, at an authority that is set up further.
    pub(crate) async fn with(set_up: impl FnOnce(Config) -> Config) -> Self {
        let python = tokio::task::spawn_blocking(installed::python).await.unwrap();
        let config = Config::default()
            .rotation(Rotation::Strict)
            .client(Client::public(AZURE_CLI).family("1"))
            .auto_approve_devices(0, ALICE);
        let authority = FakeAuthority::start(set_up(config)).await.unwrap();
        let manager = ResourceManager::start().await;
        let mut tokenkeep = Program::new();
        // Neither an authority nor a client ID: the Azure CLI's files say both.
        tokenkeep.options.clear();
        let bundle = tokenkeep.path("ca.pem");
        let certificates = format!("{}\n{}", authority.ca_pem().unwrap(), manager.certificate_pem);
        std::fs::write(&bundle, certificates).unwrap();
        tokenkeep.options(&["--store", "azure-cli", "--ca-cert", bundle.to_str().unwrap()]);
        let folder = tokenkeep.path("azure");
        tokenkeep.set("AZURE_CONFIG_DIR", folder.to_str().unwrap());
        let scene = Self {
            authority,
            manager,
            tokenkeep,
            python,
        };
        scene.register_cloud().await;
        scene
    }

    async fn register_cloud(&self) {
        let cloud = json!({
            "endpoints": {
                "activeDirectory": self.authority.base_url(),
                "resourceManager": self.manager.base_url,
                "management": "https://management.core.windows.net/",
                // As in the public cloud: the CLI calls the resource manager by this name, others by its address.
                "activeDirectoryResourceId": "https://management.azure.com/",
                "activeDirectoryGraphResourceId": "https://graph.windows.net/",
                "microsoftGraphResourceId": "https://graph.microsoft.com/",
            },
            "suffixes": { "storageEndpoint": "core.loop.test" },
        });
        let file = self.tokenkeep.path("cloud.json");
        std::fs::write(&file, cloud.to_string()).unwrap();
        let config = format!("@{}", file.display());
        self.az(&[
            "cloud",
            "register",
            "-n",
            "Loop",
            "--skip-endpoint-discovery",
            "--cloud-config",
            &config,
        ])
        .await
        .succeeded();
        self.az(&["cloud", "set", "-n", "Loop"]).await.succeeded();
    }

    /// Runs the Azure CLI.
    pub(crate) async fn az(&self, words: &[&str]) -> Ran {
        let mut command = Command::new(&self.python);
        command.args(["-m", "azure.cli"]).args(words);
        command
            .env("AZURE_CONFIG_DIR", self.tokenkeep.path("azure"))
            .env("HOME", self.tokenkeep.folder())
            .env("REQUESTS_CA_BUNDLE", self.tokenkeep.path("ca.pem"))
            .env("NO_PROXY", "127.0.0.1")
            .env("AZURE_CORE_INSTANCE_DISCOVERY", "false")
            .env("AZURE_CORE_LOGIN_EXPERIENCE_V2", "false")
            .env("AZURE_CORE_COLLECT_TELEMETRY", "no")
            .env("AZURE_CORE_NO_COLOR", "true")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ran::of(command).await
    }

    /// The token of `az account get-access-token`.
    pub(crate) async fn az_token(&self) -> String {
        let ran = self
            .az(&["account", "get-access-token", "--output", "json"])
            .await
            .succeeded();
        let object: Value = serde_json::from_str(&ran.stdout).unwrap();
        object["accessToken"].as_str().unwrap().to_owned()
    }

    /// The object of `tokenkeep token`.
    pub(crate) async fn token(&self, more: &[&str]) -> Value {
        let mut words = vec!["token", "--scope", SCOPE];
        words.extend(more);
        self.tokenkeep.json(&words).await
    }

    /// How many requests both servers had.
    pub(crate) fn requests(&self) -> (usize, usize) {
        (self.authority.requests().len(), self.manager.requests())
    }
}
