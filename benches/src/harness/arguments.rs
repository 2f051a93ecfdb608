//! What a question's program is told.

use std::path::{Path, PathBuf};

use super::QuestionError;

/// The arguments of a question's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    pub(super) quick: bool,
    pub(super) filter: Option<String>,
    /// Where the results are written; `None`: nowhere.
    pub(super) output: Option<PathBuf>,
}

impl Arguments {
    /// Those of this program.
    ///
    /// # Errors
    /// An argument that is not known.
    pub fn of_program() -> Result<Self, QuestionError> {
        Self::parse(std::env::args().skip(1), target_folder().as_deref())
    }

    /// A smoke run.
    #[must_use]
    pub fn quick() -> Self {
        Self::alone(true)
    }

    /// A run whose values are worth something, whatever the program is told.
    #[must_use]
    pub fn full() -> Self {
        Self::alone(false)
    }

    fn alone(quick: bool) -> Self {
        Self {
            quick,
            filter: None,
            output: target_folder().map(|folder| folder.join(folder_name(quick))),
        }
    }

    /// Keeps the comparisons whose name contains `text`.
    #[must_use]
    pub fn filter(mut self, text: &str) -> Self {
        self.filter = Some(text.to_owned());
        self
    }

    /// Writes no results.
    #[must_use]
    pub fn without_output(mut self) -> Self {
        self.output = None;
        self
    }

    fn parse(
        arguments: impl Iterator<Item = String>,
        target_folder: Option<&Path>,
    ) -> Result<Self, QuestionError> {
        let mut parsed = Self {
            quick: false,
            filter: None,
            output: None,
        };
        let mut is_bench = false;
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| QuestionError::from(format!("{argument} needs a value")))
            };
            match argument.as_str() {
                // Cargo says whether it measures (`cargo bench`) or tests.
                "--bench" => is_bench = true,
                "--quick" => parsed.quick = true,
                "--filter" => parsed.filter = Some(value()?),
                "--output" => parsed.output = Some(value()?.into()),
                _ => {
                    return Err(format!(
                        "{argument} is not known here; there are --quick, --filter TEXT and --output FOLDER"
                    )
                    .into());
                }
            }
        }
        parsed.quick |= !is_bench;
        if parsed.output.is_none() {
            parsed.output = target_folder.map(|folder| folder.join(folder_name(parsed.quick)));
        }
        Ok(parsed)
    }

    /// The command that answers the question in the same way.
    pub(super) fn command(&self, question: &str) -> String {
        let mut command = format!("cargo bench -p benches --features questions --bench {question}");
        if self.quick || self.filter.is_some() {
            command.push_str(" --");
        }
        if self.quick {
            command.push_str(" --quick");
        }
        if let Some(filter) = &self.filter {
            command.push_str(&format!(" --filter '{filter}'"));
        }
        command
    }
}

/// What a smoke run says must not take the place of what was measured: the tests are one.
fn folder_name(quick: bool) -> &'static str {
    if quick { "bench-quick" } else { "bench" }
}

/// The target directory, in which Cargo has put this program under `PROFILE/deps`.
fn target_folder() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let deps = program.ancestors().find(|folder| folder.ends_with("deps"))?;
    Some(deps.parent()?.parent()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, QuestionError> {
        Arguments::parse(arguments.iter().map(|text| (*text).to_owned()), None)
    }

    #[test]
    fn a_test_is_a_smoke_run_and_a_bench_is_not() {
        assert!(parse(&[]).unwrap().quick);
        assert!(!parse(&["--bench"]).unwrap().quick);
        assert!(parse(&["--bench", "--quick"]).unwrap().quick);
    }

    #[test]
    fn a_smoke_run_writes_elsewhere() {
        let parse = |arguments: &[&str]| {
            let arguments = arguments.iter().map(|text| (*text).to_owned());
            Arguments::parse(arguments, Some(Path::new("target")))
                .unwrap()
                .output
        };
        assert_eq!(parse(&["--bench"]), Some("target/bench".into()));
        assert_eq!(parse(&[]), Some("target/bench-quick".into()));
        assert_eq!(parse(&["--bench", "--quick"]), Some("target/bench-quick".into()));
        assert_eq!(parse(&["--output", "here"]), Some("here".into()));
    }

    #[test]
    fn the_command_says_what_was_chosen() {
        let arguments = parse(&["--bench", "--filter", "cold hit"]).unwrap();
        assert_eq!(
            arguments.command("cold"),
            "cargo bench -p benches --features questions --bench cold -- --filter 'cold hit'"
        );
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(parse(&["--slow"]).is_err());
        assert!(parse(&["--filter"]).is_err());
    }
}
