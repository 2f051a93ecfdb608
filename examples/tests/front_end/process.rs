//! The programs, as processes.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A program that ends with the test.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody listens at now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until somebody listens at `port`.
pub(crate) async fn wait_for(port: u16) {
    for _ in 0..400 {
        if tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_ok()
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody listens at port {port}");
}

/// What a program of the example is told of the cache, whichever it is.
pub(crate) fn cache_options(command: &mut Command, folder: &Path, issuer: &str, api: &str) {
    let store = format!("sqlite:{}", folder.join("cache.db").display());
    let key = format!("file:{}", folder.join("key").display());
    command
        .args(["--store", &store, "--key", &key, "--authority", issuer])
        .args(["--client-id", cache_testkit::oidc_provider::WEB_CLIENT_ID])
        .args([
            "--client-secret",
            "env:CLIENT_SECRET",
            "--scope",
            "api:read",
            "--api",
            api,
        ])
        .env(
            "CLIENT_SECRET",
            cache_testkit::oidc_provider::SERVICE_CLIENT_SECRET,
        );
}
