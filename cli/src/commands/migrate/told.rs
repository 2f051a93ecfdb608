//! What is said of a plan and of a report.

use std::error::Error;
use std::fmt::Write;

use cache_core::cache::migration::{
    LeftBecause, MigrationConflict, MigrationPlan, MigrationReport, NotKept, StayingRecords,
};
use serde_json::{Value, json};

use super::places::Sides;
use crate::answer::Answer;
use crate::arguments::MigrateArguments;
use crate::failure::one_line;
use crate::store_address::StoreAddress;

/// How many records are named to people; scripts get all.
const MOST_NAMED: usize = 20;

/// So many records.
pub(super) fn records<N: std::fmt::Display + PartialEq + From<u8>>(count: N) -> String {
    let word = if count == N::from(1) { "record" } else { "records" };
    format!("{count} {word}")
}

/// Who is signed out by this: the programs that share a place have nothing in it afterwards.
pub(super) fn of_sign_out(sides: &Sides, arguments: &MigrateArguments) -> Option<String> {
    if arguments.copy || !sides.from.is_of_msal() {
        return None;
    }
    let from = one_line(&sides.from.to_string());
    Some(match sides.from {
        StoreAddress::AzureCli => {
            "warning: a move signs its user out of the Azure CLI, which finds nothing in its token cache afterwards; who goes on using it \
             signs in again with `az login`"
                .to_owned()
        }
        _ => format!(
            "warning: a move signs users out of the other programs that keep their sign-in in {from}: who goes on using them signs in \
             again there"
        ),
    })
}

pub(super) fn of_plan(plan: &MigrationPlan, sides: &Sides, arguments: &MigrateArguments) -> Answer {
    let would = if arguments.copy { "copied" } else { "moved" };
    let (from, to) = (one_line(&sides.from.to_string()), one_line(&sides.to.to_string()));
    let mut text = format!("{} would be {would} from {from} to {to}", records(plan.total()));
    for (kind, count) in &plan.records {
        let _ = write!(text, "\n  {}: {count}", kind.tag());
    }
    for (what, count) in [
        ("already there", plan.already_there),
        ("on their way since an interrupted run", plan.unfinished),
        (
            "on their way from another source since an interrupted run, which goes on when it is run again",
            plan.unfinished_of_others,
        ),
        ("not to be kept by the target", plan.not_kept.len() as u64),
        ("not to be opened", plan.unreadable.len() as u64),
        (
            "in conflict with another sign-in in the target",
            plan.conflicts.len() as u64,
        ),
    ] {
        if count > 0 {
            let _ = write!(text, "\n  {what}: {count}");
        }
    }
    if sides.is_laid_open() && !arguments.allow_plaintext {
        let _ = write!(text, "\n{to} is not encrypted: it takes --allow-plaintext");
    }
    let unreadable = plan.unreadable.iter();
    let unreadable: Vec<_> = unreadable
        .map(|(key, error)| json!({ "record": key.as_str(), "because": because(error) }))
        .collect();
    let records: serde_json::Map<_, _> = plan
        .records
        .iter()
        .map(|(kind, count)| (kind.tag().to_owned(), Value::from(*count)))
        .collect();
    let object = json!({
        "dry_run": true,
        "from": sides.from.to_string(),
        "to": sides.to.to_string(),
        "would_move": plan.total(),
        "records": records,
        "bytes": plan.bytes,
        "already_there": plan.already_there,
        "unfinished": plan.unfinished,
        "unfinished_of_others": plan.unfinished_of_others,
        "not_kept": not_kept(&plan.not_kept),
        "unreadable": unreadable,
        "conflicts": conflicts(&plan.conflicts),
        "stays": stays(&plan.stays),
    });
    Answer::new(object, text)
}

