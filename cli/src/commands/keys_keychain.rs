//! `keys keychain`: the keys that the keychain keeps, one for each ring and those that rotation left.

use cache_core::cache::TokenCache;
use cache_core::seal::{SealError, SourceDescription};
use cache_keychain::KeychainKeySource;
use serde_json::json;

use crate::answer::Answer;
use crate::failure::Failure;
use crate::key_address::KeyAddress;
use crate::key_source::keychain;
use crate::keychain_name::KeychainName;
use crate::session::{Missing, Session, Stdin};

/// The keys, and which of them the ring of this cache is sealed under.
pub(crate) async fn list(session: &Session, name: Option<KeychainName>) -> Result<Answer, Failure> {
    let cache = session.cache(Missing::Refuse, Stdin::Free).await?;
    let (source, needed) = look(session, cache, name).await?;
    let mut objects = Vec::new();
    let mut lines = Vec::new();
    for key in source.list().await.map_err(SealError::from)? {
        let item = source.item_name(&key).map_err(SealError::from)?;
        let is_needed = needed.as_ref() == Some(&key);
        let word = if is_needed {
            "needed by this cache"
        } else {
            "not needed by this cache"
        };
        lines.push(format!("{item}  {word}"));
        objects.push(json!({ "item": item, "needed": is_needed }));
    }
    if lines.is_empty() {
        lines.push("the keychain keeps no key under this name".to_owned());
    }
    Ok(Answer::new(json!({ "keys": objects }), lines.join("\n")))
}

/// Removes a key that the ring of this cache is not sealed under.
pub(crate) async fn remove(
    session: &Session,
    name: Option<KeychainName>,
    item: &str,
) -> Result<Answer, Failure> {
    let cache = session.cache(Missing::Refuse, Stdin::Free).await?;
    let (source, needed) = look(session, cache, name).await?;
    let mut keys = source.list().await.map_err(SealError::from)?.into_iter();
    let named = |key: &SourceDescription| source.item_name(key).is_ok_and(|name| name == item);
    let Some(key) = keys.find(named) else {
        return Err(Failure::usage("the keychain keeps no key of this name")
            .next("`tokenkeep keys keychain` lists them; nothing was removed"));
    };
    if needed.as_ref() == Some(&key) {
        return Err(Failure::usage("this cache needs the key; nothing was removed")
            .next("move the cache to another key first, with `tokenkeep keys rewrap`"));
    }
    source
        .delete_former(&key, cache.sealer())
        .await
        .map_err(SealError::from)?;
    Ok(Answer::new(
        json!({ "removed": item }),
        format!("{item} is removed; what was sealed under it can never be opened again"),
    ))
}

async fn look(
    session: &Session,
    cache: &TokenCache,
    name: Option<KeychainName>,
) -> Result<(KeychainKeySource, Option<SourceDescription>), Failure> {
    let name = match (name, session.key_address()?) {
        (None, KeyAddress::Keychain { name, .. }) => name,
        (name, _) => name,
    };
    let needed = cache.sealer().key_source().await;
    Ok((KeychainKeySource::new(keychain(name.as_ref())), needed))
}
