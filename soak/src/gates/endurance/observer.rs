//! Who asks all processes what has happened, looks at what they hold, and has it judged.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use cache_testkit::proxy::Exchange;
use futures_util::future::join_all;
use tokio::sync::{Mutex, Notify};
use url::form_urlencoded;

use super::adversary;
use super::faults::{Faults, Kind, now};
use super::judge::{Judge, LOST};
use super::process::Process;
use super::resources::{Allowance, Sample, Series, servers};
use crate::fleet::micros;
use crate::fleet::scene::Scene;
use crate::gate::{Doing, GateError};
use crate::tally::Tally;

/// Between two questions to a process.
const BETWEEN: Duration = Duration::from_secs(2);
/// How long it may take until a proxy has told of an exchange whose end a process has seen.
const LATE: Duration = Duration::from_secs(3);

/// Between two looks at the machine, and how much longer one takes where it has no time.
const LOOK: Duration = Duration::from_millis(500);
const STALL: Duration = Duration::from_millis(500);

/// Asks, and has it judged.
pub(super) struct Observer<'a> {
    scene: &'a Scene,
    processes: &'a [Process],
    faults: &'a Faults,
    tally: &'a Mutex<Tally>,
    seen: Mutex<Seen>,
    violated: Notify,
}

struct Seen {
    judge: Judge,
    /// Until when each process has told everything.
    told: Vec<u64>,
    series: Vec<Series>,
    /// How each refresh token was sent, by its hash.
    spent: HashMap<u64, Sent>,
    /// When refreshes began and ended whose reply has come, and that were not judged yet.
    refreshed: Vec<(u64, u64)>,
}

/// What became of a refresh token.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "for the message")]
struct Sent {
    began: u64,
    ended: u64,
    how: &'static str,
    status: Option<u16>,
    request_bytes: usize,
}

/// As many sessions can be lost at most.
const MAY_BE_LOST: &str =
    "refreshes whose reply did not come, or came when a fault may have kept it from being stored";
/// How long before a fault a reply may have come that it keeps from being stored, and how long after it.
const AROUND_A_FAULT: u64 = 2_000_000;

impl<'a> Observer<'a> {
    pub(super) fn new(
        scene: &'a Scene,
        processes: &'a [Process],
        users: usize,
        faults: &'a Faults,
        tally: &'a Mutex<Tally>,
    ) -> Self {
        Self {
            scene,
            processes,
            faults,
            tally,
            seen: Mutex::new(Seen {
                judge: Judge::new(scene.provider.kind(), users),
                told: vec![now(); processes.len()],
                series: processes.iter().map(|_| Series::default()).collect(),
                spent: HashMap::new(),
                refreshed: Vec::new(),
            }),
            violated: Notify::new(),
        }
    }

    /// Watches until `end` is notified, and then judges what is left.
    pub(super) async fn watch(&self, end: &Mutex<bool>) {
        join_all((0..self.processes.len()).map(|process| self.ask(process, end))).await;
        self.hear().await;
        let mut seen = self.seen.lock().await;
        let mut tally = self.tally.lock().await;
        seen.judge.settle(u64::MAX, self.faults.all(), &mut tally);
        self.weigh(u64::MAX, &mut seen.refreshed, &mut tally);
        // Each time when the issuer went, whoever had just connected may have taken its request for sent.
        let most = tally.count(MAY_BE_LOST) + tally.count(adversary::AWAY);
        let lost = tally.count(LOST);
        tally.check(lost <= most, || {
            format!("{}: {lost} sessions were lost by {most} replies", self.scene)
        });
    }

    /// Looks whether the machine has time, and its disk, and notes when not, for ever.
    pub(super) async fn look_at_the_machine(&self, folder: &Path) -> Result<(), GateError> {
        let file = folder.join("looked-at");
        loop {
            let began = SystemClock.monotonic();
            SystemClock.sleep(LOOK).await;
            let path = file.clone();
            let forced = tokio::task::spawn_blocking(move || File::create(path)?.sync_all());
            let forced = forced.await.doing("nobody forces a file to the disk")?;
            forced.doing("could not force a file to the disk")?;
            let ended = SystemClock.monotonic();
            if ended.saturating_sub(began) > LOOK + STALL {
                self.faults
                    .note(Kind::MachineStalled, micros(began), micros(ended));
                let mut tally = self.tally.lock().await;
                tally.add("half seconds in which the machine itself stalled", 1);
            }
        }
    }

    /// Ends once something was violated.
    pub(super) async fn violated(&self) {
        self.violated.notified().await;
    }

    /// Judges whether what the long-lived processes hold has grown.
    pub(super) async fn judge_resources(&self, life: Duration) {
        let (seen, mut tally) = (self.seen.lock().await, self.tally.lock().await);
        let scene = self.scene.to_string();
        // The last one is killed again and again.
        let living = self.processes.len() - 1;
        for (process, series) in self.processes.iter().zip(&seen.series).take(living) {
            series.judge(process.name, &scene, Allowance::of(life), &mut tally);
        }
    }

