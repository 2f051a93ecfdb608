//! Moving a cache from one store to another.
//!
//! [`Migration`] moves whatever one opened [`TokenCache`] holds into another: sealed under other keys, in another namespace, in another
//! kind of store, or into and out of the documents of MSAL programs. The logical key of a record stays, and its name in the
//! store changes, because each cache blinds names with a key of its own.
//!
//! # Why it is a move
//!
//! A refresh token that rotates may be used once. In two places it is used twice sooner or later, and the authority then takes it for stolen and
//! revokes the whole session, for both. So a record is never usable in two places at any moment, and it leaves the source. A
//! [copy](Migration::keep_source) is for those who know better, and leaves refresh tokens out unless it is told twice.
//!
//! # The steps of a record
//!
//! 1. Read it from the source. While somebody holds a spend marker on one of its refresh tokens, wait: the token in hand is about to be worthless.
//! 2. Look at the target. The same content there: only the source's record is removed. Other content: a conflict; both stay as they are.
//! 3. Write the content to the *journal*: a record of the kind [`Migration`](crate::seal::RecordKind::Migration), in the target's store, or in the source's where the
//!    target takes no records of ours or is not sealed as the source is. No program looks for tokens there. Read it back and compare.
//! 4. Remove the record from the source, if it is still what was read (compare-and-swap). If not, somebody refreshed: begin anew, and the newer
//!    content replaces that in the journal.
//! 5. Create the record in the target, read it back and compare. If somebody has signed in there meanwhile, the content goes back to the source.
//! 6. Remove it from the journal.
//!
//! What imports left over that belongs to nobody needs none of this: it is joined to what the target has of it, and nothing of either is
//! replaced.
//!
//! Keys that tokens are bound to go before the tokens and are removed from the source after them; sessions go just before the account that they act
//! for. Logical keys stay as they are, so both caches should divide the tokens of applications alike
//! ([`Partitioning`](crate::strategy::Partitioning)). The key ring, what is in quarantine, and the pages of the directory stay: the directory is rebuilt in both where there was one.
//!
//! Where neither store takes a journal (one MSAL file to another) the record is created in the target (5) before it leaves the source (4). No other order
//! could do without a third place. For that moment it is in both, and programs must not run.
//!
//! # What a crash leaves, and how the next run goes on
//!
//! | crash after step | source | journal | target | the next run |
//! |---|---|---|---|---|
//! | 1, 2 | the record | | | moves it |
//! | 3 | the record, perhaps refreshed since | older or equal content | | replaces the journal's by the source's, and goes on |
//! | 4 | | the only content | | creates the record in the target |
//! | 4, and the user signed in anew | a new sign-in | the only content | | creates the record in the target; the new one is a conflict |
//! | 5 | | the same content | the record, perhaps refreshed since | removes it from the journal |
//! | 6 | | | the record | nothing |
//!
//! At each point a refresh token is in at least one place, in one that programs use at the most, and what is newest of its lineage is what survives: the source
//! counts before the journal, because nobody can have used what the journal holds, and the target before the journal, because it was empty
//! when the journal was written. Which record follows which is read from the incarnation of the source's, and from the sign-ins
//! ([`ClientEpoch`](crate::schema::ClientEpoch)) and lineages of what is in them.
//!
//! In a document of MSAL programs, which counts no sign-ins, whatever has a token of the same client or family counts as refreshed.
//!
//! A sign-out in the cache that the journal lies with ends what the journal says of the account, so that no run brings it back. In the other one
//! nobody could tell it from the removals of the migration itself: who signs out *there* between a crash and the next run (in the source after
//! step 3, or in the target after step 5) finds the record in the target once more, and signs out there.
//!
//! Finish an interrupted run before you begin one into another target: what the first journal holds would come to life by a later run, in a second
//! place. Run one at a time: of two that move one source at once, one takes the other's step 4 for a sign-out, which costs a record if the other stops
//! just then. And as with every record, who can write to the store can bring an entry of the journal back that they have kept a copy of.
//!
//! # What running programs see
//!
//! A program on the source finds its account gone, as after a sign-out, and asks its user to sign in: point it at the target before it does. A refresh
//! that it has begun is waited for; one that it begins after step 4 finds no row to mark, so nothing is sent. This holds for programs
//! that coordinate ([`Coalescing::Fleet`](crate::strategy::Coalescing::Fleet)); MSAL programs look at no marker and must not run meanwhile.
//! A program on the target finds the account once it is there. What programs put into the source meanwhile is looked for in further passes.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use cache_core::cache::TokenCache;
//! use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
//! use cache_core::store::MemoryStore;
//! use cache_core::strategy::Strategy;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let open = |key: u8| {
//!     TokenCache::builder(Arc::new(MemoryStore::new())) // in earnest: two stores of any kind
//!         .strategy(Strategy::desktop_tool())
//!         .open_sealed(Namespace::default(), Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[key; 32]))))
//! };
//! let (old, new) = (open(1).await?, open(2).await?);
//! let migration = old.migrate_to(&new);
//! assert_eq!(migration.plan().await?.total(), 0);
//! let report = migration.run().await?;
//! assert!(report.is_complete());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod carrier;
mod direct;
mod error;
mod journal;
mod placing;
mod removal;
mod report;
mod residue;
mod run;
mod sameness;
mod signing_out;
mod survey;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use carrier::Carrier;
pub use error::MigrationError;
use journal::Journal;
pub use report::{
    COPY_WARNING, ConflictCause, LeftBecause, LeftRecord, MigrationConflict, MigrationObserver,
    MigrationPlan, MigrationProgress, MigrationReport, NotKept, NotKeptBecause, StayingRecords,
};
use run::Run;
use survey::{Content, Survey};

