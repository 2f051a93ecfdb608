//! Judges what the processes of an arrangement write in their diaries, a little later, when everybody has reported.

use std::collections::{HashMap, VecDeque};

use super::faults::{Fault, Kind};
use super::{LIFETIME, OUTAGE, REMEMBERED, STALENESS};
use crate::fleet::serving::diary::{Cause, Diary, Doing, Event, Failure, Moment, Owner, Served};
use crate::fleet::{micros, provider};
use crate::tally::Tally;

/// How long a fault explains what comes after it: the deadline of a marker, and some time until the next caller meets it.
const AFTER_A_FAULT: u64 = 15_000_000;
/// How old an access token may be that is presented as an assertion.
const OLD: u64 = (LIFETIME as u64 - 2) * 1_000_000;
/// How long a client holds a request back, as every failure doubles the pause.
const HELD_BACK: u64 = 60_000_000;
/// How a refresh token is counted that nobody knows the successor of.
pub(super) const LOST: &str = "sessions lost by a fault";
/// The process that signs users in and out, and so knows of it at once.
pub(super) const FRONT_END: usize = 0;

/// What is known of an arrangement.
pub(super) struct Judge {
    issuer: provider::Kind,
    users: Vec<VecDeque<Stay>>,
    /// When a token was first seen by anybody, and when it was last.
    tokens: HashMap<(Owner, String), (u64, u64)>,
    served: Vec<(usize, Served)>,
    failures: Vec<(usize, Failure)>,
    faults: Vec<Fault>,
}

/// From one sign-in of a user to the next.
#[derive(Clone, Copy, Debug, Default)]
struct Stay {
    signing_in: u64,
    signed_in: Option<u64>,
    session_begun: Option<u64>,
    signing_out: Option<u64>,
    signed_out: Option<u64>,
    /// Since when the user's refresh token is lost by a fault, and that of the session.
    broken: Option<u64>,
    session_broken: Option<u64>,
}

