//! The bus of a session, which starts no service by itself.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::Process;
use super::{Error, until};

const PROGRAM: &str = "dbus-daemon";

/// Without `servicedir`: a bus that starts services on demand would start the one of the system, in the place of the one that the test
/// stopped.
const CONFIGURATION: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>ADDRESS</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    RULE
  </policy>
</busconfig>
"#;

pub(super) fn address(folder: &Path) -> String {
    format!("unix:path={}", folder.join("bus").display())
}

/// Writes the configuration, with one more rule.
pub(super) fn configure(folder: &Path, rule: &str) -> Result<PathBuf, Error> {
    let configuration = CONFIGURATION
        .replace("ADDRESS", &address(folder))
        .replace("RULE", rule);
    let path = folder.join("bus.conf");
    fs::write(&path, configuration).map_err(Error::start("the configuration of the bus"))?;
    Ok(path)
}

pub(super) async fn start(folder: &Path) -> Result<Process, Error> {
    let configuration = configure(folder, "")?;
    let mut command = Command::new(PROGRAM);
    command
        .arg("--config-file")
        .arg(&configuration)
        .args(["--nofork", "--nopidfile", "--nosyslog"]);
    let mut process = Process::start(PROGRAM, &mut command, folder, Stdio::null())?;
    let socket = folder.join("bus");
    // Not only whether it is there: it takes a moment from there until it listens.
    until(PROGRAM, &mut process, async || {
        UnixStream::connect(&socket).is_ok()
    })
    .await?;
    Ok(process)
}
