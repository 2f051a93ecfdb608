//! `export`: writes the cache as an MSAL cache file.

use std::io::Write;
use std::path::Path;

use cache_core::random::Random;
use serde_json::json;

use crate::account_choice::first_unreadable;
use crate::answer::{Answer, Output};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{Missing, Session, Stdin, random};

/// Writes the file, which holds every token in clear, so that only its owner can read it.
pub(crate) async fn run(session: &Session, file: &Path, force: bool) -> Result<Answer, Failure> {
    let is_stdout = file == Path::new("-");
    if !is_stdout {
        check_place(file, force)?;
    }
    let cache = session.cache(Missing::Refuse, Stdin::Free).await?;
    let export = cache.export().await?;
    // A file that lacks accounts without saying so would be taken for a backup.
    if let Some(failure) = first_unreadable(export.unreadable) {
        return Err(failure);
    }
    if is_stdout {
        return Ok(Answer::new(json!(null), "").with_output(Output::Document(export.json)));
    }
    write(file, export.json.expose(), force)?;
    let path = file.display().to_string();
    let text = format!("wrote {path}; it holds every token in clear: delete it when it has served");
    Ok(Answer::new(
        json!({ "file": path, "bytes": export.json.len() }),
        text,
    ))
}

/// Refuses a place that is taken. Even with `--force` only a regular file is replaced: a rename over a pipe, a
/// device or a link would destroy it and reach nobody at its other end.
fn check_place(file: &Path, force: bool) -> Result<(), Failure> {
    let Ok(found) = file.symlink_metadata() else {
        return Ok(());
    };
    if !found.is_file() {
        let message = format!("{} is not a regular file and is never replaced", file.display());
        return Err(Failure::usage(message).next("choose another name, or write to standard output with -"));
    }
    if force { Ok(()) } else { Err(exists(file)) }
}

fn write(file: &Path, content: &[u8], force: bool) -> Result<(), Failure> {
    let failed = |error| Failure::file("write", file, error);
    if !force {
        return match create(file, content) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(exists(file)),
            written => written.map_err(failed),
        };
    }
    // Beside the old file and then over it: whoever is interrupted has one of the two whole. The old file's
    // permissions do not matter.
    let mut suffix = [0; 8];
    random()
        .fill(&mut suffix)
        .map_err(|error| Failure::new("random", Exit::Other, error))?;
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{:016x}", u64::from_be_bytes(suffix)));
    let beside = Path::new(&beside);
    create(beside, content).map_err(failed)?;
    // Reading the cache took a while.
    if let Err(failure) = check_place(file, force) {
        let _ = std::fs::remove_file(beside);
        return Err(failure);
    }
    std::fs::rename(beside, file).map_err(|error| {
        let _ = std::fs::remove_file(beside);
        failed(error)
    })
}

/// Writes a new file that only its owner can read, from its first byte on. What could not be written whole is
/// removed.
fn create(file: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut opened = options.open(file)?;
    let written = opened
        .write_all(content)
        .and_then(|()| opened.write_all(b"\n"))
        .and_then(|()| opened.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(file);
    }
    written
}

fn exists(file: &Path) -> Failure {
    Failure::usage(format!("{} exists", file.display()))
        .next("choose another name, or replace it with --force")
}
