//! `doctor`: checks the store, its key and this machine, and says what to do.

mod authority;
mod files;
mod key;
mod keychain;
mod msal;
mod redis;

use std::time::Duration;

use cache_core::cache::RecordInfo;
use serde_json::{Value, json};

use crate::answer::{Answer, say};
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::key_address::KeyAddress;
use crate::session::{Missing, Session, Stdin};
use crate::store_address::StoreAddress;

/// No clock that is right shows a moment before this program was written (2025-01-01).
const EARLIEST: i64 = 1_735_689_600;

/// One thing that was looked at.
#[derive(Debug)]
pub(super) struct Check {
    name: &'static str,
    state: State,
    detail: String,
}

/// How it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    /// It works, and somebody should know.
    Warning,
    /// It does not work, or is not safe.
    Problem(Exit),
}

impl Check {
    fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Good,
            detail: detail.into(),
        }
    }

    fn warning(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Warning,
            detail: detail.into(),
        }
    }

    fn problem(name: &'static str, exit: Exit, detail: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Problem(exit),
            detail: detail.into(),
        }
    }

    fn failed(name: &'static str, failure: &Failure) -> Self {
        let text = failure.to_text();
        let detail = text.strip_prefix("error: ").unwrap_or(&text);
        // Each of its lines is free of line breaks; here they become one.
        Self::problem(name, failure.exit, one_line(&detail.replace("\n  ", "; ")))
    }

    fn word(&self) -> &'static str {
        match self.state {
            State::Good => "ok",
            State::Warning => "warning",
            State::Problem(_) => "problem",
        }
    }

    fn object(&self) -> Value {
        json!({ "name": self.name, "state": self.word(), "detail": self.detail })
    }
}

/// Runs every check, also after one failed.
pub(crate) async fn run(session: &Session, online: bool) -> Result<Answer, Failure> {
    let mut checks = vec![clock(session)];
    let store = session.store_address()?;
    match &store {
        StoreAddress::Sqlite(path) => checks.extend(files::store(path)),
        StoreAddress::Memory => {
            checks.push(Check::warning(
                "store file",
                "memory: is forgotten when the process ends",
            ));
        }
        StoreAddress::Redis(address) => checks.push(redis::connection(address)),
        // Below, with what is in them.
        _ => {}
    }
    let mut keychains = Vec::new();
    if !store.is_of_msal() {
        let key = session.key_address()?;
        checks.extend(key::source(&key, &store));
        if let KeyAddress::Keychain { name, otherwise } = key {
            keychains.push((name, otherwise.is_some()));
        }
    }
    match &store {
        // One look is enough where both are in it.
        StoreAddress::Keychain(name) => {
            keychains.retain(|(of_key, _)| of_key != name);
            keychains.push((name.clone(), false));
        }
        StoreAddress::MsalItem(_) => keychains.push((None, false)),
        _ => {}
    }
    for (name, has_other) in keychains {
        checks.push(keychain::examined(name.as_ref(), has_other).await);
    }
    let is_there = match &store {
        StoreAddress::Sqlite(path) => path.exists(),
        StoreAddress::Memory => false,
        StoreAddress::Redis(_) => {
            let (found, is_there) = redis::servers(session).await;
            checks.extend(found);
            is_there
        }
        StoreAddress::AzureCli | StoreAddress::MsalFile(_) | StoreAddress::MsalItem(_) => {
            let (found, is_there) = msal::place(session, &store);
            checks.extend(found);
            is_there
        }
        StoreAddress::Keychain(_) => match session.opened(Missing::Refuse).await {
            Ok(_) => true,
            Err(failure) if failure.kind == "store_missing" => {
                checks.push(Check::warning(
                    "store",
                    "nothing is there yet; the first sign-in makes the key ring",
                ));
                false
            }
            Err(failure) => {
                checks.push(Check::failed("store", &failure));
                false
            }
        },
    };
    if is_there {
        checks.extend(contents(session).await);
    }
    if online {
        checks.extend(authority::checks(session).await);
    }
    conclude(&checks)
}

