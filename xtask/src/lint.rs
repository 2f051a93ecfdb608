//! `cargo xtask lint`: everything that must hold of the sources beside the tests.
//!
//! The order goes from fast to slow, and runs what shares artefacts together.

use std::time::Instant;

use crate::command::{Failure, cargo, output, run, succeeds};
use crate::fuzz;
use crate::metadata::packages;
use crate::source_rules;
use crate::supply_chain;

const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];

/// The package that measures beside the peers is a workspace of its own.
pub(crate) const PEERS: [&str; 2] = ["--manifest-path", "benches/peers/Cargo.toml"];

/// Clippy links nothing: it can do without libFuzzer, which would have to be compiled.
const NO_LIBFUZZER: (&str, &str) = ("CUSTOM_LIBFUZZER_PATH", "absent/libabsent.a");

type Gate = (&'static str, fn() -> Result<(), Failure>);

const GATES: [Gate; 11] = [
    ("format", format),
    ("source rules", source_rules::check),
    ("clippy, all features", clippy_all_features),
    ("clippy, peers", clippy_peers),
    ("clippy, fuzz", clippy_fuzz),
    ("documentation", documentation),
    ("clippy, no default features", clippy_no_default_features),
    ("clippy, each feature alone", clippy_each_feature),
    ("dependencies: licences, bans, sources", supply_chain::deny),
    ("dependencies: reviews", supply_chain::reviews),
    ("dependencies: programs", supply_chain::binaries),
];

/// Runs every gate, also after one failed, and ends with the list of those that did.
pub(crate) fn all() -> Result<(), Failure> {
    let mut failed = Vec::new();
    for (name, gate) in GATES {
        #[expect(clippy::disallowed_methods, reason = "it reports how long a person waited")]
        let start = Instant::now();
        let result = gate();
        let seconds = start.elapsed().as_secs_f32();
        match result {
            Ok(()) => eprintln!("ok: {name} ({seconds:.1} s)"),
            Err(failure) => {
                eprintln!("FAILED: {name} ({seconds:.1} s): {failure}");
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("these gates failed: {}", failed.join("; "))))
}

fn format() -> Result<(), Failure> {
    run(&mut cargo(["fmt", "--all", "--check"]))?;
    run(cargo(["fmt", "--check"]).args(PEERS))?;
    run(cargo(["fmt", "--check"]).args(fuzz::PACKAGE))
}

fn clippy_all_features() -> Result<(), Failure> {
    clippy(["--workspace", "--all-targets", "--all-features"])
}

fn clippy_peers() -> Result<(), Failure> {
    run(cargo(["clippy", "--locked", "--all-targets"])
        .args(PEERS)
        .args(DENY_WARNINGS))
}

fn clippy_fuzz() -> Result<(), Failure> {
    let (variable, value) = NO_LIBFUZZER;
    run(cargo(["clippy", "--locked", "--all-targets", "--all-features"])
        .args(fuzz::PACKAGE)
        .args(DENY_WARNINGS)
        .env(variable, value))
}

fn clippy_no_default_features() -> Result<(), Failure> {
    clippy(["--workspace", "--all-targets", "--no-default-features"])
}

fn clippy_each_feature() -> Result<(), Failure> {
    if succeeds(&mut cargo(["hack", "--version"])) {
        let each = [
            "--each-feature",
            "--exclude-no-default-features",
            "--exclude-all-features",
        ];
        return run(cargo(["hack", "clippy", "--workspace", "--locked"])
            .args(each)
            .args(DENY_WARNINGS));
    }
    let metadata = output(&mut cargo([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--locked",
    ]))?;
    for (package, feature) in features(&metadata)? {
        clippy([
            "--package",
            &package,
            "--no-default-features",
            "--features",
            &feature,
        ])?;
    }
    Ok(())
}

fn clippy<const N: usize>(selection: [&str; N]) -> Result<(), Failure> {
    run(cargo(["clippy", "--locked"]).args(selection).args(DENY_WARNINGS))
}

fn documentation() -> Result<(), Failure> {
    run(
        cargo(["doc", "--workspace", "--all-features", "--no-deps", "--locked"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// Package and feature of every feature in the workspace, from the output of `cargo metadata`.
fn features(metadata: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut found = Vec::new();
    for package in packages(metadata)? {
        let (Some(name), Some(features)) = (package["name"].as_str(), package["features"].as_object()) else {
            return Err(Failure::new(
                "`cargo metadata` describes a package without name or features",
            ));
        };
        found.extend(features.keys().map(|feature| (name.to_owned(), feature.clone())));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_of_every_package_are_found() {
        let metadata = r#"{"packages": [
            {"name": "a", "features": {"default": ["x"], "x": []}},
            {"name": "b", "features": {}}
        ]}"#;
        let expected = [("a", "default"), ("a", "x")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(features(metadata).unwrap(), expected);
    }

    #[test]
    fn a_package_without_features_is_an_error() {
        assert!(features(r#"{"packages": [{"name": "a"}]}"#).is_err());
    }
}
