//! Where the key comes from, and what it opens.

use cache_core::seal::{KeyState, Sealer};

use super::{Check, files, same_folder};
use crate::exit::Exit;
use crate::key_address::KeyAddress;
use crate::store_address::StoreAddress;

/// What the source protects against, and whether it is there.
pub(super) fn source(key: &KeyAddress, store: &StoreAddress) -> Vec<Check> {
    match key {
        KeyAddress::File(path) if path.symlink_metadata().is_err() => {
            let detail = format!(
                "{} does not exist yet; the first sign-in makes it",
                path.display()
            );
            vec![Check::warning("key source", detail)]
        }
        KeyAddress::File(path) => {
            let place = if same_folder(key, store) {
                "in the folder of the database"
            } else {
                "on this machine"
            };
            let advice = format!(
                "a key file {place} protects only a database that is copied without it; whoever can read your files \
                 can open the cache"
            );
            vec![
                files::private("key source", path),
                Check::warning("key source", advice),
            ]
        }
        KeyAddress::Environment(name) => match std::env::var_os(name.as_str()) {
            Some(_) => vec![Check::warning(
                "key source",
                format!(
                    "the environment variable {name} is seen by every process that this user starts from here"
                ),
            )],
            None => {
                let detail = format!("the environment variable {name} is not set");
                vec![Check::problem("key source", Exit::Storage, detail)]
            }
        },
        KeyAddress::Keychain { otherwise, .. } => {
            let detail = match otherwise {
                None => {
                    "the keychain: the cache opens while that is unlocked, for every program of this user"
                        .to_owned()
                }
                Some(otherwise) => format!(
                    "the keychain, or {otherwise} for a cache that is made where there is none; the ring records which it was"
                ),
            };
            vec![Check::good("key source", detail)]
        }
        KeyAddress::Passphrase => {
            vec![Check::good(
                "key source",
                "a pass phrase: the cache is as safe as it is hard to guess",
            )]
        }
    }
}

/// The keys of the ring.
pub(super) async fn ring(sealer: &Sealer) -> Check {
    let keys = sealer.keys();
    let count = |state: KeyState| keys.iter().filter(|key| key.state == state).count();
    let Some(primary) = keys.iter().find(|key| key.state == KeyState::Primary) else {
        return Check::problem("key ring", Exit::Storage, "it has no primary key");
    };
    let old = count(KeyState::ReadOnly);
    let mut detail = format!("opens; primary key {}", primary.id);
    if let Some(source) = sealer.key_source().await {
        detail.push_str(&format!("; its own key is of the source {}", source.kind()));
    }
    if old > 0 {
        detail.push_str(&format!(
            "; {old} older keys are kept: `tokenkeep keys reseal`, then `tokenkeep keys retire`, removes them"
        ));
    }
    Check::good("key ring", detail)
}
