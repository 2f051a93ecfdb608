//! `keys`: the encryption keys of the cache.

use cache_core::seal::{KeyId, KeyState, KeyStatus, ResealReport, SealError, Sealer};
use cache_core::time::UnixSeconds;
use cache_keychain::{KeychainConfig, KeychainKeySource};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key_address::KeyAddress;
use crate::session::{Missing, Session, Stdin};

/// How often records are swept at the most. Each sweep meets only what changed within the few milliseconds before.
const SWEEPS: u32 = 8;

/// The keys of the ring, oldest first.
pub(crate) async fn list(session: &Session) -> Result<Answer, Failure> {
    let cache = session.cache(Missing::Refuse, Stdin::Free).await?;
    let sealer = cache.sealer();
    let keys = sealer.keys();
    let lines: Vec<_> = keys
        .iter()
        .map(|key| format!("{}  {}", key.id, key.state))
        .collect();
    let object = json!({
        "ring_generation": sealer.ring_generation(),
        "keys": keys.iter().map(object).collect::<Vec<_>>(),
    });
    Ok(Answer::new(object, lines.join("\n")))
}

/// Adds a key that seals every record from now on.
pub(crate) async fn rotate(session: &Session) -> Result<Answer, Failure> {
    let cache = session.cache(Missing::Refuse, Stdin::Free).await?;
    let id = cache.sealer().rotate().await?;
    let object = json!({ "primary": id.to_string() });
    let text =
        format!("key {id} seals from now on; `tokenkeep keys reseal` moves the records that are there");
    Ok(Answer::new(object, text))
}

/// Moves every record to the primary key.
pub(crate) async fn reseal(session: &Session) -> Result<Answer, Failure> {
    let cache = session.cache(Missing::Refuse, Stdin::Free).await?;
    let report = sweep(cache.sealer()).await?;
    let object = report_object(&report);
    let text = format!(
        "{} records resealed, {} were under the primary key already",
        report.resealed, report.current
    );
    if report.unreadable > 0 {
        let message = format!(
            "{} records cannot be opened and were left as they are",
            report.unreadable
        );
        return Err(Failure::new("unreadable_records", Exit::Storage, message)
            .next("`tokenkeep inspect` names them")
            .found("reseal", object));
    }
    if !report.is_complete() {
        let message = format!(
            "{} records changed meanwhile",
            report.conflicts + report.postponed
        );
        return Err(Failure::new("contended", Exit::Storage, message)
            .next("run it again")
            .found("reseal", object));
    }
    Ok(Answer::new(object, text))
}

/// Sweeps until no record was changed by others meanwhile, such as by another sweep, but not for ever.
async fn sweep(sealer: &Sealer) -> Result<ResealReport, SealError> {
    let mut report = sealer.reseal(u64::MAX).await?;
    for _ in 1..SWEEPS {
        if report.conflicts == 0 {
            break;
        }
        let next = sealer.reseal(u64::MAX).await?;
        report = ResealReport {
            resealed: report.resealed + next.resealed,
            // What the former sweeps moved was not there already.
            current: next.current.saturating_sub(report.resealed),
            ..next
        };
    }
    Ok(report)
}

/// Seals the key ring under the key of another source. The keys in it stay, so no record changes.
pub(crate) async fn rewrap(session: &Session, new_key: KeyAddress) -> Result<Answer, Failure> {
    let cache = session.cache(Missing::Refuse, Stdin::Free).await?;
    let shown = new_key.to_string();
    let source = session.new_key_source(new_key).await?;
    let former = cache.sealer().key_source().await;
    cache.sealer().rewrap(source).await?;
    let object = json!({ "key": shown, "ring_generation": cache.sealer().ring_generation() });
    let mut text = format!(
        "give --key {shown} from now on, and restart what runs with the old one; if that is known to others, run \
         `tokenkeep keys rotate` and `tokenkeep keys reseal` too"
    );
    if former.is_some_and(|former| former.kind() == KeychainKeySource::KIND) {
        let name = match session.key_address()? {
            KeyAddress::Keychain { name: Some(name), .. } => name.to_string(),
            _ => KeychainConfig::DEFAULT_SERVICE.to_owned(),
        };
        text.push_str(&format!(
            "\nthe former key stays in the keychain, for backups of this store; `tokenkeep keys keychain --name '{name}'` lists it \
             and can remove it"
        ));
    }
    Ok(Answer::new(object, text))
}

/// Wipes an old key.
pub(crate) async fn retire(session: &Session, id: &str) -> Result<Answer, Failure> {
    let id = KeyId::parse(id)
        .ok_or_else(|| Failure::usage("that is not a key's ID; `tokenkeep keys list` shows them"))?;
    let cache = session.cache(Missing::Refuse, Stdin::Free).await?;
    cache.sealer().retire(id).await?;
    Ok(Answer::new(
        json!({ "retired": id.to_string() }),
        format!("key {id} is wiped"),
    ))
}

fn object(key: &KeyStatus) -> Value {
    let seconds = |moment: Option<UnixSeconds>| moment.map(|moment| moment.0);
    json!({
        "id": key.id.to_string(),
        "state": key.state.to_string(),
        "is_primary": key.state == KeyState::Primary,
        "created_at": key.created_at.0,
        "promoted_at": seconds(key.promoted_at),
        "demoted_at": seconds(key.demoted_at),
        "retired_at": seconds(key.retired_at),
    })
}

fn report_object(report: &ResealReport) -> Value {
    let by_key: serde_json::Map<_, _> = report
        .by_key
        .iter()
        .map(|(id, count)| (id.to_string(), (*count).into()))
        .collect();
    json!({
        "resealed": report.resealed,
        "current": report.current,
        "conflicts": report.conflicts,
        "unreadable": report.unreadable,
        "postponed": report.postponed,
        "records_by_key": by_key,
    })
}
