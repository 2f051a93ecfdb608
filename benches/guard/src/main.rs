//! Runs each probe some hundred times, for callgrind to count.

use std::process::ExitCode;
use std::sync::Arc;

use guard::{Fixture, FixtureError, probes};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr, reason = "a program for people at a terminal")]
fn report(error: &FixtureError) {
    eprintln!("{error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
}

fn run() -> Result<(), FixtureError> {
    let fixture = Fixture::new()?;
    let _entered = fixture.runtime.enter();
    hits(&fixture).ok_or(FixtureError::Cold)?;
    for _ in 0..100 {
        let partition = probes::decode(&fixture.encoded).ok_or(FixtureError::Cold)?;
        probes::encode(&partition).ok_or(FixtureError::Cold)?;
    }
    Ok(())
}

/// Every hit, for every user; `None` when one of them was none.
fn hits(fixture: &Fixture) -> Option<()> {
    for _ in 0..guard::USERS {
        probes::peek(&fixture.prepared)?;
    }
    for account in &fixture.accounts {
        let home_account_id = &account.account.home_account_id;
        probes::find(&fixture.cache, &fixture.authority, home_account_id)?;
    }
    for request in &fixture.requests {
        probes::acquire(&fixture.cache, Arc::clone(request), Arc::clone(&fixture.call))?;
    }
    for request in &fixture.unused {
        probes::acquire_anew(&fixture.cache, Arc::clone(request), Arc::clone(&fixture.call))?;
    }
    for account in &fixture.accounts {
        probes::silent(&fixture.client, account)?;
    }
    Some(())
}
