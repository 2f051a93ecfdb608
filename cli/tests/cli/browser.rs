//! `login browser`: with a browser that is a script, and with none.

use std::process::Stdio;

use cache_testkit::authority::{ALICE, BOB, Config, Endpoint, FakeAuthority};
use cache_testkit::oidc_provider::{OidcProvider, Options};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Child;

use crate::program::{Program, bare};

/// The address that the program prints for want of a browser. What follows on standard error can be read on.
async fn shown_address(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = loop {
        let line = lines.next_line().await.unwrap().expect("no address was shown");
        if line.starts_with("http") {
            break line;
        }
    };
    child.stderr = Some(lines.into_inner().into_inner());
    address
}

fn browser(ca_pem: Option<&str>) -> reqwest::Client {
    let mut builder = reqwest::Client::builder().no_proxy();
    if let Some(pem) = ca_pem {
        builder = builder.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()]);
    }
    builder.build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_address_signs_a_user_in() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let program = Program::of_fake(&authority);
    let words = [
        "--json",
        "--scope",
        "User.Read",
        "login",
        "browser",
        "--no-browser",
    ];
    let words = [&words[..], &["--login-hint", BOB, "--prompt", "select-account"]].concat();
    let mut child = program.start(&words);
    let address = shown_address(&mut child).await;
    let page = browser(authority.ca_pem())
        .get(&address)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(page.contains("You are signed in"), "{page}");
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success());
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["account"]["username"], BOB);
    assert!(address.contains("prompt=select_account"));
    let token = program.json(&["token", "--scope", "User.Read"]).await;
    assert_eq!(token["metadata"]["source"], "store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certified_provider_signs_a_user_in() {
    let provider = OidcProvider::start(Options::default()).await.unwrap();
    let program = Program::of_provider(&provider);
    let mut child = program.start(&[
        "--json",
        "--scope",
        "api:read",
        "login",
        "browser",
        "--no-browser",
    ]);
    let back = provider
        .authorize(&shown_address(&mut child).await)
        .await
        .unwrap();
    browser(None).get(&back).send().await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success());
}

/// The system's browser is the one that `BROWSER` names: here curl, which follows the redirects.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_browser_of_the_environment_is_opened() {
    use std::os::unix::fs::PermissionsExt;

    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let mut program = Program::of_fake(&authority);
    let (script, opened) = (program.path("browser"), program.path("opened"));
    let text = format!(
        "#!/bin/sh\nprintf '%s' \"$1\" > {0}.part && mv {0}.part {0}\n",
        opened.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    program.set("BROWSER", script.to_str().unwrap());
    let child = program.start(&["--json", "--scope", "User.Read", "login", "browser"]);
    let address = loop {
        match std::fs::read_to_string(&opened) {
            Ok(address) => break address,
            Err(_) => crate::program::pause(20).await,
        }
    };
    browser(authority.ca_pem()).get(&address).send().await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["account"]["username"], ALICE);
    assert!(
        !String::from_utf8(output.stderr).unwrap().contains("state="),
        "the address is nobody else's business"
    );
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_a_screen_is_sent_to_the_device_code() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let program = Program::of_fake(&authority);
    let mut command = program.command(&["--json", "--scope", "User.Read", "login", "browser"]);
    for name in ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME"] {
        command.env_remove(name);
    }
    let ran = crate::program::Ran::of(command).await;
    assert_eq!(ran.exit, Some(3), "{ran:?}");
    let error = &ran.object()["error"];
    assert_eq!(error["kind"], "no_browser");
    assert!(error["next"].as_str().unwrap().contains("device-code"), "{error}");
    assert!(!format!("{ran:?}").contains("/authorize"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_back_and_the_wait_ends() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let program = Program::of_fake(&authority);
    let words = [
        "--scope",
        "User.Read",
        "login",
        "browser",
        "--no-browser",
        "--timeout",
        "1",
    ];
    let error = program.failing(&words, 3).await;
    assert_eq!(error["kind"], "timed_out");
    assert!(
        error["next"].as_str().unwrap().contains("--no-browser"),
        "{error}"
    );
    assert!(
        authority
            .requests()
            .iter()
            .all(|request| request.endpoint != Endpoint::Token)
    );
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_it_and_frees_the_port() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let program = Program::of_fake(&authority);
    let mut child = program.start(&[
        "--json",
        "--scope",
        "User.Read",
        "login",
        "browser",
        "--no-browser",
    ]);
    let address = shown_address(&mut child).await;
    let pid = child.id().unwrap().to_string();
    let mut kill = tokio::process::Command::new("kill");
    let interrupted = kill
        .args(["-INT", &pid])
        .stdout(Stdio::null())
        .status()
        .await
        .unwrap();
    assert!(interrupted.success());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .await
        .unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["error"]["kind"], "interrupted");
    // The authority sends the browser on to a port where nobody listens any more.
    browser(authority.ca_pem())
        .get(&address)
        .send()
        .await
        .unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_address_elsewhere_is_refused() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let program = Program::of_fake(&authority);
    let words = [
        "--scope",
        "User.Read",
        "login",
        "browser",
        "--redirect-uri",
        "https://app.contoso.test/",
    ];
    assert_eq!(program.failing(&words, 2).await["kind"], "usage");
    let mut help = bare();
    help.args(["login", "browser", "--help"]);
    let help = crate::program::Ran::of(help).await.succeeded().stdout;
    assert!(
        help.contains("--no-browser") && help.contains("select-account"),
        "{help}"
    );
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_address_is_shown_when_the_opened_browser_does_nothing() {
    let authority = FakeAuthority::start(Config::default()).await.unwrap();
    let mut program = Program::of_fake(&authority);
    program.set("BROWSER", "true");
    let mut child = program.start(&["--json", "--scope", "User.Read", "login", "browser"]);
    let address = shown_address(&mut child).await;
    browser(authority.ca_pem()).get(&address).send().await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success());
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["account"]["username"], ALICE);
}
