//! Asking for a pass phrase, which is never an argument.

use std::io::{self, BufRead, IsTerminal, Read};

use cache_core::secret::Secret;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// The variable that is used before anybody is asked.
pub(crate) const VARIABLE: &str = "TOKENKEEP_PASSPHRASE";

/// The variable of the pass phrase that takes its place.
pub(crate) const NEW_VARIABLE: &str = "TOKENKEEP_NEW_PASSPHRASE";

/// Longer ones are a mistake, such as a file that was piped in.
const MAX_BYTES: u64 = 4096;

/// Where a pass phrase may come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    /// The environment variable that may hold it.
    pub(crate) variable: &'static str,
    /// Standard input is the command's own.
    pub(crate) stdin_is_taken: bool,
    /// It is new, so a slip of the finger would lock its owner out: ask twice.
    pub(crate) is_new: bool,
}

/// The pass phrase: of the variable, else the first line of standard input where that is no terminal, else
/// from the terminal.
pub(crate) fn ask(asking: Asking) -> Result<Secret, Failure> {
    let variable = asking.variable;
    if let Some(value) = std::env::var_os(variable).filter(|value| !value.is_empty()) {
        let text = value.into_string();
        return text
            .map(Secret::new)
            .map_err(|_| Failure::usage(format!("{variable} is not UTF-8")));
    }
    if !asking.stdin_is_taken && !io::stdin().is_terminal() {
        return first_line(variable);
    }
    let prompt = |text: &str| {
        rpassword::prompt_password(text).map(Secret::new).map_err(|_| {
            Failure::usage(format!(
                "there is no terminal to ask for the pass phrase; set {variable}"
            ))
        })
    };
    let passphrase = prompt("Pass phrase: ")?;
    if asking.is_new && prompt("Again, because it is new: ")?.expose() != passphrase.expose() {
        return Err(Failure::usage("the two pass phrases differ; nothing was made"));
    }
    Ok(passphrase)
}

fn first_line(variable: &str) -> Result<Secret, Failure> {
    let mut line = Zeroizing::new(String::with_capacity(MAX_BYTES as usize));
    let read = io::stdin().lock().take(MAX_BYTES).read_line(&mut line);
    let passphrase = line.trim_end_matches(['\r', '\n']);
    if read.is_err() || passphrase.is_empty() {
        return Err(Failure::usage(format!(
            "no pass phrase: give it in {variable}, as the first line of standard input, or at a terminal"
        )));
    }
    Ok(Secret::new(passphrase))
}