impl Judge {
    pub(super) fn new(issuer: provider::Kind, users: usize) -> Self {
        Self {
            issuer,
            users: vec![VecDeque::new(); users],
            tokens: HashMap::new(),
            served: Vec::new(),
            failures: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Takes what a process wrote.
    pub(super) fn take(&mut self, process: usize, diary: Diary, tally: &mut Tally) {
        for (what, count) in diary.counts {
            tally.add(&what, count);
        }
        for violation in diary.violations {
            tally.violation(format_args!("process {process}: {violation}"));
        }
        for moment in diary.moments {
            self.happened(moment);
        }
        for served in diary.served {
            let key = (served.owner, served.fingerprint.clone());
            let (first, last) = self.tokens.entry(key).or_insert((served.returned, 0));
            *first = served.returned.min(*first);
            *last = served.returned.max(*last);
            self.served.push((process, served));
        }
        let failures = diary.failures.into_iter().map(|failure| (process, failure));
        self.failures.extend(failures);
    }

    fn happened(&mut self, Moment { user, what, at }: Moment) {
        let stays = &mut self.users[user];
        if what == Event::SigningIn {
            stays.push_back(Stay {
                signing_in: at,
                ..Stay::default()
            });
            return;
        }
        let Some(stay) = stays.back_mut() else {
            return;
        };
        match what {
            Event::SigningIn => {}
            Event::SignedIn => stay.signed_in = Some(at),
            Event::SessionBegun => stay.session_begun = Some(at),
            Event::SigningOut => stay.signing_out = Some(at),
            Event::SignedOut => stay.signed_out = Some(at),
        }
    }

    /// Judges what ended before then; by now everybody has said what happened until then.
    pub(super) fn settle(&mut self, until: u64, faults: Vec<Fault>, tally: &mut Tally) {
        self.faults = faults;
        let served = std::mem::take(&mut self.served);
        let (settled, open) = served
            .into_iter()
            .partition(|(_, served)| served.returned < until);
        self.served = open;
        for (process, served) in &settled {
            self.judge_served(*process, served, tally);
        }
        let failures = std::mem::take(&mut self.failures);
        let (mut settled, open): (Vec<_>, _) = failures
            .into_iter()
            .partition(|(_, failure)| failure.ended < until);
        self.failures = open;
        settled.sort_by_key(|(_, failure)| failure.ended);
        for (process, failure) in &settled {
            let doing = match failure.doing {
                Doing::Asking => "a token",
                Doing::SigningIn => "a sign-in",
                Doing::BeginningSession => "a session's beginning",
                Doing::SigningOut => "a sign-out",
                Doing::Introspecting => "a token, at the issuer",
            };
            tally.add(&format!("failed: {doing}: {}", failure.cause.name()), 1);
            if !self.explains(failure, tally) {
                tally.violation(format_args!(
                    "process {process}: nothing explains {failure:?}; {:?}",
                    self.around(failure)
                ));
            }
        }
        self.forget(until.saturating_sub(micros(REMEMBERED)));
    }

    /// Nobody is served what is of a sign-in that ended.
    fn judge_served(&self, process: usize, served: &Served, tally: &mut Tally) {
        let (Owner::User(user) | Owner::Session(user)) = served.owner else {
            return;
        };
        let key = (served.owner, served.fingerprint.clone());
        let first_seen = self.tokens.get(&key).map_or(served.returned, |&(first, _)| first);
        let trusted = [
            (served.began, micros(STALENESS)),
            (served.began_in_outage, micros(STALENESS + OUTAGE)),
        ];
        for (began, bound) in trusted {
            let Some((_, began)) = began else {
                continue;
            };
            let bound = if process == FRONT_END { 0 } else { bound };
            let mut stays = self.users[user].iter().peekable();
            while let Some(stay) = stays.next() {
                // Whoever had it before the next sign-in began has it from this one.
                let next = stays.peek().map_or(u64::MAX, |next| next.signing_in);
                let is_of_this_stay = (stay.signing_in..next).contains(&first_seen);
                let Some(signed_out) = stay.signed_out.filter(|_| is_of_this_stay) else {
                    continue;
                };
                let until = signed_out + bound;
                if began > until {
                    tally.violation(format_args!(
                        "process {process}: {:?} was served by a call that began {} ms after the sign-out, {} ms after the bound: {served:?}; {stay:?}, {:?}",
                        served.owner,
                        (began - signed_out) / 1_000,
                        (began - until) / 1_000,
                        self.faults_before(began),
                    ));
                    return;
                }
                tally.at_most(
                    "served for so many ms after a sign-out",
                    began.saturating_sub(signed_out) / 1_000,
                );
            }
        }
    }

    fn explains(&mut self, failure: &Failure, tally: &mut Tally) -> bool {
        use Kind::{
            IssuerAway, IssuerFailed, MachineStalled, ProcessStopped, ReplyLost, StoreAway, StoreLocked,
        };
        // Whoever had just connected to an issuer that goes away sees its connection reset: each fault can lose a reply.
        let recently = |kinds: &[Kind]| self.is_faulty(kinds, failure.began, failure.ended, AFTER_A_FAULT);
        match &failure.cause {
            // The access token that is presented there has expired, if its process was stopped, or the sign-in took long.
            Cause::MustSignIn(_) if failure.doing == Doing::BeginningSession => {
                let begun = self.stay(failure).map(|(user, index)| self.users[user][index]);
                let is_old = |stay: Stay| failure.ended.saturating_sub(stay.signing_in) > OLD;
                begun.is_none_or(is_old) || recently(&[ProcessStopped, MachineStalled])
            }
            // Refused by the issuer, or nothing to send: that comes from a sign-out and from nothing else.
            Cause::MustSignIn(_) => !self.is_surely_there(failure) || self.is_broken(failure),
            Cause::SpentUnknown => {
                !self.is_surely_there(failure)
                    || self.is_broken(failure)
                    || (recently(&Kind::ALL) && self.breaks(failure, tally))
            }
            // What comes too late is revoked, and takes along what its issuer granted before.
            Cause::Inactive => {
                !self.is_surely_there(failure) || self.is_broken(failure) || recently(&Kind::ALL)
            }
            Cause::Unknown if failure.owner != Owner::Application => {
                recently(&Kind::ALL) && self.breaks(failure, tally)
            }
            Cause::Unknown | Cause::NoReply => recently(&[
                ReplyLost,
                IssuerFailed,
                IssuerAway,
                ProcessStopped,
                MachineStalled,
            ]),
            Cause::NotPersisted => {
                recently(&[StoreAway, StoreLocked, ProcessStopped, MachineStalled])
                    && self.breaks(failure, tally)
            }
            // Whoever is stopped while it writes holds the database's lock.
            Cause::StoreAway => recently(&[StoreAway, StoreLocked, ProcessStopped, MachineStalled]),
            Cause::TimedOut => recently(&Kind::ALL),
            Cause::Unreachable(_) => recently(&[IssuerAway, ReplyLost, ProcessStopped, MachineStalled]),
            Cause::Throttled => {
                let kinds = [
                    IssuerAway,
                    ReplyLost,
                    IssuerFailed,
                    ProcessStopped,
                    MachineStalled,
                ];
                self.is_faulty(&kinds, failure.began, failure.ended, HELD_BACK)
            }
            // Its own database is locked now and then, which it does not say.
            Cause::Issuer(_) => self.issuer == provider::Kind::Glewlwyd || recently(&[IssuerFailed]),
            Cause::Other(_) => false,
        }
    }

    /// Whether a fault of these kinds was there at that time, or shortly before.
    fn is_faulty(&self, kinds: &[Kind], began: u64, ended: u64, shortly: u64) -> bool {
        self.faults
            .iter()
            .rev()
            .any(|fault| kinds.contains(&fault.kind) && fault.is_around(began, ended, shortly))
    }

    /// The stay during which the whole call happened, from the sign-in's end to the sign-out's beginning.
    fn stay(&self, failure: &Failure) -> Option<(usize, usize)> {
        let (Owner::User(user) | Owner::Session(user)) = failure.owner else {
            return None;
        };
        let stays = &self.users[user];
        let is_within = |index: usize| {
            let stay = &stays[index];
            let next = stays.get(index + 1).map_or(u64::MAX, |next| next.signing_in);
            let from = match failure.owner {
                Owner::Session(_) => stay.session_begun,
                _ => stay.signed_in,
            };
            let until = stay.signing_out.unwrap_or(u64::MAX).min(next);
            from.is_some_and(|from| from <= failure.began) && failure.ended <= until
        };
        (0..stays.len())
            .rev()
            .find(|&index| is_within(index))
            .map(|index| (user, index))
    }

    fn is_surely_there(&self, failure: &Failure) -> bool {
        self.stay(failure).is_some()
    }

    fn is_broken(&self, failure: &Failure) -> bool {
        self.stay(failure).is_some_and(|(user, index)| {
            let stay = self.users[user][index];
            match failure.owner {
                Owner::Session(_) => stay.session_broken.is_some(),
                _ => stay.broken.is_some(),
            }
        })
    }

    /// Notes that the stay's refresh token is lost.
    fn breaks(&mut self, failure: &Failure, tally: &mut Tally) -> bool {
        let Some((user, index)) = self.stay(failure) else {
            return true;
        };
        let stay = &mut self.users[user][index];
        let broken = match failure.owner {
            Owner::Session(_) => &mut stay.session_broken,
            _ => &mut stay.broken,
        };
        if broken.is_none() {
            *broken = Some(failure.began);
            tally.add(LOST, 1);
        }
        true
    }

    /// The stay and the last faults, for the message.
    fn around(&self, failure: &Failure) -> (Option<Stay>, Vec<&Fault>) {
        let last = |user: usize| {
            let mut stays = self.users[user].iter().rev();
            stays.find(|stay| stay.signing_in <= failure.began).copied()
        };
        let stay = match failure.owner {
            Owner::User(user) | Owner::Session(user) => last(user),
            Owner::Application => None,
        };
        (stay, self.faults_before(failure.ended))
    }

    /// The last faults until then, the latest first.
    fn faults_before(&self, then: u64) -> Vec<&Fault> {
        let before = self.faults.iter().rev();
        before.filter(|fault| fault.from <= then).take(4).collect()
    }

    fn forget(&mut self, before: u64) {
        self.tokens.retain(|_, (_, last)| *last >= before);
        for stays in &mut self.users {
            while stays.len() > 1 && stays[1].signing_in < before {
                stays.pop_front();
            }
        }
    }
}
