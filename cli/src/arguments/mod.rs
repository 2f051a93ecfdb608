//! The command line: what may be written, and where.

#[cfg(feature = "bench")]
mod bench;
mod commands;
mod migrate;
mod options;
mod parsing;

use clap::Parser;

#[cfg(feature = "bench")]
pub(crate) use bench::BenchArguments;
pub(crate) use commands::{Command, Keys, Login, LogoutArguments, TokenArguments, WatchArguments};
pub(crate) use migrate::MigrateArguments;
pub(crate) use options::{HEADING, Options};
pub(crate) use parsing::parse;

/// Sign in once, then get access tokens silently, from any number of processes.
///
/// Tokens are kept encrypted in a local file that processes share, in the operating system's keychain, or in Redis for those of many
/// machines. The sign-ins of the Azure CLI and of other MSAL programs can be used where they are (--store azure-cli, msal-file:PATH).
/// `tokenkeep demo` shows it at work and needs nothing.
#[derive(Debug, Parser)]
#[command(name = "tokenkeep", version, after_help = AFTER_HELP, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Options may stand before or after the command. Each has an environment variable; the command line wins.

Output: `token` prints the token alone and `export` the file; everything else that people read goes to standard
error. With --json, exactly one JSON object goes to standard output, also for an error; `watch` prints one a line.

Exit codes:
  0  done
  1  something else failed, such as writing the output
  2  usage: the command line or the configuration makes no sense
  3  interaction required: the user must sign in
  4  a problem of the store, of a record in it, or of the key
  5  the authority refused or could not be reached
  130  interrupted

Logs: TOKENKEEP_LOG (or RUST_LOG) takes a filter such as `debug` or `flows=trace`, and writes to standard error.";
