//! The options of `login browser`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use flows::request::authorization_code::Prompt;

/// How the browser is used, and what the user is asked there.
#[derive(Args, Clone, Debug)]
pub(crate) struct BrowserArguments {
    /// Who is probably signing in, to save typing
    #[arg(long, value_name = "NAME")]
    pub(crate) login_hint: Option<String>,
    /// Which organisation the user belongs to (Entra)
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain_hint: Option<String>,
    /// What the user is asked [default: what the authority finds necessary]
    #[arg(long, value_name = "PROMPT")]
    pub(crate) prompt: Option<Asked>,
    /// Ask only if the browser has no session at the authority
    #[arg(long)]
    pub(crate) session_first: bool,
    /// Open no browser, but print the address; open it on this machine
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// Where the browser comes back to, as registered with the authority; without a port, a free one is taken
    /// [default: http://localhost with Microsoft's authorities, else http://127.0.0.1/]
    #[arg(long, value_name = "URL")]
    pub(crate) redirect_uri: Option<String>,
    /// How long the user has
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

/// What the user is asked.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Asked {
    /// To sign in, even with a session
    Login,
    /// To consent
    Consent,
    /// To choose an account
    SelectAccount,
    /// To create an account
    Create,
}

impl From<Asked> for Prompt {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Login => Self::Login,
            Asked::Consent => Self::Consent,
            Asked::SelectAccount => Self::SelectAccount,
            Asked::Create => Self::Create,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err("give whole seconds, 1 to 3600".to_owned()),
    }
}
