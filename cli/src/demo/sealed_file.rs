//! Looking into the files of the cache as a thief would.

use std::path::Path;

use cache_core::secret::Secret;
use serde_json::Value;

use crate::failure::Failure;

/// What a sealed record begins with.
const MAGIC: &[u8] = b"TKSR";
const DUMPED_BYTES: usize = 96;

/// What was found in the files.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The files that were searched.
    pub(super) files: Vec<String>,
    /// Those that hold something in clear.
    pub(super) leaks: Vec<String>,
    /// The file with a record.
    pub(super) shown_file: String,
    pub(super) shown_bytes: usize,
    /// The first bytes of the record.
    pub(super) dump: Vec<String>,
}

/// The tokens of an exported cache.
pub(super) fn secrets(exported: &Value) -> Vec<Secret> {
    let sections = exported
        .as_object()
        .into_iter()
        .flat_map(|sections| sections.values());
    let rows = sections
        .filter_map(Value::as_object)
        .flat_map(|rows| rows.values());
    rows.filter_map(|row| row["secret"].as_str())
        .map(Secret::new)
        .collect()
}

/// Searches the database and what lies beside it under its name.
pub(super) fn search(folder: &Path, secrets: &[Secret]) -> Result<Findings, Failure> {
    let failed = |error| Failure::file("read", folder, error);
    let mut findings = Findings::default();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(super::stage::DATABASE) {
            continue;
        }
        let bytes = std::fs::read(entry.path()).map_err(failed)?;
        if secrets
            .iter()
            .any(|secret| find(&bytes, secret.expose().as_bytes()).is_some())
        {
            findings.leaks.push(name.clone());
        }
        if findings.dump.is_empty()
            && let Some(start) = find(&bytes, MAGIC)
        {
            findings.shown_file.clone_from(&name);
            findings.shown_bytes = bytes.len();
            findings.dump = dump(&bytes[start..bytes.len().min(start + DUMPED_BYTES)]);
        }
        findings.files.push(name);
    }
    findings.files.sort();
    Ok(findings)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn dump(bytes: &[u8]) -> Vec<String> {
    let line = |(number, line): (usize, &[u8])| {
        let hexadecimal: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let printable = |byte: &u8| {
            if byte.is_ascii_graphic() {
                char::from(*byte)
            } else {
                '.'
            }
        };
        let text: String = line.iter().map(printable).collect();
        format!("{:04x}  {:<47}  {text}", number * 16, hexadecimal.join(" "))
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_clear_is_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cache.db"), b"....TKSR sealed").unwrap();
        std::fs::write(folder.path().join("cache.db-wal"), b"..token-canary..").unwrap();
        let secrets = secrets(&serde_json::json!({ "AccessToken": { "a": { "secret": "token-canary" } } }));
        let findings = search(folder.path(), &secrets).unwrap();
        assert_eq!(findings.files, ["cache.db", "cache.db-wal"]);
        assert_eq!(findings.leaks, ["cache.db-wal"]);
        assert_eq!(findings.shown_file, "cache.db");
        assert!(findings.dump[0].ends_with("TKSR.sealed"));
    }
}
