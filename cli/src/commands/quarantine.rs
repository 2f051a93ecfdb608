//! `quarantine`: moves records that cannot be opened aside.

use std::sync::Arc;

use cache_core::seal::{Namespace, Quarantine, RecordKind, SealError};
use cache_core::store::StoreKey;
use serde_json::json;

use crate::answer::Answer;
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::session::{Missing, Session, Stdin, random};

/// Moves the record to the quarantine, byte for byte. It works without the key, because a lost key is a reason to do
/// it, but a record that the key opens is moved only by `force`.
pub(crate) async fn one(session: &Session, key: &str, force: bool) -> Result<Answer, Failure> {
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
    // Before the cache is opened, which would make a key ring in an empty store.
    if store.get(&stored).await?.is_none() {
        return Err(no_such_record(key));
    }
    if !force && opens(session, &stored).await? {
        let message = format!("the record {} can be opened and was not moved", one_line(key));
        return Err(Failure::usage(message).next(
            "to sign a user out, run `tokenkeep logout`; to move the record all the same, add --force",
        ));
    }
    let moved = Quarantine::new(store, namespace, random())
        .put_aside(&stored)
        .await?;
    let moved = moved.ok_or_else(|| no_such_record(key))?;
    let object = json!({ "record": moved.original.as_str(), "quarantined_as": moved.key.as_str() });
    Ok(Answer::new(
        object,
        format!("moved to {}; its user can sign in again", moved.key.as_str()),
    ))
}

/// Whether the record can be read with the key at hand. Where the key ring cannot be opened, no record can.
async fn opens(session: &Session, stored: &StoreKey) -> Result<bool, Failure> {
    let cache = match session.cache(Missing::Refuse, Stdin::Free).await {
        Ok(cache) => cache,
        Err(failure) if failure.exit == Exit::Storage => return Ok(false),
        // No pass phrase was given, say: that is no reason to take the record for lost.
        Err(failure) => return Err(failure),
    };
    let records = cache.inspect().await?;
    let contents = records
        .into_iter()
        .find(|record| record.key == *stored)
        .and_then(|record| record.contents);
    if let Some(contents) = contents {
        return Ok(contents.is_ok());
    }
    let sealer = cache.sealer();
    let (Some(kind), Some(record)) = (
        RecordKind::of(sealer.namespace(), stored),
        cache.store().get(stored).await?,
    ) else {
        return Ok(false);
    };
    Ok(sealer.open_or_reload(kind, stored, &record.payload).await.is_ok())
}

/// Moves a record in quarantine back to its place. It needs no key.
pub(crate) async fn restore(session: &Session, key: &str) -> Result<Answer, Failure> {
    let stored = StoreKey::new(key).map_err(|error| Failure::usage(error.to_string()))?;
    let store = Arc::clone(session.store(Missing::Refuse).await?);
    let restored = Quarantine::new(store, Namespace::default(), random())
        .restore(&stored)
        .await;
    let original = match restored {
        Ok(Some(original)) => original,
        Ok(None) => return Err(no_such_record(key)),
        Err(SealError::WrongLocation { .. }) => {
            let message = format!("{} is not the key of a record in quarantine", one_line(key));
            return Err(Failure::usage(message).next("`tokenkeep inspect` lists the records"));
        }
        Err(SealError::Store(error)) if error.is_conflict() => {
            return Err(
                Failure::new("place_taken", Exit::Storage, "another record has taken its place").next(
                    "nothing was moved; put the record in its place aside first: `tokenkeep inspect` lists the records",
                ),
            );
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Answer::new(
        json!({ "record": original.as_str(), "restored_from": key }),
        format!("moved back to {original}"),
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

fn no_such_record(key: &str) -> Failure {
    let message = format!("there is no record {}", one_line(key));
    Failure::new("no_such_record", Exit::Storage, message).next("`tokenkeep inspect` lists the records")
}

fn not_ours(key: &str) -> Failure {
    Failure::usage(format!(
        "{} is not the key of a record of this cache",
        one_line(key)
    ))
    .next("`tokenkeep inspect` lists the records")
}
