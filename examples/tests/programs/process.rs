//! The programs, as processes.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Output, Stdio};
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

/// Runs a program to its end, which must be a good one, and returns what it wrote to standard output.
pub(crate) async fn run(mut command: Command) -> String {
    let output =
        tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).stderr(Stdio::inherit()).output());
    let Output { status, stdout, .. } = output.await.unwrap().unwrap();
    assert!(status.success());
    String::from_utf8(stdout).unwrap()
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