pub(super) fn object_of(report: &MigrationReport, sides: &Sides, arguments: &MigrateArguments) -> Value {
    let left = report.left.iter();
    let left: Vec<_> = left
        .map(|left| {
            json!({
                "record": left.key.as_str(),
                "kind": left.kind.tag(),
                "because": because(&left.because),
            })
        })
        .collect();
    json!({
        "from": sides.from.to_string(),
        "to": sides.to.to_string(),
        "copied": arguments.copy,
        "moved": report.moved,
        "already_there": report.already_there,
        "gone": report.gone,
        "unfinished_of_others": report.unfinished_of_others,
        "bytes": report.bytes,
        "left": left,
        "conflicts": conflicts(&report.conflicts),
        "stays": stays(&report.stays),
        "complete": report.is_complete(),
    })
}

/// Whether nothing stays but what was to be left behind.
pub(super) fn is_as_asked(report: &MigrationReport, arguments: &MigrateArguments) -> bool {
    let is_asked = |because: &LeftBecause| {
        arguments.leave_behind && matches!(because, LeftBecause::NotKept(_) | LeftBecause::AccountStays)
    };
    report.conflicts.is_empty() && report.left.iter().all(|left| is_asked(&left.because))
}

pub(super) fn text_of(report: &MigrationReport, sides: &Sides, arguments: &MigrateArguments) -> String {
    let (from, to) = (one_line(&sides.from.to_string()), one_line(&sides.to.to_string()));
    let did = if arguments.copy { "copied" } else { "moved" };
    let mut text = format!("{did} {} from {from} to {to}", records(report.moved));
    if report.moved > 0 {
        text.push_str(", each of which was read back from there");
    }
    if report.already_there > 0 {
        let _ = write!(text, "; {} were there already", report.already_there);
    }
    let staying = report.left.iter().map(|left| (&left.key, because(&left.because)));
    let conflicts = report
        .conflicts
        .iter()
        .map(|found| (&found.key, found.cause.to_string()));
    let staying: Vec<_> = staying.chain(conflicts).collect();
    for (key, why) in staying.iter().take(MOST_NAMED) {
        let _ = write!(text, "\n  stays: {key}: {why}");
    }
    if staying.len() > MOST_NAMED {
        let _ = write!(
            text,
            "\n  and {} more; --json names all",
            staying.len() - MOST_NAMED
        );
    }
    if report.unfinished_of_others > 0 {
        let _ = write!(
            text,
            "\n{} records are on their way from another source since an interrupted run: run that one again",
            report.unfinished_of_others
        );
    }
    if arguments.copy {
        let _ = write!(text, "\n{from} is as it was");
    } else if report.is_complete() {
        let _ = match sides.from {
            StoreAddress::AzureCli => write!(
                text,
                "\n{from} is empty now: the Azure CLI keeps its sign-in nowhere else, so who goes on using it signs in again with \
                 `az login`"
            ),
            _ if sides.from.is_of_msal() => write!(
                text,
                "\n{from} is empty now: in the other programs that use it their users must sign in again"
            ),
            _ => write!(
                text,
                "\n{from} is empty now: programs that still use it must be pointed at {to}"
            ),
        };
    }
    text
}

pub(super) fn not_kept(not_kept: &[NotKept]) -> Value {
    let records = not_kept.iter();
    records
        .map(|kept| json!({ "record": kept.key.as_str(), "kind": kept.kind.tag(), "because": kept.because.to_string() }))
        .collect()
}

fn conflicts(conflicts: &[MigrationConflict]) -> Value {
    let records = conflicts.iter();
    records
        .map(|found| json!({ "record": found.key.as_str(), "kind": found.kind.tag(), "because": found.cause.to_string() }))
        .collect()
}

fn stays(stays: &[StayingRecords]) -> Value {
    let kinds = stays.iter();
    kinds
        .map(|stays| json!({ "kind": stays.kind.map(|kind| kind.tag()), "count": stays.count }))
        .collect()
}

/// An error and its causes, in one line.
fn because(error: &dyn Error) -> String {
    let mut text = one_line(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {}", one_line(&error.to_string()));
        cause = error.source();
    }
    text
}
