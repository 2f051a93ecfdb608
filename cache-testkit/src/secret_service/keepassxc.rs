//! KeePassXC as the service: a desktop program, on a screen that nobody sees.

use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Error, PASSWORD};

pub(super) const PROGRAM: &str = "keepassxc";
const TOOL: &str = "keepassxc-cli";

const CONFIGURATION: &str = "\
[General]
ConfigVersion=2
SingleInstance=false
UpdateCheckMessageShown=true
[GUI]
CheckForUpdates=false
[FdoSecrets]
Enabled=true
ShowNotification=false
ConfirmAccessItem=false
ConfirmDeleteItem=false
UnlockBeforeSearch=false
";

/// What the program is called with, after it was given a database to offer, where it has none yet.
pub(super) fn prepare(command: &mut Command, folder: &Path, data: &Path) -> Result<(), Error> {
    let place = folder.join("keepassxc");
    if !place.exists() {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&place)
            .map_err(Error::start("a folder"))?;
    }
    let configuration = place.join("keepassxc.ini");
    fs::write(&configuration, CONFIGURATION).map_err(Error::start("its configuration"))?;
    let database = data.join("keyrings/login.kdbx");
    if !database.exists() {
        fs::create_dir_all(data.join("keyrings")).map_err(Error::start("a folder"))?;
        make_database(&place, &database)?;
    }
    command
        .arg("--pw-stdin")
        .arg("--config")
        .arg(configuration)
        .arg("--localconfig")
        .arg(place.join("local.ini"))
        .arg(database)
        .env("QT_QPA_PLATFORM", "offscreen")
        .env("HOME", &place)
        .env("TMPDIR", &place)
        .env("XDG_CONFIG_HOME", &place)
        .env("XDG_CACHE_HOME", &place);
    Ok(())
}

/// A database says by its own data which of its groups is offered to other programs. The tool cannot set that, but import it.
fn make_database(place: &Path, database: &Path) -> Result<(), Error> {
    let draft = place.join("draft.kdbx");
    let text = place.join("draft.xml");
    let twice = format!("{PASSWORD}\n{PASSWORD}\n");
    run(&["db-create", "-q", "-p"], &[&draft], &twice)?;
    let exported = run(
        &["export", "-q", "-f", "xml"],
        &[&draft],
        &format!("{PASSWORD}\n"),
    )?;
    let failed = || Error::start("the database of KeePassXC")("its export is not understood");
    let group = first_between(&exported, "<UUID>", "</UUID>").ok_or_else(failed)?;
    let exposed = format!(
        "<Binaries/><CustomData><Item><Key>FDO_SECRETS_EXPOSED_GROUP</Key><Value>{{{}}}</Value></Item></CustomData>",
        dashed(&unbase64(group).ok_or_else(failed)?)
    );
    fs::write(&text, exported.replacen("<Binaries/>", &exposed, 1))
        .map_err(Error::start("the database of KeePassXC"))?;
    run(&["import", "-q", "-p"], &[&text, &database.to_owned()], &twice)?;
    // The tool makes no database over another.
    [draft, text]
        .iter()
        .try_for_each(fs::remove_file)
        .map_err(Error::start("the database of KeePassXC"))
}

fn run(arguments: &[&str], files: &[&PathBuf], input: &str) -> Result<String, Error> {
    let spawned = Command::new(TOOL)
        .args(arguments)
        .args(files)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match spawned {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NotInstalled { program: TOOL });
        }
        spawned => spawned.map_err(Error::start(TOOL))?,
    };
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(input.as_bytes()).map_err(Error::start(TOOL))?;
    }
    let output = child.wait_with_output().map_err(Error::start(TOOL))?;
    if !output.status.success() {
        return Err(Error::start(TOOL)(output.status.to_string()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn first_between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

/// As a UUID is written.
fn dashed(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [0..8, 8..12, 12..16, 16..20, 20..32]
        .map(|part| digits.get(part).unwrap_or_default().to_owned())
        .join("-")
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}
