//! Where the front end listens, where it refuses to, and for how long.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::process::{Process, free_port, wait_for};
use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn it_speaks_in_clear_to_a_proxy_of_this_machine_only() {
    let scene = Scene::new(0, 3600, &[]).await;
    let port = free_port();
    let plain = |listen: String| -> Command {
        let mut command = scene.front_end_command("https://app.example");
        command.args(["--behind-tls-proxy", "--listen", &listen]);
        command
    };
    let refused = plain(format!("0.0.0.0:{port}"))
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("no loopback address"), "{said}");

    let _process = Process::start(&mut plain(format!("127.0.0.1:{port}")));
    wait_for(port).await;
    let page = scene.browser().get(&format!("http://127.0.0.1:{port}/")).await;
    assert_eq!(page.status, 200);
    // The browser is over TLS all the same, and is told to stay there.
    assert_eq!(page.headers["strict-transport-security"], "max-age=31536000");

    let neither = scene
        .front_end_command("https://app.example")
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!neither.success());
    let in_clear = scene
        .front_end_command("http://app.example")
        .arg("--behind-tls-proxy")
        .stderr(Stdio::null())
        .status();
    assert!(!in_clear.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_or_another_protocol_holds_no_connection() {
    let scene = Scene::new(0, 3600, &[]).await;
    let port = free_port();
    let mut command = scene.front_end_command("https://app.example");
    command.args(["--behind-tls-proxy", "--listen", &format!("127.0.0.1:{port}")]);
    let _process = Process::start(&mut command);
    wait_for(port).await;
    let ended = async |said: &[u8]| {
        let mut silent = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        silent.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        let end = silent.read_to_end(&mut answer);
        tokio::select! {
            _ = end => true,
            () = tokio::time::sleep(std::time::Duration::from_secs(20)) => false,
        }
    };
    let (nothing, half, http_2) = tokio::join!(
        ended(b""),
        ended(b"PRI * HTT"),
        ended(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    );
    assert!(nothing && half && http_2, "{nothing} {half} {http_2}");
}