use super::{CacheError, TokenCache};
use crate::codec::msal;
use crate::schema::PartitionKey;
use crate::seal::RecordKind;
use crate::store::StoreKey;

/// How long a refresh under way is waited for, unless said otherwise.
const SPEND_WAIT: Duration = Duration::from_secs(90);

/// What a copy takes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopiedTokens {
    /// Everything but refresh tokens: the copy serves until its access tokens expire.
    WithoutRefreshTokens,
    /// Refresh tokens too. Right only where the authority lets them be used again and again.
    WithRefreshTokens,
}

#[derive(Clone, Debug)]
struct Options {
    source_name: Option<String>,
    leaves_behind: bool,
    allows_plaintext: bool,
    copy: Option<CopiedTokens>,
    spend_wait: Duration,
}

/// A migration of one cache into another: see the [module documentation](self) for its steps.
#[derive(Clone)]
pub struct Migration {
    source: TokenCache,
    target: TokenCache,
    options: Options,
    observer: Option<Arc<dyn MigrationObserver>>,
}

impl TokenCache {
    /// Prepares to move everything in this cache into `target`; [`Migration::run`] does it, and can be run again after whatever stopped it.
    /// See the [module documentation](self) for the steps, and for what running programs see.
    #[must_use]
    pub fn migrate_to(&self, target: &TokenCache) -> Migration {
        Migration {
            source: self.clone(),
            target: target.clone(),
            options: Options {
                source_name: None,
                leaves_behind: false,
                allows_plaintext: false,
                copy: None,
                spend_wait: SPEND_WAIT,
            },
            observer: None,
        }
    }
}

impl Migration {
    /// Names the place that the source is in, the same at each run: its path or address. Caches that are sealed are told apart by their keys; of unsealed
    /// ones only the name tells which of them an interrupted run was about.
    #[must_use]
    pub fn source_name(mut self, name: impl Into<String>) -> Self {
        self.options.source_name = Some(name.into());
        self
    }

    /// Goes on although the target has no place for some of the records, which stay in the source. An account whose sessions or proof keys stay
    /// stays with them.
    #[must_use]
    pub fn leave_behind(mut self) -> Self {
        self.options.leaves_behind = true;
        self
    }

    /// Goes on although the source is sealed and the target is not: whoever can read the target can use every token in it.
    #[must_use]
    pub fn allow_plaintext(mut self) -> Self {
        self.options.allows_plaintext = true;
        self
    }

    /// Copies, and removes nothing from the source. Read [`COPY_WARNING`], and show it.
    #[must_use]
    pub fn keep_source(mut self, tokens: CopiedTokens) -> Self {
        self.options.copy = Some(tokens);
        self
    }

    /// Sets how long a refresh that is under way in the source is waited for; 90 seconds unless set. After that its record is
    /// [left](LeftBecause::BeingSpent).
    #[must_use]
    pub fn spend_wait(mut self, longest: Duration) -> Self {
        self.options.spend_wait = longest;
        self
    }

    /// Sets who is told how far it is.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn MigrationObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// What [`run`](Self::run) would do. It reads both stores and changes neither.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// [`MigrationError::SamePlace`] where that shows without a write; [`MigrationError::Stopped`] when a store failed.
    pub async fn plan(&self) -> Result<MigrationPlan, MigrationError> {
        if Arc::ptr_eq(&self.source.inner, &self.target.inner) {
            return Err(MigrationError::SamePlace);
        }
        self.survey().await.map_err(|source| MigrationError::Stopped {
            progress: MigrationProgress::default(),
            source,
        })
    }

