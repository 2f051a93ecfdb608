//! An issuer, an API, and front ends that share a cache.

use std::path::PathBuf;
use std::process::Command;

use cache_testkit::oidc_provider::{OidcProvider, Options};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

use crate::api::Api;
use crate::browser::Browser;
use crate::process::{Process, cache_options, free_port, wait_for};

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
    certificate: String,
}

impl Scene {
    /// With `count` front ends on one SQLite file, and access tokens of `ttl` seconds.
    pub(crate) async fn new(count: usize, ttl: u32, arguments: &[&str]) -> Self {
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
        let mut scene = Self {
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_front-end"));
        cache_options(
            &mut command,
            self.folder.path(),
            self.provider.issuer(),
            &self.api.url,
        );
        command
            .args([
                "--public-url",
                &url,
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--prompt",
                "consent",
            ])
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

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A browser with a cookie jar of its own.
    pub(crate) fn browser(&self) -> Browser {
        Browser::trusting(&self.certificate)
    }

    /// Signs alice in with `browser` at `replica`, and returns the last answer of the way.
    pub(crate) async fn sign_in(&self, browser: &mut Browser, replica: &Replica) -> crate::browser::Page {
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
