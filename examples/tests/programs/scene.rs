//! An issuer, an API, and front ends that share a cache.

use std::path::PathBuf;
use std::process::Command;

use cache_testkit::oidc_provider::{OidcProvider, Options, SERVICE_CLIENT_SECRET, WEB_CLIENT_ID};
use cache_testkit::redis::RedisServer;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

use crate::api::Api;
use crate::browser::{Browser, Page};
use crate::process::{Process, free_port, run, wait_for};

/// Where the programs keep their cache.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Sqlite,
    Redis,
}

/// One front end.
pub(crate) struct Replica {
    pub(crate) url: String,
    _process: Process,
}

impl Replica {
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

pub(crate) struct Scene {
    pub(crate) provider: OidcProvider,
    pub(crate) api: Api,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) folder: TempDir,
    store: String,
    _redis: Option<RedisServer>,
    certificate: String,
}

impl Scene {
    /// With `count` front ends on one SQLite file, and access tokens of `ttl` seconds.
    pub(crate) async fn new(count: usize, ttl: u32, arguments: &[&str]) -> Self {
        Self::at(Place::Sqlite, count, ttl, arguments).await
    }

    /// As [`new`](Self::new), with the cache at `place`.
    pub(crate) async fn at(place: Place, count: usize, ttl: u32, arguments: &[&str]) -> Self {
        let options = Options {
            access_token_ttl_seconds: ttl,
        };
        let provider = OidcProvider::start(options).await.unwrap();
        let api = Api::start(provider.issuer()).await;
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tls.crt"), cert.pem()).unwrap();
        std::fs::write(folder.path().join("tls.key"), signing_key.serialize_pem()).unwrap();
        let redis = match place {
            Place::Sqlite => None,
            Place::Redis => Some(RedisServer::start().await.unwrap()),
        };
        let store = match &redis {
            None => format!("sqlite:{}", folder.path().join("cache.db").display()),
            Some(server) => server.url(),
        };
        let mut scene = Self {
            store,
            _redis: redis,
            provider,
            api,
            replicas: Vec::new(),
            folder,
            certificate: cert.pem(),
        };
        let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
        for port in ports {
            let replica = scene.front_end(port, arguments).await;
            scene.replicas.push(replica);
        }
        let uris = |path: &str| {
            scene
                .replicas
                .iter()
                .map(|replica| replica.at(path))
                .collect::<Vec<_>>()
        };
        let (callbacks, homes) = (uris("/signed-in"), uris("/"));
        scene
            .provider
            .register_web_client(
                &callbacks.iter().map(String::as_str).collect::<Vec<_>>(),
                &homes.iter().map(String::as_str).collect::<Vec<_>>(),
            )
            .await
            .unwrap();
        scene
    }

    async fn front_end(&self, port: u16, arguments: &[&str]) -> Replica {
        let url = format!("https://localhost:{port}");
        let mut command = self.front_end_command(&url);
        command
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .arg("--tls-certificate")
            .arg(self.path("tls.crt"))
            .arg("--tls-key")
            .arg(self.path("tls.key"))
            .args(arguments);
        let process = Process::start(&mut command);
        wait_for(port).await;
        Replica {
            url,
            _process: process,
        }
    }

    /// A front end that has not been told where to listen.
    pub(crate) fn front_end_command(&self, public_url: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_front-end"));
        self.cache_options(&mut command);
        command.args(["--public-url", public_url, "--prompt", "consent"]);
        command
    }

    /// A worker that has not been started, for accounts however short they have been idle.
    pub(crate) fn worker(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
        self.cache_options(&mut command);
        command.args(["--idle", "0"]).args(arguments);
        command
    }

    /// What a program is told of the cache, whichever it is.
    fn cache_options(&self, command: &mut Command) {
        let key = format!("file:{}", self.path("key").display());
        command
            .args([
                "--store",
                &self.store,
                "--key",
                &key,
                "--authority",
                self.provider.issuer(),
            ])
            .args([
                "--client-id",
                WEB_CLIENT_ID,
                "--client-secret",
                "env:CLIENT_SECRET",
            ])
            .args(["--scope", "api:read", "--api", &self.api.url])
            .env("CLIENT_SECRET", SERVICE_CLIENT_SECRET);
    }

    /// One pass of a worker: the lines that it says.
    pub(crate) async fn work(&self) -> Vec<serde_json::Value> {
        let said = run(self.worker(&["--once"])).await;
        said.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The application's secret, for a program that is given no variable.
    pub(crate) fn secret_file(&self) -> PathBuf {
        let path = self.path("client-secret");
        std::fs::write(&path, SERVICE_CLIENT_SECRET).unwrap();
        path
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A browser with a cookie jar of its own.
    pub(crate) fn browser(&self) -> Browser {
        Browser::trusting(&self.certificate)
    }

    /// Signs alice in with `browser` at `replica`, and returns the last answer of the way.
    pub(crate) async fn sign_in(&self, browser: &mut Browser, replica: &Replica) -> Page {
        let begun = browser.get(&replica.at("/sign-in")).await;
        let back = self.provider.authorize(begun.location()).await.unwrap();
        let page = browser.get(&back).await;
        assert_eq!((page.status, page.location()), (303, "/"), "{}", page.body);
        page
    }

    /// Everything that lies in the store, in one text.
    pub(crate) fn stored(&self) -> String {
        let mut all = Vec::new();
        for name in ["cache.db", "cache.db-wal"] {
            all.extend(std::fs::read(self.path(name)).unwrap_or_default());
        }
        String::from_utf8_lossy(&all).into_owned()
    }
}