    /// Moves everything that can be moved, or goes on where an earlier run stopped.
    ///
    /// Cancellation safe: what was begun is in the source, the journal or the target, and another run goes on.
    ///
    /// # Errors
    /// [`MigrationError::SamePlace`], [`MigrationError::PlaintextTarget`] and [`MigrationError::NotKept`] before anything is moved;
    /// [`MigrationError::Stopped`] when a store failed. A record that stays for a reason of its own is no error: it is in the report.
    pub async fn run(&self) -> Result<MigrationReport, MigrationError> {
        if self.source.sealer().is_sealed()
            && !self.target.sealer().is_sealed()
            && !self.options.allows_plaintext
        {
            return Err(MigrationError::PlaintextTarget);
        }
        let stopped = |source| MigrationError::Stopped {
            progress: MigrationProgress::default(),
            source,
        };
        let carrier = self.carrier().await.map_err(stopped)?;
        let mut run = Run::new(carrier, self.observer.clone());
        if run.is_same_place().await.map_err(stopped)? {
            return Err(MigrationError::SamePlace);
        }
        run.go(self.options.leaves_behind).await?;
        Ok(run.report)
    }

    async fn carrier(&self) -> Result<Carrier, CacheError> {
        let (source, target) = (&self.source.inner, &self.target.inner);
        // What cannot be placed goes back into the source: a sealed one must not take it from where anybody can write.
        let places = if source.sealer.is_sealed() && !target.sealer.is_sealed() {
            [source, target]
        } else {
            [target, source]
        };
        let mut journal = None;
        for place in places {
            if journal.is_none() && Journal::fits_into(place).await? {
                journal = Some(Journal::new(Arc::clone(place)));
            }
        }
        // A sealed cache is the same under whichever name it was reached.
        let name = self.options.source_name.as_deref();
        let name = name.filter(|_| !source.sealer.is_sealed()).unwrap_or_default();
        let logical = format!("6:source,{}:{name},", name.len());
        Ok(Carrier {
            source_id: source.sealer.blinded(RecordKind::Migration, logical.as_bytes()),
            source: Arc::clone(source),
            target: Arc::clone(target),
            journal,
            options: self.options.clone(),
        })
    }

    async fn survey(&self) -> Result<MigrationPlan, CacheError> {
        let (source, target) = (&self.source.inner, &self.target.inner);
        let survey = Survey::of(source, target, &HashSet::new()).await?;
        let mut plan = MigrationPlan {
            not_kept: survey.not_kept(),
            stays: survey.stays,
            ..MigrationPlan::default()
        };
        let mut counts: BTreeMap<&str, (RecordKind, u64)> = BTreeMap::new();
        for item in survey.items {
            let is_there = match item.content {
                Content::Unreadable(error) => {
                    plan.unreadable.push((item.stored_key, error));
                    continue;
                }
                _ if item.not_kept.is_some() => continue,
                Content::Keys(_) => None,
                Content::Partition { key, .. } => self.compare(&key, &item.stored_key, &mut plan).await?,
            };
            match is_there {
                Some(true) => plan.already_there += 1,
                Some(false) => {}
                None => {
                    counts.entry(item.kind.tag()).or_insert((item.kind, 0)).1 += 1;
                    plan.bytes += item.bytes;
                }
            }
        }
        plan.records = counts.into_values().collect();
        let carrier = self.carrier().await?;
        if let Some(journal) = &carrier.journal {
            let waiting = journal.entries(&carrier.source_id).await?;
            plan.unfinished = waiting.own.len() as u64;
            plan.unfinished_of_others = waiting.of_others;
        }
        Ok(plan)
    }

    /// Whether the target has the same record; `None` where it has none.
    async fn compare(
        &self,
        key: &PartitionKey,
        stored_key: &StoreKey,
        plan: &mut MigrationPlan,
    ) -> Result<Option<bool>, CacheError> {
        let (source, target) = (&self.source.inner, &self.target.inner);
        let Some(held) = target.load(key, &target.stored_key(key)).await? else {
            return Ok(None);
        };
        let Some(found) = source.load(key, stored_key).await? else {
            return Ok(Some(true));
        };
        if *key == PartitionKey::Residue {
            // What the target lacks of it is joined to what it has.
            return Ok(msal::has_residue(&held.partition, &found.partition).then_some(true));
        }
        if sameness::is_same(target, &held.partition, &found.partition) {
            return Ok(Some(true));
        }
        plan.conflicts.push(MigrationConflict {
            key: stored_key.clone(),
            kind: key.record_kind(),
            cause: ConflictCause::TargetDiffers,
        });
        Ok(Some(false))
    }
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migration")
            .field("source", &self.source)
            .field("target", &self.target)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
