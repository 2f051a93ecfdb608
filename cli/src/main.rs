//! `tokenkeep`: sign in once, then get tokens silently, from any number of processes.

mod account_choice;
mod answer;
mod arguments;
mod assertion;
mod authority_address;
mod azure_cli;
mod browser_arguments;
mod classify;
mod commands;
mod credential_options;
mod demanded_claims;
#[cfg(feature = "demo")]
mod demo;
mod exit;
mod failure;
mod folders;
mod identity_choice;
mod item_address;
mod key_address;
mod key_source;
mod keychain_failure;
mod keychain_name;
mod logging;
mod moment;
mod opened_store;
mod passphrase;
mod path_text;
mod patience;
mod private_file;
mod redis_address;
mod redis_options;
mod refusal;
mod session;
mod shown_browser;
mod stopping;
mod store_address;
mod variable_name;
mod writing_place;

use std::io::Write;
use std::process::ExitCode;

use answer::{Answer, say};
use arguments::{Arguments, Command};
use cache_core::core_dumps::{self, CoreDumpsNotForbidden};
use exit::Exit;
use failure::Failure;
use refusal::Refusal;
use session::Session;

fn main() -> ExitCode {
    // Before anything secret is read, which a crash would leave in a file.
    let core_dumps = core_dumps::forbid();
    let arguments = match arguments::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => return not_parsed(&error),
    };
    let json = arguments.options.json;
    let result = execute(arguments, core_dumps);
    if let Err(error) = answer::print(&result, json) {
        say(&format!(
            "error: could not write to standard output\n  because: {error}"
        ));
        return Exit::Other.into();
    }
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(failure) => failure.exit.into(),
    }
}

fn execute(arguments: Arguments, core_dumps: Result<(), CoreDumpsNotForbidden>) -> Result<Answer, Failure> {
    logging::start()?;
    tracing::trace!(version = env!("CARGO_PKG_VERSION"), "started");
    match core_dumps {
        Ok(()) => {}
        Err(error @ CoreDumpsNotForbidden::Unsupported) => tracing::debug!(%error, "started"),
        Err(error) => tracing::warn!(%error, "a crash may leave a core dump"),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new("internal", Exit::Other, error))?;
    let result = runtime.block_on(async {
        let session = Session::new(arguments.options);
        let mut stop = stopping::signals()?;
        let stops_itself = arguments.command.stops_itself();
        let ends_when_interrupted = matches!(arguments.command, Command::Watch(_));
        let result = tokio::select! {
            result = commands::run(&session, arguments.command) => result,
            () = stop.requested_of(stops_itself) => if ends_when_interrupted {
                Ok(Answer::printed())
            } else {
                Err(Failure::new("interrupted", Exit::Interrupted, "interrupted"))
            },
        };
        // Also after an interrupt: a refresh token that was just obtained must be stored, or its user is
        // signed out.
        tokio::select! {
            () = session.close() => {}
            () = stop.requested() => {}
        }
        result
    });
    // The store is closed. What may be left is a thread that waits for somebody to type a pass phrase.
    runtime.shutdown_background();
    result
}

/// Prints help, version, or what is wrong with the command line.
fn not_parsed(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let printed = error.print().and_then(|()| std::io::stdout().flush());
        return if printed.is_ok() {
            ExitCode::SUCCESS
        } else {
            Exit::Other.into()
        };
    }
    let refusal = Refusal::new(error);
    say(&refusal.text);
    if wants_json() {
        let _ = answer::print_object(&Failure::usage(refusal.message).to_json());
    }
    Exit::Usage.into()
}

/// Whether JSON was asked for on a command line that could not be parsed.
fn wants_json() -> bool {
    std::env::args_os().skip(1).any(|argument| argument == "--json")
        || std::env::var_os("TOKENKEEP_JSON").is_some_and(|value| {
            !["", "0", "false", "no", "off", "n", "f"]
                .iter()
                .any(|falsey| value == *falsey)
        })
}
