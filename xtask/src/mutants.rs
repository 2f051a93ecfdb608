//! `cargo xtask mutants`: changes to the code that no test notices.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::command::{Failure, cargo, root, succeeds, target_folder};

/// Where each survivor is that is known, with the reason.
const REPORT: &str = "docs/mutants.md";

/// What is changed together, because the same tests are about it.
struct Part {
    name: &'static str,
    files: &'static [&'static str],
    /// The programs of `cache-core/tests` that are about it. More of them would only cost each mutant more time.
    tests: &'static [&'static str],
}

const PARTS: [Part; 3] = [
    Part {
        name: "seal",
        files: &["cache-core/src/seal/**"],
        tests: &[
            "seal_key_sources",
            "seal_records",
            "seal_reseal",
            "seal_ring",
            "seal_ring_changes",
            "seal_source_keys",
            "seal_vectors",
            "damage",
            "directory",
            "layout",
            "memory_bound",
            "outage",
            "replicas",
            "rotation",
        ],
    },
    Part {
        name: "merge",
        files: &[
            "cache-core/src/schema/merge.rs",
            "cache-core/src/schema/merge/**",
            "cache-core/src/codec/msal/merge.rs",
        ],
        tests: &[
            "codec_golden",
            "codec_merge",
            "codec_msal",
            "codec_roundtrip",
            "commit",
            "commit_attempts",
            "import",
            "refresh",
            "sign_in_in_doubt",
            "sign_out",
        ],
    },
    Part {
        name: "refresh",
        files: &[
            "cache-core/src/cache/refresh.rs",
            "cache-core/src/cache/exchange.rs",
            "cache-core/src/cache/reply.rs",
            "cache-core/src/cache/commit.rs",
            "cache-core/src/cache/commit_queue.rs",
            "cache-core/src/cache/new_epochs.rs",
            "cache-core/src/cache/writes.rs",
            "cache-core/src/strategy/spend.rs",
        ],
        tests: &[
            "commit",
            "commit_attempts",
            "damage",
            "late_spenders",
            "outage",
            "preparation",
            "refresh",
            "refresh_limits",
            "replicas",
            "stored_replies",
            "sign_in_in_doubt",
            "sign_out",
            "sign_out_in_doubt",
        ],
    },
];

/// What is said in words and not done.
const NOT_MUTATED: &str = r"impl (std::)?(fmt::)?(Debug|Display)";

/// Unit tests that are about none of the parts, and take most of the time.
const SLOW_AND_BESIDE: &str = "strategy::memory_tier";

/// After so many seconds a mutant counts as noticed: the tests of it take a few.
const PATIENCE: &str = "60";

/// What is to be changed.
#[derive(Debug, PartialEq)]
pub(crate) struct Selection<'a> {
    /// The names of parts; all of them when there are none.
    parts: Vec<&'a str>,
    /// Whether an earlier run was stopped: what it saw noticed is not tried again.
    goes_on: bool,
}

impl<'a> Selection<'a> {
    /// Reads the arguments after `mutants`; `None` when one is not known.
    pub(crate) fn parse(arguments: &[&'a str]) -> Option<Self> {
        let (options, parts): (Vec<&str>, Vec<&str>) =
            arguments.iter().partition(|argument| argument.starts_with('-'));
        let is_known = |name: &&str| PARTS.iter().any(|part| part.name == *name);
        let is_understood = options.iter().all(|option| *option == "--go-on") && parts.iter().all(is_known);
        is_understood.then_some(Self {
            parts,
            goes_on: !options.is_empty(),
        })
    }

    fn wants(&self, part: &Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part.name)
    }
}

/// Changes the code of the selected parts, one place after the other, and fails when the tests notice less than the report says.
pub(crate) fn run(selection: &Selection<'_>) -> Result<(), Failure> {
    if !succeeds(&mut cargo(["mutants", "--version"])) {
        let what = "cargo-mutants is missing: `cargo install --locked cargo-mutants` installs it";
        return Err(Failure::new(what));
    }
    let report = root().join(REPORT);
    let report = fs::read_to_string(&report).map_err(|error| Failure::new(format!("{REPORT}: {error}")))?;
    let mut unknown = Vec::new();
    for part in PARTS.iter().filter(|part| selection.wants(part)) {
        let folder = target_folder()?.join("mutants").join(part.name);
        let missed = survivors(part, &folder, selection.goes_on)?;
        unknown.extend(missed.into_iter().filter(|mutant| !is_explained(&report, mutant)));
    }
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "no test notices these; write one, or say in {REPORT} why none can:\n{}",
        unknown.join("\n")
    )))
}

