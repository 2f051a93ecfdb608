//! Tests that the documents cite as proof: each must exist.

use std::fs;
use std::path::Path;

/// What stands between a file and a test in it: `` `flows/tests/a.rs` — `name` ``.
const LINK: &str = "` — `";

/// Citations in `text`, the document `name`, of tests that are not below `root`.
pub(crate) fn violations_in(name: &str, text: &str, root: &Path) -> Vec<String> {
    let mut violations = Vec::new();
    for (index, line) in text.lines().enumerate() {
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
