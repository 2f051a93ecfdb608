//! One call that fails, and what becomes of the cache.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use cache_testkit::system_calls::Disk;

use super::site::{self, Failure, Site};
use super::{Subject, USERS, new_folder};
use crate::gate::{Doing, GateError};
use crate::recorded::{Beginning, Recorded, Recorder};
use crate::scene::Place;
use crate::signing::{Expected, Said};
use crate::stage::Stage;
use crate::tally::Tally;

/// The number of SIGKILL.
const KILLED: i32 = 9;

/// How often a call is aimed at.
const ATTEMPTS: u32 = 3;

/// What was hit.
#[derive(Clone, Copy)]
enum Aim {
    Hit,
    /// A call on no file of the cache, by the number that the right one has in another thread.
    HitAnother,
    /// A lock that is let go, which never fails in truth. What waits for it then waits for long.
    HitUnlock,
    Missed,
}

pub(super) struct Attempt<'a> {
    pub(super) case: u64,
    pub(super) subject: &'a Subject,
    pub(super) site: Site,
}

impl Attempt<'_> {
    /// Which of two threads comes first is chance, so a call that was missed may be hit another time.
    pub(super) async fn make_until_hit(&self, stage: &Stage, tally: &mut Tally) -> Result<(), GateError> {
        tally.add(&format!("over {}", self.subject.name()), 1);
        let mut aim = Aim::Missed;
        for _ in 0..ATTEMPTS {
            aim = self.make(stage, tally).await?;
            if matches!(aim, Aim::Hit | Aim::HitUnlock) {
                break;
            }
        }
        let what = match aim {
            Aim::Missed => "missed: the call did not come",
            Aim::HitAnother => "missed: a call of that number on another file",
            Aim::HitUnlock => "missed: a lock that was let go",
            Aim::Hit if self.site.failure == Failure::Kill => "processes killed",
            Aim::Hit => "calls failed",
        };
        tally.add(what, 1);
        if matches!(aim, Aim::Hit) {
            tally.add(&format!("at {}", self.site.call), 1);
        }
        Ok(())
    }

    async fn make(&self, stage: &Stage, tally: &mut Tally) -> Result<Aim, GateError> {
        let (_folder, path) = new_folder(stage)?;
        self.subject
            .image
            .write_to(&path)
            .doing("could not write a cache")?;
        let beside = stage.folder()?;
        let recorder = Recorder::start(
            stage,
            &self.subject.signing(&path),
            Beginning::OwnCalls,
            beside.path(),
            |strace| self.site.inject(strace),
        )?;
        let recorded = recorder.finish()?;
        let is_killed = recorded.status.signal() == Some(KILLED);
        let hits: Vec<_> = recorded
            .trace
            .calls
            .iter()
            .filter(|call| call.is_injected || is_killed && self.site.is_reached_by(call, &recorded.trace))
            .collect();
        // Elsewhere it is robbed of what no program does without: a library, the stack of a thread, the standard output.
        let is_hit = !hits.is_empty() && hits.iter().all(|call| site::is_ours(call, &path));
        self.judge_process(&recorded, hits.is_empty() || is_hit, is_killed, tally);
        let said = || recorded.said.iter().map(|(_, said)| said);
        let expected = Expected::after(USERS, self.subject.after, said());
        match expected.check(&self.subject.place.in_folder(&path)).await {
            Ok(records) => tally.add("records opened", records),
            Err(error) => self.violated(tally, error),
        }
        self.judge_disk(stage, &path, &recorded, tally).await?;
        Ok(match () {
            () if hits.is_empty() => Aim::Missed,
            () if is_hit => Aim::Hit,
            () if hits.iter().any(|call| call.is_within(&path)) => Aim::HitUnlock,
            () => Aim::HitAnother,
        })
    }

    fn judge_process(&self, recorded: &Recorded, is_fair: bool, is_killed: bool, tally: &mut Tally) {
        if is_fair && recorded.errors.contains("panicked") {
            self.violated(tally, format_args!("a panic: {}", recorded.errors));
        }
        let may_fail = !is_fair || is_killed && self.site.failure == Failure::Kill;
        if !may_fail && !recorded.status.success() {
            self.violated(
                tally,
                format_args!("it ended ({}): {}", recorded.status, recorded.errors),
            );
        }
        for (_, said) in &recorded.said {
            match said {
                Said::SignedIn(..) => tally.add("sign-ins acknowledged", 1),
                Said::NotOpened(refusal) | Said::NotSignedIn(_, _, refusal) => {
                    tally.add(&format!("refused as {}", refusal.kind), 1);
                    if is_fair && !self.site.is_told_by(&refusal.kind) {
                        self.violated(
                            tally,
                            format_args!("refused as {}: {}", refusal.kind, refusal.text),
                        );
                    }
                }
                Said::KnowsNot(..) => tally.add("reads refused", 1),
                Said::Opened | Said::Knows(..) => {}
            }
        }
        // What a caller was told of must be read by the process that told it.
        for (place, (_, said)) in recorded.said.iter().enumerate() {
            if let Said::Knows(user, serial) = said {
                let before = recorded.said[..place].iter().map(|(_, said)| said);
                if !Expected::after(USERS, self.subject.after, before).includes(*user, *serial) {
                    self.violated(
                        tally,
                        format_args!("the process itself read sign-in {serial} of user {}", user.0),
                    );
                }
            }
        }
    }

    /// What was acknowledged must be on the disk, whatever had failed before, and however the system takes that: at the end, and when it was
    /// acknowledged, before a checkpoint mends what is wrong.
    async fn judge_disk(
        &self,
        stage: &Stage,
        path: &Path,
        recorded: &Recorded,
        tally: &mut Tally,
    ) -> Result<(), GateError> {
        let acknowledged = recorded.said.iter().enumerate();
        let acknowledged = acknowledged.filter(|(_, (_, said))| matches!(said, Said::SignedIn(..)));
        let mut moments: Vec<_> = acknowledged
            .filter(|(place, _)| {
                let next = recorded.said.get(place + 1);
                self.site.is_sync() || matches!(next, Some((_, Said::Knows(..))))
            })
            .map(|(_, (line, _))| line + 1)
            .collect();
        moments.push(recorded.trace.lines);
        for moment in moments {
            let mut systems = vec![("patient", Disk::new(path))];
            if matches!(self.subject.place, Place::MsalFile(_)) {
                systems.push(("forgetful", Disk::new(path).forgetting()));
            }
            for (system, disk) in systems {
                let disk = disk.with(&self.subject.image).played(&recorded.trace, moment);
                let (_folder, after_cut) = new_folder(stage)?;
                let image = disk.doing("could not follow a recording")?.synced_only();
                image.write_to(&after_cut).doing("could not write an image")?;
                let expected = Expected::after(USERS, self.subject.after, recorded.said_before(moment));
                match expected.check(&self.subject.place.in_folder(&after_cut)).await {
                    Ok(_) => tally.add("power cuts afterwards", 1),
                    Err(error) => self.violated(
                        tally,
                        format_args!("after a power cut before line {moment} of a {system} system: {error}"),
                    ),
                }
            }
        }
        Ok(())
    }

    fn violated(&self, tally: &mut Tally, how: impl std::fmt::Display) {
        let Self { case, subject, site } = self;
        tally.violation(format_args!(
            "case {case}: over {}, {site}: {how}",
            subject.name()
        ));
    }
}
