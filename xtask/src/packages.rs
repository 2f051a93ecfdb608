//! The system's package manager.

use std::process::Command;

use crate::command::{Failure, output, run, succeeds};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PackageManager {
    Apt,
    Dnf,
    Apk,
    Brew,
}

impl PackageManager {
    /// The package manager of this system, if it is one that is known here.
    pub(crate) fn detect() -> Option<Self> {
        [Self::Apt, Self::Dnf, Self::Apk, Self::Brew]
            .into_iter()
            .find(|manager| succeeds(Command::new(manager.program()).arg("--version")))
    }

    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Dnf => "dnf",
            Self::Apk => "apk",
            Self::Brew => "brew",
        }
    }

    /// The command that a person would type to install `packages`.
    pub(crate) fn hint(self, packages: &[&str]) -> String {
        let sudo = if self == Self::Brew { "" } else { "sudo " };
        format!(
            "{sudo}{} {} {}",
            self.program(),
            self.install_arguments().join(" "),
            packages.join(" ")
        )
    }

    /// Installs `packages` without a question, or fails when that takes a password.
    pub(crate) fn install(self, packages: &[&str]) -> Result<(), Failure> {
        if self == Self::Apt {
            // A fresh container has no package lists.
            self.update()?;
        }
        run(self
            .privilege()?
            .command(self.program())
            .args(self.install_arguments())
            .args(packages))
    }

    /// Fetches the lists of packages.
    pub(crate) fn update(self) -> Result<(), Failure> {
        run(self.privilege()?.command(self.program()).arg("update"))
    }

    fn install_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Apt => &["install", "--yes", "--no-install-recommends"],
            Self::Dnf => &["install", "--assumeyes"],
            Self::Apk => &["add"],
            Self::Brew => &["install"],
        }
    }

    fn privilege(self) -> Result<Privilege, Failure> {
        if self == Self::Brew {
            return Ok(Privilege::Own);
        }
        if output(Command::new("id").arg("-u"))?.trim() == "0" {
            return Ok(Privilege::Own);
        }
        if succeeds(Command::new("sudo").args(["-n", "true"])) {
            return Ok(Privilege::Sudo);
        }
        Err(Failure::new(format!(
            "{} needs root, or sudo without a password",
            self.program()
        )))
    }
}

#[derive(Clone, Copy, Debug)]
enum Privilege {
    Own,
    Sudo,
}

impl Privilege {
    fn command(self, program: &str) -> Command {
        let mut command = match self {
            Self::Own => Command::new(program),
            Self::Sudo => {
                let mut sudo = Command::new("sudo");
                sudo.args(["-n", "DEBIAN_FRONTEND=noninteractive", program]);
                sudo
            }
        };
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    }
}
