//! The table of reviewed crates in the documentation: it must name those that `cargo vet` asks a review of, and no others.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::command::Failure;

pub(super) const PATH: &str = "docs/supply-chain.md";

/// What is asked of crates that decide over secrets.
const CRITERIA: &str = "cryptography-reviewed";

/// The texts that have to agree.
pub(super) struct Sources<'a> {
    pub(super) document: &'a str,
    pub(super) lock: &'a str,
    pub(super) audits: &'a str,
    pub(super) config: &'a str,
}

/// A name and a version.
type Crate = (String, String);

/// What the table says of a crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Review {
    Reviewed,
    Exempted,
}

/// Where the table and the sources differ.
///
/// # Errors
/// When one of the sources is not what its tool writes.
pub(super) fn violations(sources: &Sources<'_>) -> Result<Vec<String>, Failure> {
    let lock: Lock = parse(sources.lock, "Cargo.lock")?;
    let audits: Audits = parse(sources.audits, "supply-chain/audits.toml")?;
    let config: Config = parse(sources.config, "supply-chain/config.toml")?;

    let locked: BTreeSet<Crate> = lock.package.into_iter().map(|it| (it.name, it.version)).collect();
    let decided = decisions(audits.audits, Review::Reviewed)
        .chain(decisions(config.exemptions, Review::Exempted))
        // Audits of earlier versions are kept.
        .filter(|(it, _)| locked.contains(it))
        .collect();
    Ok(differences(&rows(sources.document), &decided))
}

fn differences(rows: &[(Crate, Option<Review>)], decided: &BTreeMap<Crate, Review>) -> Vec<String> {
    let mut violations = Vec::new();
    let mut listed = BTreeSet::new();
    for ((name, version), review) in rows {
        let it = (name.clone(), version.clone());
        match decided.get(&it) {
            None => violations.push(format!(
                "{PATH}: {name} {version} is neither reviewed nor exempted"
            )),
            Some(decision) if Some(*decision) != *review => violations.push(format!(
                "{PATH}: {name} {version} is {decision:?}, and the table says otherwise"
            )),
            Some(_) => {}
        }
        if !listed.insert(it) {
            violations.push(format!("{PATH}: {name} {version} stands there twice"));
        }
    }
    for (name, version) in decided.keys().filter(|it| !listed.contains(*it)) {
        violations.push(format!("{PATH}: {name} {version} is missing"));
    }
    violations
}

/// The crates of the table: lines that begin with a name in code marks, and have a version, a use, whether there is unsafe code, and a review.
fn rows(document: &str) -> Vec<(Crate, Option<Review>)> {
    document.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<(Crate, Option<Review>)> {
    let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
    let name = cells.next()?.strip_suffix('`')?;
    let version = cells.next()?;
    let review = match cells.nth(2)? {
        "reviewed" => Some(Review::Reviewed),
        "exempted" => Some(Review::Exempted),
        _ => None,
    };
    Some(((name.to_owned(), version.to_owned()), review))
}

fn decisions(entries: BTreeMap<String, Vec<Entry>>, review: Review) -> impl Iterator<Item = (Crate, Review)> {
    entries.into_iter().flat_map(move |(name, entries)| {
        let meant = entries.into_iter().filter(|entry| entry.criteria.names(CRITERIA));
        meant.filter_map(move |entry| Some(((name.clone(), entry.into_version()?), review)))
    })
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str, name: &str) -> Result<T, Failure> {
    toml::from_str(text).map_err(|error| Failure::new(format!("could not read {name}: {error}")))
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Audits {
    audits: BTreeMap<String, Vec<Entry>>,
}

#[derive(Deserialize)]
struct Config {
    exemptions: BTreeMap<String, Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    version: Option<String>,
    /// In its place, where only the difference to an earlier version was read: `1.0.0 -> 1.1.0`.
    delta: Option<String>,
    criteria: Criteria,
}

impl Entry {
    /// The version that is decided about.
    fn into_version(self) -> Option<String> {
        let of_delta = || Some(self.delta?.rsplit_once("->")?.1.trim().to_owned());
        self.version.or_else(of_delta)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Criteria {
    One(String),
    Several(Vec<String>),
}

impl Criteria {
    fn names(&self, wanted: &str) -> bool {
        match self {
            Self::One(name) => name == wanted,
            Self::Several(names) => names.iter().any(|name| name == wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
        package = [
            { name = "aes", version = "2.0.0" },
            { name = "rustls", version = "1.0.0" },
            { name = "other", version = "1.0.0" },
        ]"#;
    const AUDITS: &str = r#"
        [[audits.aes]]
        criteria = "cryptography-reviewed"
        version = "1.0.0"
        [[audits.aes]]
        criteria = ["safe-to-deploy", "cryptography-reviewed"]
        delta = "1.0.0 -> 2.0.0""#;
    const CONFIG: &str = r#"
        [[exemptions.other]]
        criteria = "safe-to-deploy"
        version = "1.0.0"
        [[exemptions.rustls]]
        criteria = "cryptography-reviewed"
        version = "1.0.0""#;
    const DOCUMENT: &str = "\
| crate | version | for | unsafe | review | |
|---|---|---|---|---|---|
| `aes` | 2.0.0 | sealing | yes | reviewed | |
| `rustls` | 1.0.0 | TLS | yes | exempted | too large |";

    fn violations_of(document: &str) -> Vec<String> {
        let sources = Sources {
            document,
            lock: LOCK,
            audits: AUDITS,
            config: CONFIG,
        };
        violations(&sources).unwrap()
    }

    #[test]
    fn the_table_names_what_is_locked_and_decided() {
        assert_eq!(violations_of(DOCUMENT), [""; 0]);
    }

    #[test]
    fn what_the_table_does_not_say_or_says_wrongly_is_found() {
        let cases = [
            ("| `aes` | 2.0.0", "| aes | 2.0.0", "aes 2.0.0 is missing"),
            ("| 2.0.0 |", "| 1.0.0 |", "aes 1.0.0 is neither"),
            ("| reviewed |", "| exempted |", "aes 2.0.0 is Reviewed"),
            ("| exempted |", "| perhaps |", "rustls 1.0.0 is Exempted"),
            (
                "`rustls` | 1.0.0",
                "`aes` | 2.0.0",
                "aes 2.0.0 stands there twice",
            ),
        ];
        for (right, wrong, expected) in cases {
            let found = violations_of(&DOCUMENT.replace(right, wrong));
            assert!(
                found.iter().any(|line| line.contains(expected)),
                "{expected}: {found:?}"
            );
        }
    }

    #[test]
    fn sources_of_another_shape_are_an_error() {
        let sources = Sources {
            document: DOCUMENT,
            lock: LOCK,
            audits: "",
            config: CONFIG,
        };
        assert!(violations(&sources).is_err());
    }
}