fn conclude(checks: &[Check]) -> Result<Answer, Failure> {
    let objects: Vec<_> = checks.iter().map(Check::object).collect();
    let lines: Vec<_> = checks
        .iter()
        .map(|check| format!("{:<8} {}: {}", check.word(), check.name, check.detail))
        .collect();
    // The store comes first: without it nothing else matters.
    let exits = || {
        checks.iter().filter_map(|check| match check.state {
            State::Problem(exit) => Some(exit),
            _ => None,
        })
    };
    let worst = exits()
        .find(|exit| *exit == Exit::Storage)
        .or_else(|| exits().next());
    let Some(exit) = worst else {
        return Ok(Answer::new(json!({ "checks": objects }), lines.join("\n")));
    };
    say(&lines.join("\n"));
    let count = exits().count();
    let message = if count == 1 {
        "1 problem was found".to_owned()
    } else {
        format!("{count} problems were found")
    };
    Err(Failure::new("doctor", exit, message).found("checks", objects.into()))
}

fn clock(session: &Session) -> Check {
    let now = session.clock().now().to_seconds().0;
    if now < EARLIEST {
        let detail = "this machine's clock is years behind, so every token looks valid; set it";
        return Check::problem("clock", Exit::Other, detail);
    }
    Check::good("clock", format!("{now} seconds since 1970"))
}

/// Opens the store and the cache, and everything in it.
async fn contents(session: &Session) -> Vec<Check> {
    let mut checks = Vec::new();
    let is_of_msal = session.store_address().is_ok_and(|store| store.is_of_msal());
    if is_of_msal {
        // What is no cache is one problem, and nothing else about it is sound.
        checks.extend(msal_contents(session).await);
        if checks
            .iter()
            .any(|check| matches!(check.state, State::Problem(_)))
        {
            return checks;
        }
    }
    match session.check_store().await {
        Ok(capabilities) => checks.push(Check::good("store", capabilities)),
        Err(failure) => {
            checks.push(Check::failed("store", &failure));
            return checks;
        }
    }
    let cache = match session.cache(Missing::Refuse, Stdin::Free).await {
        Ok(cache) => cache,
        Err(failure) => {
            checks.push(Check::failed("key ring", &failure));
            return checks;
        }
    };
    if !is_of_msal {
        checks.push(key::ring(cache.sealer()).await);
    }
    match cache.inspect().await {
        Ok(records) => checks.extend(records_checks(session, &records)),
        Err(error) => checks.push(Check::failed("records", &error.into())),
    }
    checks
}

async fn msal_contents(session: &Session) -> Vec<Check> {
    match session.cache(Missing::Refuse, Stdin::Free).await {
        Ok(cache) => msal::contents(cache).await,
        Err(failure) => vec![Check::failed("store", &failure)],
    }
}

fn records_checks(session: &Session, records: &[RecordInfo]) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut opened = 0;
    let mut spending = 0;
    for record in records {
        match &record.contents {
            Some(Ok(contents)) => {
                opened += 1;
                spending += contents.spending;
            }
            Some(Err(error)) => {
                let failure = Failure::from(error.clone()).about_record(record.key.as_str());
                checks.push(Check::failed("record", &failure));
            }
            None => {}
        }
    }
    checks.push(Check::good("records", format!("{opened} can be opened")));
    if spending > 0 {
        let longest: Duration = session.time_limits().spend();
        checks.push(Check::warning(
            "refresh tokens",
            format!(
                "{spending} being spent, or with an unknown outcome; if that lasts longer than {} s, the program that spent it \
                 was stopped",
                longest.as_secs()
            ),
        ));
    }
    checks
}

pub(super) fn same_folder(a: &KeyAddress, b: &StoreAddress) -> bool {
    match (a, b) {
        (KeyAddress::File(key), StoreAddress::Sqlite(store)) => {
            let folder = |path: &std::path::Path| path.parent().and_then(|folder| folder.canonicalize().ok());
            folder(key).is_some() && folder(key) == folder(store)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_becomes_one_line_with_its_parts_told_apart() {
        let source = std::io::Error::other("no\ndisk");
        let failure = Failure::file("read", std::path::Path::new("x"), source).next("buy one");
        assert_eq!(
            Check::failed("store", &failure).detail,
            "could not read x; because: no disk; next: buy one"
        );
    }
}
