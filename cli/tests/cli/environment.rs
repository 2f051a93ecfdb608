//! The proxy of the environment: for remote hosts alone.

use std::sync::{Arc, Mutex};

use cache_core::time::SystemClock;
use cache_testkit::managed_identity::{ManagedIdentityEndpoint, Platform};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::program::{Program, strict_authority};

/// A proxy that is told whom it is to reach, and reaches nobody.
struct Proxy {
    url: String,
    told: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let told = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&told);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let length = client.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]);
                let first = head.lines().next().unwrap_or_default().to_owned();
                record.lock().unwrap().push(first);
                let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
            }
        });
        Self { url, told }
    }

    /// Every variable that names a proxy names this one.
    fn set(&self, program: &mut Program, no_proxy: &str) {
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            program.set(name, &self.url);
            program.set(&name.to_lowercase(), &self.url);
        }
        program.set("NO_PROXY", no_proxy);
        program.set("no_proxy", no_proxy);
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_authority_is_reached_through_the_proxy_of_the_environment() {
    let words = ["login", "device-code", "--scope", "User.Read"];
    let host = "login.tokenkeep.test";
    for (no_proxy, expected) in [("", true), (host, false)] {
        let proxy = Proxy::start().await;
        let mut program = Program::new();
        program.options(&["--authority", &format!("entra:https://{host}/contoso.test")]);
        program.options(&["--client-id", "c"]);
        proxy.set(&mut program, no_proxy);
        let error = program.failing(&words, 5).await;
        assert_eq!(error["kind"], "unreachable", "{error}");
        let told = proxy.told();
        let is_asked = told
            .iter()
            .any(|line| *line == format!("CONNECT {host}:443 HTTP/1.1"));
        assert_eq!(is_asked, expected, "{told:?}");
        assert!(expected || told.is_empty(), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_of_the_environment_sees_loopback_or_the_platform() {
    let proxy = Proxy::start().await;
    let authority = strict_authority().await;
    let mut program = Program::of_fake(&authority);
    proxy.set(&mut program, "");
    program
        .json(&["login", "device-code", "--scope", "User.Read"])
        .await;

    for platform in [Platform::AppService, Platform::Imds, Platform::ServiceFabric] {
        let endpoint = ManagedIdentityEndpoint::start(platform, Arc::new(SystemClock))
            .await
            .unwrap();
        let mut program = Program::new();
        proxy.set(&mut program, "");
        for (name, value) in endpoint.variables() {
            program.set(name, &value);
        }
        let words = [
            "token",
            "--managed-identity",
            "--scope",
            "https://vault.azure.net",
        ];
        program.json(&words).await;
    }
    assert_eq!(proxy.told(), Vec::<String>::new());
}