    async fn ask(&self, process: usize, end: &Mutex<bool>) {
        loop {
            let is_end = *end.lock().await;
            if !is_end {
                SystemClock.sleep(BETWEEN).await;
            }
            let (age, member) = self.processes[process].current().await;
            let asked = now();
            let diary = member.diary().await;
            let sample = Sample::of(member.id());
            drop(member);
            match diary {
                Ok(diary) => self.told(process, age, asked, diary, sample).await,
                Err(error) => {
                    // Whoever was killed is replaced a moment later.
                    SystemClock.sleep(BETWEEN).await;
                    if self.processes[process].current().await.0 == age {
                        let mut tally = self.tally.lock().await;
                        tally.violation(format_args!(
                            "{}: process {process} died: {error}: {:?}",
                            self.scene,
                            std::error::Error::source(&error)
                        ));
                        self.violated.notify_one();
                        return;
                    }
                }
            }
            if is_end {
                return;
            }
        }
    }

    async fn told(
        &self,
        process: usize,
        age: u64,
        asked: u64,
        diary: crate::fleet::serving::diary::Diary,
        sample: Option<Sample>,
    ) {
        self.hear().await;
        let mut seen = self.seen.lock().await;
        let mut tally = self.tally.lock().await;
        let seen = &mut *seen;
        seen.judge.take(process, diary, &mut tally);
        seen.told[process] = asked;
        if let (0, Some(sample)) = (age, sample) {
            seen.series[process].add(sample);
        }
        if process == 0 {
            for (server, resident) in servers() {
                tally.at_most(
                    &format!("server: {server}: resident memory in KiB, of all"),
                    resident,
                );
            }
        }
        let until = seen.told.iter().min().copied().unwrap_or_default();
        let until = until.saturating_sub(micros(LATE));
        seen.judge.settle(until, self.faults.all(), &mut tally);
        self.weigh(until, &mut seen.refreshed, &mut tally);
        self.faults
            .forget(until.saturating_sub(micros(super::REMEMBERED)));
        if tally.violations > 0 {
            self.violated.notify_one();
        }
    }

    /// Looks at what has passed the proxy.
    async fn hear(&self) {
        let exchanges = self.scene.provider.proxy().take_exchanges();
        let mut seen = self.seen.lock().await;
        let mut tally = self.tally.lock().await;
        for exchange in exchanges {
            let (from, to) = (micros(exchange.began), micros(exchange.ended));
            if !exchange.is_replied {
                self.faults.note(Kind::ReplyLost, from, to);
            }
            if exchange
                .status
                .is_some_and(|status| status >= 500 || status == 408)
            {
                self.faults.note(Kind::IssuerFailed, from, to);
            }
            self.count(&exchange, &mut seen, &mut tally);
        }
    }

    /// Counts the refreshes until then whose reply a fault may have kept from being stored.
    fn weigh(&self, until: u64, refreshed: &mut Vec<(u64, u64)>, tally: &mut Tally) {
        let keeps = [
            Kind::ProcessKilled,
            Kind::ProcessStopped,
            Kind::StoreAway,
            Kind::StoreLocked,
            Kind::MachineStalled,
        ];
        let mut faults = self.faults.all();
        faults.retain(|fault| keeps.contains(&fault.kind));
        let (settled, open): (Vec<_>, _) = refreshed.drain(..).partition(|(_, ended)| *ended < until);
        *refreshed = open;
        let is_kept = |&(began, ended): &(u64, u64)| {
            let mut faults = faults.iter();
            faults.any(|fault| fault.is_around(began, ended + AROUND_A_FAULT, AROUND_A_FAULT))
        };
        let kept = settled.iter().filter(|times| is_kept(times)).count();
        tally.add(MAY_BE_LOST, kept as u64);
    }

    fn count(&self, exchange: &Exchange, seen: &mut Seen, tally: &mut Tally) {
        let Ok(request) = std::str::from_utf8(exchange.request.expose()) else {
            return;
        };
        let (head, form) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
        let field = |wanted: &str| {
            let mut fields = form_urlencoded::parse(form.as_bytes());
            fields
                .find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
                .unwrap_or_default()
        };
        let is_revocation = head.lines().next().is_some_and(|line| line.contains("/revo"));
        let grant = field("grant_type");
        let how = match (exchange.is_replied, exchange.status) {
            (false, _) => "without a reply",
            (true, Some(200)) => "granted",
            (true, _) => "refused",
        };
        if is_revocation {
            tally.add("revocations sent", 1);
        } else if grant == "refresh_token" {
            tally.add(&format!("refreshes {how}"), 1);
            let has_failed = exchange
                .status
                .is_none_or(|status| status >= 500 || status == 408);
            if !exchange.is_replied || has_failed {
                tally.add(MAY_BE_LOST, 1);
            } else {
                let times = (micros(exchange.began), micros(exchange.ended));
                seen.refreshed.push(times);
            }
            let mut hasher = DefaultHasher::new();
            field("refresh_token").hash(&mut hasher);
            let sent = Sent {
                began: micros(exchange.began),
                ended: micros(exchange.ended),
                how,
                status: exchange.status,
                request_bytes: request.len(),
            };
            if let Some(before) = seen.spent.insert(hasher.finish(), sent) {
                tally.violation(format_args!(
                    "{}: a refresh token was sent twice: {before:?}, {sent:?}; {:?}",
                    self.scene,
                    self.faults.all()
                ));
            }
        } else if !grant.is_empty() {
            tally.add(&format!("other grants {how}"), 1);
        }
    }
}
