//! `watch`: what happens in the store, as it happens. Never a secret.

mod line;

use std::time::Duration;

use cache_core::cache::{CacheChange, CacheEvent};
use serde_json::json;

use crate::answer::{Answer, print_object, say};
use crate::arguments::WatchArguments;
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::session::{Missing, Session, Stdin};
use crate::store_address::StoreAddress;

/// How often a store where nothing happens is asked whether it is there.
const CHECKS: Duration = Duration::from_secs(5);

/// Prints every event, until it is interrupted or has what it was asked for: a JSON object a line, or lines for people.
///
/// An interrupt drops it, and is no failure.
pub(crate) async fn run(session: &Session, arguments: WatchArguments) -> Result<Answer, Failure> {
    if session.store_address()? == StoreAddress::Memory {
        return Err(Failure::usage(
            "nothing happens in memory: but what this process does; name a store that others use with --store",
        ));
    }
    let cache = session.cache(Missing::Refuse, Stdin::Free).await?;
    let mut events = cache.events()?.with_baseline().await?.with_checks(CHECKS);
    let store = session.store_address()?.to_string();
    if session.options.json {
        if !printed(print_object(&json!({ "event": "watching", "store": store })))? {
            return Ok(Answer::printed());
        }
    } else {
        say(&format!("watching {}; Ctrl-C ends it", one_line(&store)));
    }
    let clock = session.clock();
    let over = async {
        match arguments.time {
            Some(time) => clock.sleep(time).await,
            None => std::future::pending().await,
        }
    };
    let mut over = std::pin::pin!(over);
    // A change of MSAL's document can be one of everything in it, so each of them is announced as a gap; none is missed.
    let announces_gaps = session.store_address()?.is_of_msal();
    let mut left = arguments.count;
    while left != Some(0) {
        let event = tokio::select! {
            event = events.next() => event,
            () = &mut over => break,
        };
        let Some(event) = event else {
            return Err(Failure::new("store", Exit::Storage, "the store was closed"));
        };
        if announces_gaps && matches!(event.change, CacheChange::Lost) {
            continue;
        }
        if !told(&event, session.options.json)? {
            break;
        }
        left = left.map(|left| left - 1);
    }
    Ok(Answer::printed())
}

/// Prints an event. `false` when nobody reads any more.
fn told(event: &CacheEvent, json: bool) -> Result<bool, Failure> {
    match &event.change {
        CacheChange::Lost => say("warning: some changes were missed; what can be told of them follows"),
        CacheChange::StoreFailed { error } => {
            let failure = Failure::from(error.clone()).to_text();
            let why = failure.strip_prefix("error: ").unwrap_or(&failure);
            say(&format!(
                "warning: the store is out of reach; it is asked again until it answers\n  because: {why}"
            ));
        }
        CacheChange::StoreBack => say("the store answers again"),
        _ if !json => say(&line::text(event)),
        _ => {}
    }
    if json {
        return printed(print_object(&line::object(event)));
    }
    Ok(true)
}

/// Whether somebody still reads: a reader that has what it wanted, such as `head`, is no failure.
fn printed(result: std::io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::caused(
            "file",
            Exit::Other,
            "could not write to standard output",
            error,
        )),
    }
}
