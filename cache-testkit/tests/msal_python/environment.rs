//! The virtual environment, and running a script in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_testkit::authority::FakeAuthority;

const HOW_TO_INSTALL: &str = "MSAL Python's tests need Python 3.11 or later with its venv and pip modules; \
    on Debian and Ubuntu: apt-get install python3 python3-venv; on macOS: brew install python";

/// Runs a script of this directory against an authority, and fails with its output unless it succeeds.
pub(crate) fn run_script(authority: &FakeAuthority, script: &str, more: &[(&str, &Path)]) {
    let ca_file = scratch_directory(script).join("ca.pem");
    fs::write(&ca_file, authority.ca_pem().expect("MSAL insists on HTTPS")).unwrap();
    let output = Command::new(python())
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

/// The interpreter of the virtual environment, which is made or brought up to date first.
fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target directory");
    let environment = target.join("msal-python-venv");
    let python = environment.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });

    // The tests of this file run at once, in threads or in processes: one of them installs.
    let lock = File::create(target.join("msal-python-venv.lock")).unwrap();
    lock.lock().unwrap();
    let requirements = fs::read_to_string(sources().join("requirements.txt")).unwrap();
    let installed = environment.join("installed-requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == requirements) {
        return python;
    }
    let make = ["-m", "venv", "--clear"]
        .map(Into::into)
        .into_iter()
        .chain([environment.clone().into_os_string()]);
    run(Command::new("python3").args(make), "make a virtual environment");
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ];
    run(
        Command::new(&python)
            .args(install)
            .arg(sources().join("requirements.txt")),
        "install MSAL from the Python package index",
    );
    fs::write(installed, requirements).unwrap();
    python
}

fn run(command: &mut Command, purpose: &str) {
    match command.output() {
        Err(error) => panic!("cannot {purpose}: {error}. {HOW_TO_INSTALL}"),
        Ok(output) if !output.status.success() => panic!(
            "cannot {purpose}: {}\n{}{}\n{HOW_TO_INSTALL}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        ),
        Ok(_) => {}
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/msal_python")
}
