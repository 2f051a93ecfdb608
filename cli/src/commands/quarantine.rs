//! `quarantine`: moves records that cannot be opened aside.

use std::sync::Arc;

use cache_core::seal::{Namespace, Quarantine, RecordKind};
use cache_core::store::StoreKey;
use serde_json::json;

use crate::answer::Answer;
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::session::{Missing, Session, random};

/// Moves the record to the quarantine, byte for byte. It needs no key, because a lost key is a reason to do
/// it.
pub(crate) async fn one(session: &Session, key: &str) -> Result<Answer, Failure> {
    let namespace = Namespace::default();
    let stored = StoreKey::new(key).map_err(|error| Failure::usage(error.to_string()))?;
    match RecordKind::of(&namespace, &stored) {
        None => return Err(not_ours(key)),
        // Without its ring every record is lost; a mistyped key must not do that.
        Some(RecordKind::KeyRing) => {
            return Err(Failure::usage(
                "the key ring opens every other record; to start anew without them, run `tokenkeep quarantine --all`",
            ));
        }
        Some(RecordKind::Quarantine) => return Err(Failure::usage("that record is in quarantine already")),
        Some(_) => {}
    }
    let store = Arc::clone(session.store(Missing::Refuse).await?);
    let moved = Quarantine::new(store, namespace, random())
        .put_aside(&stored)
        .await?;
    let Some(moved) = moved else {
        let message = format!("there is no record {}", one_line(key));
        return Err(Failure::new("no_such_record", Exit::Storage, message)
            .next("`tokenkeep inspect` lists the records"));
    };
    let object = json!({ "record": moved.original.as_str(), "quarantined_as": moved.key.as_str() });
    Ok(Answer::new(
        object,
        format!("moved to {}; its user can sign in again", moved.key.as_str()),
    ))
}

/// Moves every record to the quarantine, and the key ring last. The next command makes a new ring.
pub(crate) async fn all(session: &Session) -> Result<Answer, Failure> {
    let store = Arc::clone(session.store(Missing::Refuse).await?);
    let moved = Quarantine::new(store, Namespace::default(), random())
        .put_all_aside()
        .await?;
    let objects: Vec<_> = moved
        .iter()
        .map(|moved| json!({ "record": moved.original.as_str(), "quarantined_as": moved.key.as_str() }))
        .collect();
    let text = format!(
        "{} records moved aside; everybody must sign in again",
        moved.len()
    );
    Ok(Answer::new(json!({ "moved": objects }), text))
}

fn not_ours(key: &str) -> Failure {
    Failure::usage(format!(
        "{} is not the key of a record of this cache",
        one_line(key)
    ))
    .next("`tokenkeep inspect` lists the records")
}
