//! When a store that does not answer is left alone: the decision, without time or locks of its own.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// When a [`CircuitBreakerStore`](super::CircuitBreakerStore) stops asking its store, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// After how many operations in a row that were not answered (`Unavailable` or `Timeout`).
    pub failures: NonZeroU32,
    /// For how long at the most. Half of it is certain and the rest drawn at random, so that a fleet does not come back as one.
    ///
    /// It delays the first write after an outage by as much; keep it well below [`TimeLimits::commit`](crate::strategy::TimeLimits::commit).
    pub open_for: Duration,
}

impl CircuitBreaker {
    /// How long to stay open, with `fraction` in `0.0..1.0` of the part that is drawn.
    pub(super) fn pause(&self, fraction: f64) -> Duration {
        let half = self.open_for / 2;
        Duration::try_from_secs_f64(half.as_secs_f64() * (1.0 + fraction)).unwrap_or(self.open_for)
    }
}

impl Default for CircuitBreaker {
    /// After five failures, for one to two seconds.
    fn default() -> Self {
        Self {
            failures: NonZeroU32::MIN.saturating_add(4),
            open_for: Duration::from_secs(2),
        }
    }
}

/// Whether operations reach the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// They do.
    Closed,
    /// One does, to find out; the others are refused.
    HalfOpen,
    /// They are refused.
    Open,
}

impl CircuitState {
    /// Its name in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }

    /// Its value in the gauge: 0 closed, 1 half-open, 2 open.
    pub(super) const fn value(self) -> f64 {
        match self {
            Self::Closed => 0.0,
            Self::HalfOpen => 1.0,
            Self::Open => 2.0,
        }
    }
}

/// The cause in the error of an operation that a circuit breaker refused. Nothing was sent to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitOpen {
    /// When the store will be asked again at the earliest, counted from the refusal.
    pub retry_after: Duration,
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the store did not answer lately and is left alone for another {:?}",
            self.retry_after
        )
    }
}

impl std::error::Error for CircuitOpen {}

/// The state, with what it takes to leave it. Times are on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed {
        failures: u32,
    },
    Open {
        until: Duration,
    },
    /// A probe is under way; if it has not come back by then, another may go.
    HalfOpen {
        until: Duration,
    },
}

/// What became of an operation that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The store answered, whatever it said.
    Answered,
    /// It could not be reached, or did not answer in time.
    Failed,
    /// Nobody waited for the answer.
    Dropped,
}

/// The state machine.
#[derive(Debug)]
pub(super) struct Circuit {
    phase: Phase,
    /// One more at each transition: what an operation of an earlier phase reports is of no account.
    epoch: u64,
}

impl Circuit {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Closed { failures: 0 },
            epoch: 0,
        }
    }

    pub(super) fn state(&self) -> CircuitState {
        match self.phase {
            Phase::Closed { .. } => CircuitState::Closed,
            Phase::Open { .. } => CircuitState::Open,
            Phase::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// Whether an operation may go, and in which epoch. `pause` is how long a probe has before another may follow it.
    pub(super) fn admit(
        &mut self,
        now: Duration,
        pause: impl FnOnce() -> Duration,
    ) -> Result<u64, CircuitOpen> {
        match self.phase {
            Phase::Closed { .. } => Ok(self.epoch),
            Phase::Open { until } | Phase::HalfOpen { until } if now < until => Err(CircuitOpen {
                retry_after: until.saturating_sub(now),
            }),
            Phase::Open { .. } | Phase::HalfOpen { .. } => {
                self.enter(Phase::HalfOpen {
                    until: now.saturating_add(pause()),
                });
                Ok(self.epoch)
            }
        }
    }

    /// Takes note of what became of an operation that was admitted in `epoch`.
    pub(super) fn report(
        &mut self,
        epoch: u64,
        report: Report,
        policy: &CircuitBreaker,
        now: Duration,
        pause: impl FnOnce() -> Duration,
    ) {
        if epoch != self.epoch {
            return;
        }
        // Drawn where it is needed only: most operations are answered.
        let until = || now.saturating_add(pause());
        match (self.phase, report) {
            (Phase::Closed { failures }, Report::Failed) => {
                let failures = failures.saturating_add(1);
                if failures >= policy.failures.get() {
                    self.enter(Phase::Open { until: until() });
                } else {
                    self.phase = Phase::Closed { failures };
                }
            }
            (Phase::Closed { .. }, Report::Answered) => self.phase = Phase::Closed { failures: 0 },
            (Phase::HalfOpen { .. }, Report::Answered) => self.enter(Phase::Closed { failures: 0 }),
            (Phase::HalfOpen { .. }, Report::Failed) => self.enter(Phase::Open { until: until() }),
            // The next one is the probe.
            (Phase::HalfOpen { .. }, Report::Dropped) => self.enter(Phase::Open { until: now }),
            (Phase::Closed { .. }, Report::Dropped) | (Phase::Open { .. }, _) => {}
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy() -> CircuitBreaker {
        CircuitBreaker {
            failures: NonZeroU32::MIN.saturating_add(1),
            open_for: SECOND,
        }
    }

    fn report(circuit: &mut Circuit, epoch: u64, report: Report, now: Duration) {
        circuit.report(epoch, report, &policy(), now, || SECOND);
    }

    #[test]
    fn an_answer_between_failures_keeps_it_closed() {
        let mut circuit = Circuit::new();
        for outcome in [Report::Failed, Report::Answered, Report::Failed] {
            let epoch = circuit.admit(Duration::ZERO, || SECOND).unwrap_or(u64::MAX);
            report(&mut circuit, epoch, outcome, Duration::ZERO);
            assert_eq!(circuit.state(), CircuitState::Closed);
        }
    }

    #[test]
    fn reports_of_an_earlier_phase_do_not_count() {
        let mut circuit = Circuit::new();
        for _ in 0..3 {
            report(&mut circuit, 0, Report::Failed, Duration::ZERO);
        }
        assert_eq!(circuit.state(), CircuitState::Open);
        report(&mut circuit, 0, Report::Answered, Duration::ZERO);
        assert_eq!(
            circuit.state(),
            CircuitState::Open,
            "an answer from before it opened"
        );
        let probe = circuit.admit(SECOND, || SECOND).unwrap_or(u64::MAX);
        report(&mut circuit, 0, Report::Answered, SECOND);
        assert_eq!(
            circuit.state(),
            CircuitState::HalfOpen,
            "only the probe's answer counts"
        );
        report(&mut circuit, probe, Report::Answered, SECOND);
        assert_eq!(circuit.state(), CircuitState::Closed);
    }

    #[test]
    fn a_probe_that_never_comes_back_is_followed_by_another() {
        let mut circuit = Circuit::new();
        (0..2).for_each(|_| report(&mut circuit, 0, Report::Failed, Duration::ZERO));
        let lost = circuit.admit(SECOND, || SECOND).unwrap_or(u64::MAX);
        assert!(circuit.admit(SECOND, || SECOND).is_err(), "one probe at a time");
        let second = circuit.admit(2 * SECOND, || SECOND).unwrap_or(u64::MAX);
        assert_ne!(lost, second);
        report(&mut circuit, second, Report::Dropped, 2 * SECOND);
        assert!(
            circuit.admit(2 * SECOND, || SECOND).is_ok(),
            "a dropped probe makes room at once"
        );
    }

    #[test]
    fn pauses_are_between_half_and_the_whole() {
        assert_eq!(policy().pause(0.0), SECOND / 2);
        assert!(policy().pause(0.999) < SECOND);
    }
}
