//! Where the front end listens, and where it refuses to.

use std::process::{Command, Stdio};

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
