//! Gate 1: writers that are killed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::child::{Task, tell};
use crate::gate::{Doing, Gate, GateError};
use crate::guarded::Guarded;
use crate::scene::{Place, User, openable_records};
use crate::stage::{Stage, chance, pause, runtime};
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 1,
    name: "kill-writer",
    title: "`kill -9` of a writer at random points, over SQLite and over an MSAL file",
    must: "0 caches unreadable, 0 acknowledged sign-ins lost; no writer fails before it is killed",
    unit: "kills",
    full_size: 10_000,
    test_size: 24,
    batch: 400,
    limits: &[
        "The system goes on after a kill, so what was written and not yet on the disk is kept: power cuts are a gate of their own.",
    ],
    floors: &[("sign-ins acknowledged", 1.0), ("records opened", 1.0)],
    run,
};

const USERS: u32 = 8;
const TASKS: u32 = 4;

/// Signs users in, over and over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Writing {
    place: Place,
    /// The sign-in before the first.
    after: u64,
}

impl Writing {
    /// Does it until it is killed, and tells of each sign-in that was acknowledged.
    pub(crate) fn perform(self) -> Result<(), GateError> {
        runtime()?.block_on(async {
            let opened = self.place.open().await.doing("could not open the cache")?;
            let tasks: Vec<_> = (0..TASKS)
                .map(|task| {
                    let cache = opened.cache.clone();
                    tokio::spawn(async move {
                        for serial in self.after + 1.. {
                            for user in (task..USERS).step_by(TASKS as usize).map(User) {
                                user.sign_in(&cache, serial).await?;
                                tell(format_args!("{} {serial}", user.0));
                            }
                        }
                        Ok::<(), cache_core::cache::CacheError>(())
                    })
                })
                .collect();
            for task in tasks {
                task.await.doing("a task ended")?.doing("a sign-in failed")?;
            }
            Ok(())
        })
    }
}

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    stage.in_parallel(cases, |cases| {
        let sqlite = stage.folder()?;
        let msal = stage.folder()?;
        let mut lasting = [
            Victim::new(Place::Sqlite(sqlite.path().join("cache.db"))),
            Victim::new(Place::MsalFile(msal.path().join("cache.json"))),
        ];
        let mut tally = Tally::default();
        for case in cases {
            let [over_sqlite, over_msal] = &mut lasting;
            let lasting = if case % 2 == 0 { over_sqlite } else { over_msal };
            // Every fourth cache is new, so that its creation is interrupted too.
            if case % 8 < 2 {
                let folder = stage.folder()?;
                lasting.elsewhere(folder.path()).suffer(stage, case, &mut tally)?;
            } else {
                lasting.suffer(stage, case, &mut tally)?;
            }
        }
        Ok(tally)
    })
}

/// A cache whose writers are killed.
struct Victim {
    place: Place,
    /// The last sign-in of each user that is known to be there.
    known: BTreeMap<User, u64>,
}

impl Victim {
    fn new(place: Place) -> Self {
        Self {
            place,
            known: BTreeMap::new(),
        }
    }

    /// A new one of the same kind.
    fn elsewhere(&self, folder: &Path) -> Self {
        Self::new(self.place.in_folder(folder))
    }

    /// Starts a writer, kills it, and reads what it left.
    fn suffer(&mut self, stage: &Stage, case: u64, tally: &mut Tally) -> Result<(), GateError> {
        let after = self.known.values().max().copied().unwrap_or_default() + 1;
        let mut writer = Guarded::start(stage.command(&Task::Write(Writing {
            place: self.place.clone(),
            after,
        }))?)?;
        // A start takes longer than a write, so most writers are killed once they write.
        let mut lines = Vec::new();
        if case % 16 > 3 {
            lines.extend(writer.line()?);
        }
        pause(Duration::from_micros(
            chance(GATE.number, case).random_range(0..20_000),
        ));
        let ending = writer.kill()?;
        // One that was refused, panicked or hung was there to be killed no more.
        if ending.is_killed() && !ending.has_panicked() {
            tally.add("writers killed", 1);
        } else {
            tally.violation(format_args!(
                "case {case}: over {}: the writer ended by itself ({ending})",
                self.place.name()
            ));
        }
        while let Some(line) = writer.line()? {
            lines.push(line);
        }

        let mut acknowledged = BTreeMap::new();
        for line in lines {
            let (user, serial) = line
                .split_once(' ')
                .ok_or_else(|| GateError::new("a writer told something else"))?;
            let user = User(user.parse().doing("a writer told something else")?);
            acknowledged.insert(user, serial.parse().doing("a writer told something else")?);
            tally.add("sign-ins acknowledged", 1);
        }
        tally.add(
            "writers killed before their first sign-in",
            acknowledged.is_empty().into(),
        );
        self.read(case, after, &acknowledged, tally)
    }

    fn read(
        &mut self,
        case: u64,
        after: u64,
        acknowledged: &BTreeMap<User, u64>,
        tally: &mut Tally,
    ) -> Result<(), GateError> {
        runtime()?.block_on(async {
            let opened = match self.place.open().await {
                Ok(opened) => opened,
                Err(error) => {
                    tally.violation(format_args!("case {case}: unreadable: {error}"));
                    return Ok(());
                }
            };
            match openable_records(&opened.cache).await {
                Ok(records) => tally.add("records opened", records),
                Err(error) => tally.violation(format_args!("case {case}: unreadable: {error}")),
            }
            for user in (0..USERS).map(User) {
                let before = self.known.get(&user).copied().unwrap_or_default();
                let last = acknowledged.get(&user).copied();
                // The sign-in after the last that was acknowledged may have been stored when the kill came.
                let next = last.unwrap_or(after) + 1;
                match user.serial(&opened.cache).await {
                    Ok(found) => {
                        tally.check(found == last.unwrap_or(before) || found == next, || {
                            format!(
                                "case {case}: user {}: {found} after {last:?}, before {before}",
                                user.0
                            )
                        });
                        self.known.insert(user, found);
                    }
                    Err(error) => tally.violation(format_args!("case {case}: user {}: {error}", user.0)),
                }
            }
            opened.close().await;
            Ok(())
        })
    }
}
