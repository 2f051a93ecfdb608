//! Clients that read, write, sign in and sign out while the primary of a Sentinel or Cluster arrangement is taken from them.
//!
//! What each task was told is kept beside what it then reads: a record that nobody wrote, of another key or torn, a token of
//! another user, and an error that no failover explains are [wrong](score::Score::wrong) in every mode. A write that was acknowledged
//! and is gone is wrong where it was promised to last, and counted where it was not.

pub mod clients;
pub mod counter;
pub mod exchange;
pub mod score;
pub mod session;
pub mod topology;
pub mod witness;
pub mod workload;

use std::fmt;
use std::time::Duration;

use cache_redis::DurabilityMode;

use crate::gate::{Doing, GateError};
use crate::tally::Tally;
use topology::Topology;

/// How long replicas may take: on a machine that has other things to do, too.
const REPLICATION: Duration = Duration::from_secs(1);

/// What an acknowledged write means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// All replicas have it: no failover loses it.
    Durable,
    /// The primary has it.
    Acknowledged,
}

impl Promise {
    /// The mode that gives this promise where each primary has so many replicas.
    #[must_use]
    pub fn mode(self, replicas: usize) -> DurabilityMode {
        match self {
            Self::Durable => DurabilityMode::Replicated {
                replicas,
                timeout: REPLICATION,
            },
            Self::Acknowledged => DurabilityMode::Acknowledged,
        }
    }
}

/// Who chooses another primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deciders {
    /// Sentinels beside the servers.
    Sentinel,
    /// The other primaries.
    Cluster,
}

/// Who decides, and what is promised meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrangement {
    /// Who chooses another primary.
    pub deciders: Deciders,
    /// What an acknowledged write means.
    pub promise: Promise,
}

impl Arrangement {
    /// All of them. A case is of the one at its number modulo theirs.
    pub const ALL: [Self; 4] = [
        Self::new(Deciders::Sentinel, Promise::Durable),
        Self::new(Deciders::Cluster, Promise::Durable),
        Self::new(Deciders::Sentinel, Promise::Acknowledged),
        Self::new(Deciders::Cluster, Promise::Acknowledged),
    ];

    const fn new(deciders: Deciders, promise: Promise) -> Self {
        Self { deciders, promise }
    }
}

/// What a run came to, however it ended. Where something was wrong before it could not go on, that is what is to be told.
///
/// # Errors
///
/// That of a run in which nothing was wrong until then, with the places of the servers.
pub async fn ended(
    ran: Result<(), GateError>,
    arrangement: Arrangement,
    topology: &Topology,
    mut tally: Tally,
) -> Result<Tally, GateError> {
    match ran {
        Err(error) if tally.violations == 0 => {
            return Err(error).doing(format!("{arrangement}, {}", topology.places().await));
        }
        Err(error) => tally.violation(format_args!("then it could not go on: {error}")),
        Ok(()) => {}
    }
    Ok(tally)
}

/// Notes how long writes or reads were away.
pub fn note_recovery(arrangement: Arrangement, what: &str, time: Duration, tally: &mut Tally) {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    tally.at_most(
        &format!("{arrangement}: slowest recovery of {what} in ms"),
        millis,
    );
}

impl fmt::Display for Arrangement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deciders = match self.deciders {
            Deciders::Sentinel => "Sentinel",
            Deciders::Cluster => "Cluster",
        };
        let promise = match self.promise {
            Promise::Durable => "durable",
            Promise::Acknowledged => "acknowledged",
        };
        write!(f, "{deciders}, {promise}")
    }
}
