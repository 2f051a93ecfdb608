//! How tokenkeep compares with what people use today, measured in the same run on the same machine.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- [--quick] [--filter TEXT] [--output FOLDER] [--azure-cli]
//! ```
//!
//! It is a question of `benches::harness` in a package (and a workspace) of its own, so that `cargo bench` builds none of the peers. Its result is
//! written as `peers.json` into `bench` in the target directory, like those of the other questions, and `cargo xtask bench` can treat it alike: run this
//! command, read that file. `--quick` is a smoke run; `--filter` keeps the comparisons whose name contains the text; `--azure-cli` adds the Azure CLI,
//! which is some 800 MB and is installed by `cargo xtask test --azure-cli`.
//!
//! The peers:
//! - MSAL Python and MSAL Node, the real ones, in the versions that `cache-testkit` pins. Each is a process that lives as long as the run and measures
//!   within itself (`python/peer.py`, `node/peer.mjs`): neither its start nor the talk with it is in the time.
//! - `azure_identity` and `yup-oauth2`, for what they have: tokens of an application from memory.
//! - `moka` with a text for a key and a text for a token: what a program has that does it itself.
//!
//! All are filled with the same tokens of the sizes of Entra, all are asked for the same random users in turn, and every answer that ends a turn is
//! compared with the token that it has to be. Nobody reaches a network: the HTTP client of each is replaced by one that answers what filling needs and
//! counts. A request while something is measured is an error.

mod applications;
mod azure;
mod azure_cli;
mod client_credentials;
mod documents;
mod installed;
mod moka_tokens;
mod offline;
mod script;
mod silent;
mod users;
mod yup;

use std::path::PathBuf;
use std::process::ExitCode;

use benches::harness::{Arguments, Question, QuestionError, answer_with};

use crate::script::Scripts;

const COMMAND: &str = "cargo run --release --manifest-path benches/peers/Cargo.toml";

/// What this program is told.
#[derive(Debug, Default)]
struct Options {
    quick: bool,
    azure_cli: bool,
    filter: Option<String>,
    output: Option<PathBuf>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, QuestionError> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--azure-cli" => options.azure_cli = true,
                "--filter" => options.filter = Some(value()?),
                "--output" => options.output = Some(value()?.into()),
                _ => {
                    return Err(format!(
                        "{argument} is not known here; there are --quick, --azure-cli, --filter TEXT and --output FOLDER"
                    )
                    .into());
                }
            }
        }
        Ok(options)
    }

    fn arguments(&self) -> Arguments {
        let arguments = if self.quick {
            Arguments::quick()
        } else {
            Arguments::full()
        };
        let arguments = arguments.without_output();
        match &self.filter {
            Some(filter) => arguments.filter(filter),
            None => arguments,
        }
    }

    /// The command that measures this again.
    fn command(&self) -> String {
        let mut command = COMMAND.to_owned();
        if self.quick || self.azure_cli || self.filter.is_some() {
            command.push_str(" --");
        }
        if self.quick {
            command.push_str(" --quick");
        }
        if self.azure_cli {
            command.push_str(" --azure-cli");
        }
        if let Some(filter) = &self.filter {
            command.push_str(&format!(" --filter '{filter}'"));
        }
        command
    }

    fn folder(&self) -> Result<PathBuf, QuestionError> {
        match &self.output {
            Some(folder) => Ok(folder.clone()),
            None => Ok(cache_testkit::msal_program::target_directory()?.join("bench")),
        }
    }
}

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&*error);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), QuestionError> {
    let title = "What does it cost beside what people use today?";
    let mut report = answer_with(&options.arguments(), "peers", title, |question| {
        ask(question, options)
    })?;
    report.command = options.command();
    report.write(&options.folder()?)?;
    Ok(())
}

fn ask(question: &mut Question, options: &Options) -> Result<(), QuestionError> {
    let scripts = Scripts::start()?;
    silent::ask(question, &scripts)?;
    client_credentials::ask(question, &scripts)?;
    documents::ask(question, &scripts)?;
    if options.azure_cli {
        azure_cli::ask(question)?;
    }
    question.means(&format!(
        "Peers: {}, azure_identity and yup-oauth2 as locked in benches/peers/Cargo.lock.",
        scripts.versions()
    ));
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a program for people at a terminal")]
fn say(error: &(dyn std::error::Error + 'static)) {
    eprint!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, QuestionError> {
        Options::parse(arguments.iter().map(|text| (*text).to_owned()))
    }

    #[test]
    fn the_command_says_what_was_chosen() {
        assert_eq!(parse(&[]).unwrap().command(), COMMAND);
        let options = parse(&["--azure-cli", "--filter", "1 account", "--output", "x"]).unwrap();
        assert_eq!(
            options.command(),
            format!("{COMMAND} -- --azure-cli --filter '1 account'")
        );
        assert_eq!(options.folder().unwrap(), PathBuf::from("x"));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(parse(&["--slow"]).is_err());
        assert!(parse(&["--filter"]).is_err());
    }
}
