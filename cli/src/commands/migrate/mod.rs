//! `migrate`: moves everything from one store to another.

mod places;
mod progress;
mod told;

use std::sync::Arc;

use cache_core::cache::TokenCache;
use cache_core::cache::migration::{COPY_WARNING, CopiedTokens, Migration, MigrationError, MigrationReport};

use crate::answer::{Answer, say};
use crate::arguments::MigrateArguments;
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::session::{Missing, Session, Stdin};

use places::Sides;
use progress::Shown;

/// Opens both stores, moves, and says what became of everything.
pub(crate) async fn run(session: &Session, arguments: MigrateArguments) -> Result<Answer, Failure> {
    let sides = Sides::new(session, &arguments)?;
    sides.require_two_places()?;
    let result = migrate(&sides, session.options.json, &arguments).await;
    sides.close().await;
    result
}

async fn migrate(sides: &Sides, json: bool, arguments: &MigrateArguments) -> Result<Answer, Failure> {
    let source = sides.source.cache(Missing::Refuse, Stdin::Free).await?;
    if let Some(warning) = told::of_sign_out(sides, arguments) {
        say(&warning);
    }
    if arguments.dry_run {
        let target = sides.target_as_it_is().await?;
        let plan = migration(source, &target, sides, arguments).plan().await;
        return Ok(told::of_plan(
            &plan.map_err(|error| failed(error, sides))?,
            sides,
            arguments,
        ));
    }
    if arguments.copy {
        let warning = if arguments.copy_refresh_tokens {
            "the source keeps what is copied, refresh tokens too: an authority that rotates them takes a token that is used from \
             two places for stolen, and signs the user out of both"
        } else {
            COPY_WARNING
        };
        say(&format!("warning: {warning}"));
    }
    if sides.is_laid_open() && !arguments.allow_plaintext {
        // Before a target is made that nothing goes to.
        return Err(failed(MigrationError::PlaintextTarget, sides));
    }
    let target = sides.target.cache(Missing::Create, Stdin::Taken).await?;
    let shown = Arc::new(Shown::new(json)?);
    let migration = migration(source, target, sides, arguments).observer(shown.clone());
    let result = migration.run().await;
    shown.finish();
    let report = result.map_err(|error| failed(error, sides))?;
    report_of(&report, sides, arguments)
}

fn migration(
    source: &TokenCache,
    target: &TokenCache,
    sides: &Sides,
    arguments: &MigrateArguments,
) -> Migration {
    let mut migration = source.migrate_to(target).source_name(sides.source_name());
    if arguments.leave_behind {
        migration = migration.leave_behind();
    }
    if arguments.allow_plaintext {
        migration = migration.allow_plaintext();
    }
    match (arguments.copy, arguments.copy_refresh_tokens) {
        (false, _) => migration,
        (true, false) => migration.keep_source(CopiedTokens::WithoutRefreshTokens),
        (true, true) => migration.keep_source(CopiedTokens::WithRefreshTokens),
    }
}

fn report_of(
    report: &MigrationReport,
    sides: &Sides,
    arguments: &MigrateArguments,
) -> Result<Answer, Failure> {
    let object = told::object_of(report, sides, arguments);
    if report.interrupted {
        let message = format!("interrupted between two records; {} were moved", report.moved);
        return Err(Failure::new("interrupted", Exit::Interrupted, message)
            .next("run the same command again: it goes on where it stopped")
            .found("migration", object));
    }
    let text = told::text_of(report, sides, arguments);
    if told::is_as_asked(report, arguments) {
        return Ok(Answer::new(object, text));
    }
    say(&text);
    let message = format!(
        "{} stay in {}",
        told::records(report.left.len() + report.conflicts.len()),
        one_line(&sides.from.to_string())
    );
    Err(Failure::new("incomplete", Exit::Storage, message)
        .next("see to what stands in the way of each, and run the same command again: nothing is lost meanwhile")
        .found("migration", object))
}

fn failed(error: MigrationError, sides: &Sides) -> Failure {
    let text = error.to_string();
    match error {
        MigrationError::SamePlace => Failure::usage(text),
        MigrationError::PlaintextTarget => {
            Failure::usage(format!("{}: {text}", one_line(&sides.to.to_string())))
                .next("if that is what you want, add --allow-plaintext; nothing was moved")
        }
        MigrationError::NotKept(not_kept) => {
            for kept in &not_kept {
                say(&format!("{} ({}): {}", kept.key, kept.kind.tag(), kept.because));
            }
            Failure::new("not_kept", Exit::Storage, text)
                .next("to leave them where they are and move the rest, add --leave-behind; nothing was moved")
                .found("not_kept", told::not_kept(&not_kept))
        }
        MigrationError::Stopped { progress, source } => {
            let cause = Failure::from(source.clone());
            Failure::caused(cause.kind, cause.exit, text, source)
                .next("nothing is lost; see to the cause and run the same command again: it goes on where it stopped")
                .found(
                    "migration",
                    serde_json::json!({ "done": progress.done, "total": progress.total, "bytes": progress.bytes }),
                )
        }
        error => Failure::new("internal", Exit::Other, error),
    }
}
