//! Rules for the files of the repository that no other tool checks.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::cited_tests;
use crate::command::{Failure, output, root};

/// A file that takes longer to read holds more than one thing.
const MAX_LINES: usize = 450;

/// Hosts that the package managers know by themselves. A file that names one bypasses the mirror
/// that a machine may be configured with. (Split, so that this file does not name them either.)
const REGISTRY_HOSTS: [&str; 9] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("github.com/rust-lang/", "crates.io-index"),
    concat!("registry.", "npmjs.org"),
    concat!("registry.", "yarnpkg.com"),
    concat!("pypi", ".org"),
    concat!("files.", "pythonhosted.org"),
    concat!("deb.", "debian.org"),
    concat!("archive.", "ubuntu.com"),
];

/// Marks of work that was left for later.
const UNFINISHED: [&str; 3] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore"),
];

/// Checks every file that is committed or about to be.
pub(crate) fn check() -> Result<(), Failure> {
    let listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let files = output(Command::new("git").current_dir(root()).args(listing))?;

    let mut violations = Vec::new();
    for name in files.split('\0').filter(|name| !name.is_empty()) {
        let bytes = match fs::read(root().join(name)) {
            Ok(bytes) => bytes,
            // Deleted and not yet committed, or a link to somewhere else.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Failure::new(format!("could not read {name}: {error}"))),
        };
        if let Ok(text) = std::str::from_utf8(&bytes) {
            violations.extend(violations_in(name, text));
            if name.ends_with(".md") {
                violations.extend(cited_tests::violations_in(name, text, root()));
            }
        }
    }
    if violations.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("\n  {}", violations.join("\n  "))))
}

fn violations_in(name: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    if !is_lock_file(name) {
        for host in REGISTRY_HOSTS {
            violations.extend(
                lines_with(text, host).map(|line| format!("{name}:{line}: names the registry {host}")),
            );
        }
    }
    if !name.ends_with(".rs") {
        return violations;
    }
    for mark in UNFINISHED {
        violations.extend(lines_with(text, mark).map(|line| format!("{name}:{line}: contains {mark}")));
    }
    let lines = text.lines().count();
    if is_source(name) && lines > MAX_LINES {
        violations.push(format!(
            "{name}: {lines} lines, more than {MAX_LINES}; split it by what it holds"
        ));
    }
    violations
}

/// Numbers of the lines of `text` that contain `pattern`.
fn lines_with<'a>(text: &'a str, pattern: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.lines()
        .enumerate()
        .filter(move |(_, line)| line.contains(pattern))
        .map(|(index, _)| index + 1)
}

/// Lock files name registries as their tools write them.
fn is_lock_file(name: &str) -> bool {
    matches!(
        Path::new(name).file_name().and_then(|name| name.to_str()),
        Some("Cargo.lock" | "package-lock.json")
    )
}

fn is_source(name: &str) -> bool {
    Path::new(name)
        .components()
        .any(|component| component.as_os_str() == "src")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_named_in_lock_files_only() {
        let text = format!("a\nhttps://{}/x\n", REGISTRY_HOSTS[3]);
        let expected = format!("docs/a.md:2: names the registry {}", REGISTRY_HOSTS[3]);
        assert_eq!(violations_in("docs/a.md", &text), [expected]);
        assert_eq!(violations_in("x/package-lock.json", &text), [""; 0]);
    }

    #[test]
    fn unfinished_work_is_found_in_rust_only() {
        for mark in UNFINISHED {
            let text = format!("fn f() {{ {mark}) }}");
            assert_eq!(
                violations_in("a/src/f.rs", &text),
                [format!("a/src/f.rs:1: contains {mark}")]
            );
            assert_eq!(violations_in("notes.md", &text), [""; 0]);
        }
    }

    #[test]
    fn long_files_are_found_under_src_only() {
        let longest = "\n".repeat(MAX_LINES);
        let longer = "\n".repeat(MAX_LINES + 1);
        assert_eq!(violations_in("a/src/b/f.rs", &longest), [""; 0]);
        assert_eq!(violations_in("a/src/b/f.rs", &longer).len(), 1);
        assert_eq!(violations_in("a/tests/f.rs", &longer), [""; 0]);
    }
}