/// The mutants of `part` that its tests let pass.
fn survivors(part: &Part, folder: &Path, goes_on: bool) -> Result<Vec<String>, Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::new(format!("{}: {error}", folder.display())))?;
    let mut command = cargo(["mutants", "--no-shuffle", "--package", "cache-core"]);
    command.args(["--exclude-re", NOT_MUTATED, "--timeout", PATIENCE, "--output"]);
    command.arg(folder).args(goes_on.then_some("--iterate"));
    for file in part.files {
        command.args(["--file", file]);
    }
    command.arg("--cargo-arg=--lib");
    for test in part.tests {
        command.arg(format!("--cargo-arg=--test={test}"));
    }
    command.args(["--", "--", "--skip", SLOW_AND_BESIDE]);
    // A mutant is built a thousand times and debugged by nobody. A target folder that was chosen for the workspace is not the copy's.
    command
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_INCREMENTAL", "1")
        .env_remove("CARGO_TARGET_DIR");
    let status = command.stdin(Stdio::null()).status();
    let status = status.map_err(|error| Failure::new(format!("could not start cargo-mutants: {error}")))?;
    // By its manual: 2 when something was missed, 3 when a test took too long.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        return Err(Failure::new(format!("`cargo mutants` failed ({status})")));
    }
    let missed = folder.join("mutants.out").join("missed.txt");
    let missed = fs::read_to_string(&missed)
        .map_err(|error| Failure::new(format!("{}: {error}", missed.display())))?;
    Ok(missed.lines().map(without_position).collect())
}

/// `a.rs:27:9: replace …` as `a.rs: replace …`, so that a line more above it makes it no other mutant.
fn without_position(mutant: &str) -> String {
    let mut parts = mutant.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(file), Some(_), Some(_), Some(what)) => format!("{file}:{what}"),
        _ => mutant.to_owned(),
    }
}

/// Whether the report has an entry for the mutant: its file and what was done to it, as code.
fn is_explained(report: &str, mutant: &str) -> bool {
    report.contains(&format!("`{mutant}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_name() {
        let all = Selection::parse(&[]).unwrap();
        assert!(PARTS.iter().all(|part| all.wants(part)) && !all.goes_on);
        let merge = Selection::parse(&["merge", "--go-on"]).unwrap();
        assert_eq!(
            merge,
            Selection {
                parts: vec!["merge"],
                goes_on: true
            }
        );
        assert!(!merge.wants(&PARTS[0]));
        assert_eq!(Selection::parse(&["merge", "flows"]), None);
        assert_eq!(Selection::parse(&["--anew"]), None);
    }

    #[test]
    fn files_and_tests_of_the_parts_exist() {
        for part in &PARTS {
            for file in part.files {
                let path = root().join(file.trim_end_matches("/**"));
                assert!(path.exists(), "{file}");
            }
            for test in part.tests {
                let tests = root().join("cache-core/tests");
                let single = tests.join(format!("{test}.rs"));
                assert!(
                    single.exists() || tests.join(test).join("main.rs").exists(),
                    "{test}"
                );
            }
        }
    }

    #[test]
    fn survivor_is_known_by_its_file_and_what_was_done_to_it() {
        let mutant = without_position("cache-core/src/a.rs:27:9: replace B::code -> u8 with 1");
        assert_eq!(mutant, "cache-core/src/a.rs: replace B::code -> u8 with 1");
        let report = "- `cache-core/src/a.rs: replace B::code -> u8 with 1`: there is one.";
        assert!(is_explained(report, &mutant));
        assert!(!is_explained(
            report,
            "cache-core/src/a.rs: replace B::code -> u8 with 0"
        ));
    }
}
