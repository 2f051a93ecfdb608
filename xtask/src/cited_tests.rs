//! Tests and reliability gates that the documents cite as proof: each must exist.

use std::fs;
use std::path::Path;

/// What stands between a file and a test in it: `` `flows/tests/a.rs` — `name` ``.
const LINK: &str = "` — `";

/// Where the gates are, each with a line `name: "…",`.
const GATES: &str = "soak/src/gates";

/// Citations in `text`, the document `name`, of tests and gates that are not below `root`.
pub(crate) fn violations_in(name: &str, text: &str, root: &Path) -> Vec<String> {
    let mut violations = Vec::new();
    let mut known = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for gate in gates(line) {
            if known.is_empty() {
                known = names_of_gates(&root.join(GATES));
            }
            if !known.iter().any(|known| known == gate) {
                let line = index + 1;
                violations.push(format!(
                    "{name}:{line}: cites the gate `{gate}`, which is not in {GATES}"
                ));
            }
        }
        for (file, test) in citations(line) {
            let line = index + 1;
            match fs::read_to_string(root.join(file)) {
                Ok(source) if defines(&source, test) => {}
                Ok(_) => violations.push(format!("{name}:{line}: cites `{test}`, which is not in {file}")),
                Err(_) => violations.push(format!(
                    "{name}:{line}: cites a test in {file}, which cannot be read"
                )),
            }
        }
    }
    violations
}

/// Each file and test that `line` cites.
fn citations(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.match_indices(LINK).filter_map(|(position, _)| {
        let file = line[..position].rsplit('`').next()?;
        let test = line[position + LINK.len()..].split('`').next()?;
        file.ends_with(".rs").then_some((file, test))
    })
}

/// Each gate that `line` cites: ``gate `a` ``, ``gates `a`, `b` and `c` ``.
fn gates(line: &str) -> Vec<&str> {
    let mut gates = Vec::new();
    for (position, _) in line.match_indices("ate") {
        let is_word = line[..position]
            .strip_suffix(['g', 'G'])
            .is_some_and(|before| !before.ends_with(|last: char| last.is_alphanumeric()));
        let rest = &line[position + "ate".len()..];
        let Some(mut rest) = rest.strip_prefix('s').unwrap_or(rest).strip_prefix(" `") else {
            continue;
        };
        while is_word && let Some((gate, after)) = rest.split_once('`') {
            gates.push(gate);
            let next = [" and `", ", `"]
                .iter()
                .find_map(|joint| after.strip_prefix(joint));
            let Some(next) = next else { break };
            rest = next;
        }
    }
    gates
}

/// The names of the gates whose files are in `folder`, at whatever depth.
fn names_of_gates(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for path in fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
    {
        if path.is_dir() {
            names.extend(names_of_gates(&path));
        } else if let Ok(source) = fs::read_to_string(&path) {
            let named = source.lines().filter_map(|line| {
                let name = line.trim().strip_prefix("name: \"")?;
                name.strip_suffix("\",")
            });
            names.extend(named.map(str::to_owned));
        }
    }
    names
}

/// Whether `source` has a test function of this name: one that follows an attribute which ends in `test`.
fn defines(source: &str, test: &str) -> bool {
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        let function = line
            .strip_prefix("async fn ")
            .or_else(|| line.strip_prefix("fn "));
        if let Some(function) = function {
            let name = function.split(['(', '<']).next().unwrap_or_default();
            if is_test && name == test {
                return true;
            }
            is_test = false;
        } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_cite_several_tests_and_other_code() {
        let line = "| `Secret` | `a/b.rs` — `one`<br>`c.rs` — `two` | `word` — `word` |";
        let found: Vec<_> = citations(line).collect();
        assert_eq!(found, [("a/b.rs", "one"), ("c.rs", "two")]);
    }

    #[test]
    fn a_line_may_cite_several_gates_and_use_the_word() {
        let line = "| gate `one`<br>gates `two`, `three` and `four` | delegate `five` | Gate `six` pins `seven`, a gate";
        let found = gates(line);
        assert_eq!(found, ["one", "two", "three", "four", "six"]);
    }

    #[test]
    fn a_gate_that_was_renamed_is_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(
            violations_in("a.md", "gates `fuzzing` and `rollback`", &root),
            [""; 0]
        );
        assert_eq!(
            violations_in("a.md", "\ngate `fuzzed`", &root),
            ["a.md:2: cites the gate `fuzzed`, which is not in soak/src/gates"]
        );
    }

    #[test]
    fn only_a_whole_test_counts() {
        let source = "#[test]\nfn one() {}\nfn helper() {}\n    #[tokio::test(flavor = \"multi_thread\")]\n    async fn two() {}";
        assert!(defines(source, "one") && defines(source, "two"));
        for absent in ["on", "helper", "three", ""] {
            assert!(!defines(source, absent), "{absent}");
        }
    }

    #[test]
    fn what_is_cited_and_not_there_is_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let here = "src/cited_tests.rs";
        let good = format!("`{here}` — `only_a_whole_test_counts`");
        assert_eq!(violations_in("a.md", &good, root), [""; 0]);
        let renamed = format!("\n`{here}` — `defines`");
        assert_eq!(
            violations_in("a.md", &renamed, root),
            [format!("a.md:2: cites `defines`, which is not in {here}")]
        );
        let moved = "`src/none.rs` — `x`";
        assert_eq!(
            violations_in("a.md", moved, root),
            ["a.md:1: cites a test in src/none.rs, which cannot be read"]
        );
    }
}
