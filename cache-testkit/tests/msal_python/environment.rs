//! Running a script in the virtual environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_testkit::authority::FakeAuthority;
use cache_testkit::msal_program::interpreter;

/// Runs a script of this directory against an authority, and fails with its output unless it succeeds.
pub(crate) fn run_script(authority: &FakeAuthority, script: &str, more: &[(&str, &Path)]) {
    let ca_file = scratch_directory(script).join("ca.pem");
    fs::write(&ca_file, authority.ca_pem().expect("MSAL insists on HTTPS")).unwrap();
    let output = Command::new(interpreter().unwrap_or_else(|error| panic!("{error}")))
        // Warnings about a deprecated grant would otherwise hide what matters, and bytecode the sources.
        .args(["-B", "-W", "ignore::DeprecationWarning"])
        .arg(sources().join(script))
        .env("FAKE_AUTHORITY", authority.base_url())
        .env("FAKE_AUTHORITY_CA", &ca_file)
        .env("NO_PROXY", "127.0.0.1")
        // `requests` would prefer these to the certificate that a script names.
        .env_remove("REQUESTS_CA_BUNDLE")
        .env_remove("CURL_CA_BUNDLE")
        .envs(more.iter().copied())
        .output()
        .expect("the virtual environment's Python starts");
    assert!(
        output.status.success(),
        "{script} failed with {}\n{}{}\nrequests: {:#?}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        authority.requests(),
    );
}

/// A directory for the files of one script, which one test runs.
pub(crate) fn scratch_directory(script: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("msal-python")
        .join(script);
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/msal_python")
}
