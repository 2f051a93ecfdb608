//! MSAL Python, in a virtual environment of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{Cache, Error, MsalProgram, Setting, run};

impl MsalProgram {
    /// Starts a program with MSAL Python and, for a cache in a file or an item, `FilePersistence` or `LibsecretPersistence` and
    /// `PersistedTokenCache` of its extensions.
    ///
    /// # Errors
    /// [`Error::Environment`] when MSAL cannot be installed; others when the program does not begin.
    pub async fn python(setting: &Setting<'_>) -> Result<Self, Error> {
        let interpreter = match setting.cache {
            Cache::Item(..) => libsecret_interpreter,
            _ => interpreter,
        };
        let interpreter = tokio::task::spawn_blocking(interpreter)
            .await
            .map_err(|source| Error::Start {
                source: source.into(),
            })??;
        let mut command = Command::new(interpreter);
        // Bytecode would be written beside the sources.
        command.arg("-B").arg(sources().join("driver.py"));
        Self::start(command, setting).await
    }
}

/// The interpreter of a virtual environment with the packages of `cache-testkit/msal-python/requirements.txt`: MSAL and its extensions, pinned.
/// It is in the target directory, and is made or brought up to date first: by one process, while others wait.
///
/// # Errors
/// [`Error::Environment`] when there is no Python, or the packages cannot be had.
pub fn interpreter() -> Result<PathBuf, Error> {
    environment("msal-python-venv", "python3", &[], "requirements.txt")
}

/// The same with libsecret, whose Python module is the system's and works with the system's Python only; and with portalocker, by which the
/// extensions take their lock in the other of two ways.
fn libsecret_interpreter() -> Result<PathBuf, Error> {
    environment(
        "msal-python-libsecret-venv",
        "/usr/bin/python3",
        &["--system-site-packages"],
        "requirements-libsecret.txt",
    )
}

fn environment(name: &str, python: &str, options: &[&str], requirements: &str) -> Result<PathBuf, Error> {
    let start = |source| Error::Start { source };
    let target = target_directory()?;
    let environment = target.join(name);
    let interpreter = environment.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    let lock = File::create(target.join(format!("{name}.lock"))).map_err(start)?;
    lock.lock().map_err(start)?;
    let requirements_file = sources().join(requirements);
    let requirements = fs::read_to_string(&requirements_file).map_err(start)?;
    let installed = environment.join("installed-requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == requirements) {
        return Ok(interpreter);
    }
    let mut make = std::process::Command::new(python);
    make.args(["-m", "venv", "--clear"])
        .args(options)
        .arg(&environment);
    run(&mut make, "make a virtual environment")?;
    let mut install = std::process::Command::new(&interpreter);
    install
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ])
        .arg(requirements_file);
    run(&mut install, "install MSAL from the Python package index")?;
    fs::write(installed, requirements).map_err(start)?;
    Ok(interpreter)
}

/// The target directory of the build that this test belongs to: where what is large is kept between runs.
///
/// # Errors
/// [`Error::Environment`] when the program does not run from one.
pub fn target_directory() -> Result<PathBuf, Error> {
    let program = std::env::current_exe().map_err(|source| Error::Start { source })?;
    // Cargo marks its target directories with this file.
    let target = program
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.map(Path::to_owned).ok_or_else(|| Error::Environment {
        purpose: "find the target directory",
        output: format!("{} is in none", program.display()),
    })
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("msal-python")
}
