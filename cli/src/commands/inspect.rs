//! `inspect`: what is in the store. Never a secret, and names of people only when asked.

use cache_core::cache::{Contents, RecordInfo};
use serde_json::{Value, json};

use crate::account_choice::unreadable_object;
use crate::answer::Answer;
use crate::failure::{Failure, one_line};
use crate::session::{Missing, Session, Stdin};

/// Lists every record. One that cannot be opened is shown as such, and is no failure: looking is what this is
/// for.
pub(crate) async fn run(session: &Session, show_names: bool) -> Result<Answer, Failure> {
    let cache = session.cache(Missing::Refuse, Stdin::Free).await?;
    let records = cache.inspect().await?;
    // MSAL's documents count no writes.
    let counts_writes = !session.store_address()?.is_of_msal();
    let mut objects: Vec<_> = records.iter().map(|record| object(record, show_names)).collect();
    if !counts_writes {
        for object in &mut objects {
            object["generation"] = Value::Null;
        }
    }
    let object = json!({ "store": session.store_address()?.to_string(), "records": objects });
    let mut lines: Vec<_> = records
        .iter()
        .map(|record| line(record, counts_writes, show_names))
        .collect();
    lines.push(format!(
        "{} records in {}",
        records.len(),
        session.store_address()?
    ));
    Ok(Answer::new(object, lines.join("\n")))
}

fn object(record: &RecordInfo, show_names: bool) -> Value {
    let mut object = json!({
        "key": record.key.as_str(),
        "kind": record.kind.map(|kind| kind.tag()),
        "version": hexadecimal(record.version.as_bytes()),
        "bytes": record.bytes,
        "expires_at": record.expires_at.map(|moment| moment.to_seconds().0),
    });
    match &record.header {
        Ok(header) => {
            object["format"] = format!("{:?}", header.format).to_lowercase().into();
            object["codec"] = header.codec.into();
            object["schema"] = header.schema.into();
            object["generation"] = header.generation.into();
            object["key_id"] = header.key_id.map(|id| id.to_string()).into();
            object["key_source"] = header.key_source.as_deref().into();
        }
        Err(error) => object["malformed"] = error.to_string().into(),
    }
    match &record.contents {
        None => {}
        Some(Ok(contents)) => object["contents"] = contents_object(contents, show_names),
        Some(Err(error)) => object["unreadable"] = unreadable_object(&record.key, error),
    }
    object
}

fn contents_object(contents: &Contents, show_names: bool) -> Value {
    let mut object = json!({
        "accounts": contents.accounts,
        "id_tokens": contents.id_tokens,
        "access_tokens": contents.access_tokens,
        "refresh_tokens": contents.refresh_tokens,
        "app_metadata": contents.app_metadata,
        "residue": contents.residue,
        "access_tokens_expire_on": contents.access_tokens_expire_on.map(|moment| moment.0),
        "spending": contents.spending,
        "refused": contents.refused,
    });
    if show_names {
        object["usernames"] = contents.usernames.clone().into();
        object["environments"] = contents.environments.clone().into();
    }
    object
}

fn line(record: &RecordInfo, counts_writes: bool, show_names: bool) -> String {
    let mut line = format!("{}  {} bytes", record.key.as_str(), record.bytes);
    match &record.header {
        Ok(header) => {
            if counts_writes {
                line.push_str(&format!("  generation {}", header.generation));
            }
            if let Some(id) = header.key_id {
                line.push_str(&format!("  key {id}"));
            }
            if let Some(codec) = header.codec {
                line.push_str(&format!("  codec {codec}"));
            }
            if let Some(source) = &header.key_source {
                line.push_str(&format!("  key source {}", one_line(source)));
            }
        }
        Err(error) => line.push_str(&format!("  malformed: {error}")),
    }
    match &record.contents {
        None => {}
        Some(Ok(contents)) => {
            line.push_str(&format!(
                "  {} accounts, {} access, {} refresh, {} ID tokens",
                contents.accounts, contents.access_tokens, contents.refresh_tokens, contents.id_tokens
            ));
            if contents.spending > 0 {
                line.push_str(&format!(", {} being spent", contents.spending));
            }
            if contents.refused > 0 {
                line.push_str(&format!(", {} refused", contents.refused));
            }
            if show_names {
                line.push_str(&format!("  {}", one_line(&contents.usernames.join(" "))));
            }
        }
        Some(Err(error)) => {
            line.push_str(&format!(
                "  UNREADABLE ({})",
                crate::classify::of_unreadable(error)
            ));
        }
    }
    line
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
