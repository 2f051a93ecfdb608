//! The virtual environment with the Azure CLI.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

const HOW_TO_INSTALL: &str = "the Azure CLI needs Python 3.10 or later with its venv and pip modules; on Debian and Ubuntu: \
    apt-get install python3 python3-venv; on macOS: brew install python";

/// The interpreter that runs the Azure CLI, which is installed first unless it is there.
pub(crate) fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target directory");
    let environment = target.join("azure-cli-venv");
    let python = environment.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    // The tests run at once, in threads or in processes: one of them installs.
    let lock = File::create(target.join("azure-cli-venv.lock")).unwrap();
    lock.lock().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/azure_cli/requirements.txt");
    let requirements = fs::read_to_string(&file).unwrap();
    let installed = environment.join("installed-requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == requirements) {
        return python;
    }
    let mut make = Command::new(if cfg!(windows) { "python" } else { "python3" });
    make.args(["-m", "venv", "--clear"]).arg(&environment);
    run(&mut make, "make a virtual environment");
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ]);
    run(
        install.arg(&file),
        "install the Azure CLI from the Python package index",
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
