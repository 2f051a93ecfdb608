//! The bus of a session, which starts no service by itself.

use std::fs;
use std::path::Path;
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
  </policy>
</busconfig>
"#;

pub(super) fn address(folder: &Path) -> String {
    format!("unix:path={}", folder.join("bus").display())
}

pub(super) async fn start(folder: &Path) -> Result<Process, Error> {
    let configuration = folder.join("bus.conf");
    fs::write(&configuration, CONFIGURATION.replace("ADDRESS", &address(folder)))
        .map_err(Error::start("the configuration of the bus"))?;
    let mut command = Command::new(PROGRAM);
    command
        .arg("--config-file")
        .arg(&configuration)
        .args(["--nofork", "--nopidfile", "--nosyslog"]);
    let mut process = Process::start(PROGRAM, &mut command, folder, Stdio::null())?;
    let socket = folder.join("bus");
    until(PROGRAM, &mut process, async || socket.exists()).await?;
    Ok(process)
}
