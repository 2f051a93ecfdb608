//! Damaged records under a cache.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cache_core::cache::{CacheError, TokenCache};
use cache_core::seal::{RecordKind, Sealer};
use cache_core::store::{MemoryStore, PutOptions, Store, StoreKey};
use cache_core::strategy::{DirectoryPolicy, Strategy};

use super::damage::{damaged, of_ring, of_sealed};
use super::found;
use super::records::Subject;
use crate::gate::{Doing, GateError};
use crate::golden;
use crate::tally::Tally;

/// Caches over one store, which start anew each time as another process would.
struct World {
    store: Arc<MemoryStore>,
    sealer: Sealer,
    /// Where each record is.
    places: Vec<(Subject, StoreKey)>,
}

impl World {
    async fn new() -> Result<Self, GateError> {
        let store = golden::store_with_ring(&golden::ring()).await?;
        let sealer = golden::open(store.clone())
            .await
            .doing("the golden ring was not opened")?;
        let mut world = Self {
            store,
            sealer,
            places: Vec::new(),
        };
        let cache = world.cache(Subject::Directory)?;
        for subject in Subject::ALL {
            subject
                .write(&cache)
                .await
                .doing(format!("{subject:?} was not written"))?;
        }
        let keys: Vec<_> = contents(&world.store).await?.into_keys().collect();
        for subject in Subject::ALL {
            let own = subject.partition().map(|partition| cache.stored_key(&partition));
            let of_kind = keys
                .iter()
                .filter_map(|key| StoreKey::new(key.as_str()).ok())
                .filter(|key| RecordKind::of(&golden::namespace(), key) == Some(subject.kind()))
                .find(|key| own.as_ref().is_none_or(|own| own == key));
            let key = of_kind.ok_or_else(|| GateError::new(format!("{subject:?} has no record")))?;
            world.places.push((subject, key));
        }
        if keys.len() != world.places.len() {
            return Err(GateError::new(format!(
                "{} of {} records are tried",
                world.places.len(),
                keys.len()
            )));
        }
        Ok(world)
    }

    /// A process that has not seen any record before. Only one that is about the directory keeps it: a sign-in that fails may be listed.
    fn cache(&self, subject: Subject) -> Result<TokenCache, GateError> {
        let strategy = Strategy::desktop_tool().directory(match subject {
            Subject::Directory => DirectoryPolicy::on(),
            _ => DirectoryPolicy::Off,
        });
        TokenCache::builder(self.store.clone())
            .strategy(strategy)
            .open_with(self.sealer.clone())
            .doing("a cache was not opened")
    }

    fn place(&self, subject: Subject) -> Result<&StoreKey, GateError> {
        let place = self.places.iter().find(|(of, _)| *of == subject);
        let (_, key) = place.ok_or_else(|| GateError::new("a record is not there"))?;
        Ok(key)
    }

    async fn put(&self, key: &StoreKey, payload: impl Into<Bytes>) -> Result<(), GateError> {
        let put = self.store.put(key, payload.into(), PutOptions::overwrite()).await;
        put.doing("a record was not written")?;
        Ok(())
    }

    /// What a program does with a record that is damaged: each must fail by one of the `expected` errors, and none may change anything.
    async fn is_refused(
        &self,
        subject: Subject,
        what: &str,
        which: &str,
        expected: &[&str],
        tally: &mut Tally,
    ) -> Result<(), GateError> {
        let before = contents(&self.store).await?;
        let outcomes = if subject == Subject::Ring {
            let opened = TokenCache::builder(self.store.clone())
                .open_sealed(golden::namespace(), golden::key_source())
                .await;
            vec![("opening a cache", opened.map(drop))]
        } else {
            subject.use_it(&self.cache(subject)?).await
        };
        for (operation, outcome) in outcomes {
            let which = format!("{subject:?}, {which}, {operation}");
            match outcome {
                Ok(()) => tally.violation(format_args!("{what}: {which}: it was used")),
                Err(CacheError::Seal(error)) => found(what, &error, expected, which, tally),
                Err(error) => tally.violation(format_args!("{what}: {which}: {error}")),
            }
        }
        check_kept(&before, &self.store, what, tally).await
    }

    /// With the good record back, everything is as it was.
    async fn check_whole(&self, tally: &mut Tally) -> Result<(), GateError> {
        for subject in Subject::ALL {
            let is_whole = subject.is_whole(&self.cache(subject)?).await;
            tally.check(is_whole, || format!("{subject:?} after the damage was undone"));
        }
        Ok(())
    }
}

/// Every damage of one record, as a program meets it.
pub(super) async fn damaged_records(subject: Subject, tally: &mut Tally) -> Result<(), GateError> {
    let world = World::new().await?;
    let key = world.place(subject)?.clone();
    let good = contents(&world.store).await?[key.as_str()].clone();
    let (checks, of): (super::Checks, _) = match subject {
        Subject::Ring => (of_ring, " of a key ring"),
        _ => (of_sealed, ""),
    };
    for (damage, bytes) in damaged(&good) {
        world.put(&key, bytes).await?;
        let what = format!("{}{of} under a cache", damage.name());
        let which = damage.to_string();
        world
            .is_refused(subject, &what, &which, checks(damage), tally)
            .await?;
    }
    tally.add(&format!("records damaged under a cache: {:?}", subject.kind()), 1);
    world.put(&key, good).await?;
    world.check_whole(tally).await
}

/// Every two records of a store, each in the other's place, and each looked at.
pub(super) async fn swapped(tally: &mut Tally) -> Result<(), GateError> {
    let world = World::new().await?;
    let all = contents(&world.store).await?;
    for (index, (one, one_key)) in world.places.iter().enumerate() {
        for (other, other_key) in &world.places[index + 1..] {
            let (one_payload, other_payload) = (&all[one_key.as_str()], &all[other_key.as_str()]);
            world.put(one_key, other_payload.clone()).await?;
            world.put(other_key, one_payload.clone()).await?;
            tally.add("pairs swapped in a store", 1);
            for (subject, holds) in [(*one, *other), (*other, *one)] {
                let expected = match (subject, holds) {
                    (Subject::Ring, _) => "RingUnreadable",
                    (_, Subject::Ring) => "NotSealed",
                    _ => "WrongLocation",
                };
                let which = format!("with that of {holds:?}");
                let what = "swapped records under a cache";
                world
                    .is_refused(subject, what, &which, &[expected], tally)
                    .await?;
            }
            world.put(one_key, one_payload.clone()).await?;
            world.put(other_key, other_payload.clone()).await?;
        }
    }
    world.check_whole(tally).await
}

/// Everything that a store holds, without versions.
pub(super) async fn contents(store: &MemoryStore) -> Result<BTreeMap<String, Bytes>, GateError> {
    let snapshot = golden::snapshot(store).await;
    snapshot.doing("the store was not read")
}

pub(super) async fn check_kept(
    before: &BTreeMap<String, Bytes>,
    store: &MemoryStore,
    what: &str,
    tally: &mut Tally,
) -> Result<(), GateError> {
    let after = contents(store).await?;
    tally.add("stores that were compared", 1);
    tally.check(after == *before, || {
        format!("{what}: a record was changed or deleted")
    });
    Ok(())
}
