//! The names of what is put to the proof, and of what does it.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};

use crate::command::{Failure, output, root};

/// The product. Not its tests: one more of them makes no other product.
const PRODUCT: [&str; 13] = [
    "Cargo.lock",
    "cache-core/Cargo.toml",
    "cache-core/src",
    "cache-keychain/Cargo.toml",
    "cache-keychain/src",
    "cache-redis/Cargo.toml",
    "cache-redis/src",
    "cache-sqlite/Cargo.toml",
    "cache-sqlite/src",
    "cli/Cargo.toml",
    "cli/src",
    "flows/Cargo.toml",
    "flows/src",
];

/// The gates, and what they stand on.
const HARNESS: [&str; 3] = ["cache-testkit", "fuzz", "soak"];

/// Sources, named by what they are, committed or not, without their tests and comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sources {
    pub(super) product: String,
    pub(super) harness: String,
}

impl Sources {
    /// Those in the folder of this workspace.
    pub(super) fn present() -> Result<Self, Failure> {
        Ok(Self {
            product: name(&PRODUCT)?,
            harness: name(&HARNESS)?,
        })
    }
}

/// As much as a reader compares of a hash.
const NAME_LENGTH: usize = 12;

fn name(paths: &[&str]) -> Result<String, Failure> {
    let mut list = Command::new("git");
    list.current_dir(root())
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
        ])
        .args(paths);
    let list = output(&mut list)?;
    let mut files: Vec<&str> = list.split('\0').filter(|path| is_counted(path)).collect();
    files.sort_unstable();
    let mut all = Vec::new();
    for path in files {
        let content = match fs::read(root().join(path)) {
            Ok(content) => content,
            // What was removed is listed until that is committed.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Failure::new(format!("could not read {path}: {error}"))),
        };
        let content = match String::from_utf8(content) {
            Ok(text) if path.ends_with(".rs") => without_comments(&without_tests(&text)).into_bytes(),
            Ok(text) => text.into_bytes(),
            Err(error) => error.into_bytes(),
        };
        all.extend(format!("{path} {}\n", content.len()).into_bytes());
        all.extend(content);
    }
    let mut name = hash(&all)?;
    name.truncate(NAME_LENGTH);
    Ok(name)
}

/// Git's, so that no crate is needed for it.
fn hash(content: &[u8]) -> Result<String, Failure> {
    let failed = |error| Failure::new(format!("could not run git hash-object: {error}"));
    let mut git = Command::new("git")
        .args(["hash-object", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = git.stdin.take() {
        input.write_all(content).map_err(failed)?;
    }
    let done = git.wait_with_output().map_err(failed)?;
    if !done.status.success() {
        return Err(Failure::new("git hash-object failed"));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

fn is_counted(path: &str) -> bool {
    let is_test = |part: &str| part == "tests" || part == "tests.rs";
    !path.is_empty() && !path.split('/').any(is_test)
}

/// `text` without its modules `tests`, in this file or in one of their own.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_of_tests = line == "#[cfg(test)]" || line.starts_with("#[cfg(all(test,");
        match lines.peek() {
            Some(&"mod tests;") if is_of_tests => _ = lines.next(),
            Some(&"mod tests {") if is_of_tests => _ = lines.find(|line| *line == "}"),
            _ => {
                kept.push_str(line);
                kept.push('\n');
                continue;
            }
        }
        // The line between: a file that is given its first tests is no other.
        if kept.ends_with("\n\n") {
            kept.pop();
        }
    }
    kept
}

/// `text` without the lines that hold a comment and nothing else: what is said better does nothing else.
fn without_comments(text: &str) -> String {
    let lines = text.lines();
    let kept = lines.filter(|line| !line.trim_start().starts_with("//"));
    kept.fold(String::with_capacity(text.len()), |kept, line| kept + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_sources_have_the_same_names() {
        let sources = Sources::present().unwrap();
        assert_eq!(sources, Sources::present().unwrap());
        assert_ne!(sources.product, sources.harness);
        assert_eq!(sources.product.len(), NAME_LENGTH);
    }

    #[test]
    fn comments_are_no_part_of_the_product() {
        let told = "//! A module.\n\n/// One.\nfn one() {\n    // Nothing.\n    two(); // Two.\n}\n";
        assert_eq!(without_comments(told), "\nfn one() {\n    two(); // Two.\n}\n");
    }

    #[test]
    fn tests_are_no_part_of_the_product_wherever_they_are() {
        let inline = "fn one() {}\n\n#[cfg(test)]\nmod tests {\n    fn two() {\n    }\n}\n";
        let beside = "fn one() {}\n\n#[cfg(test)]\nmod tests;\n";
        assert_eq!(without_tests(inline), "fn one() {}\n");
        assert_eq!(without_tests(inline), without_tests(beside));
        let followed = "#[cfg(all(test, unix))]\nmod tests {\n}\nfn one() {}\n#[cfg(test)]\nmod other;\n";
        assert_eq!(without_tests(followed), "fn one() {}\n#[cfg(test)]\nmod other;\n");
        assert!(is_counted("cache-core/src/lib.rs"));
        assert!(!is_counted("cache-core/src/seal/ring/tests.rs"));
        assert!(!is_counted("cache-core/tests/refresh.rs"));
    }
}
