//! What a store can do, as data.

/// What a [`Store`](crate::store::Store) can do. The cache reads it once and refuses strategies that the
/// store cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Between whom a conditional write is atomic.
    pub compare_and_swap: CompareAndSwap,
    /// What a version is made of.
    pub versions: Versions,
    /// Whether the backend itself removes expired records. Without it they are only hidden, until overwritten
    /// or until the backend's own clean-up.
    pub native_expiry: bool,
    /// The longest payload, in bytes; a longer one is `TooLarge`.
    pub max_value_bytes: usize,
    /// What a `Durable` write survives.
    pub persistence: Persistence,
    /// Whether a `Durable` write may be read before it is as safe as `persistence` says: a file's from the memory of the system, a primary's
    /// before its replicas have it. A write whose outcome is unknown is then not settled by reading it back, only by another that succeeds.
    pub shows_early: bool,
    /// Whether [`Store::watch`](crate::store::Store::watch) answers.
    pub watch: bool,
}

/// Between whom a conditional write is atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CompareAndSwap {
    /// Between the tasks of one process.
    Process,
    /// Between all processes of one machine.
    Host,
    /// Between all clients of the backend, on any machine.
    Cluster,
}

/// What a version is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// It never recurs for a key.
    Unique,
    /// It is a hash of the content, so it recurs when the content does (a foreign layout with no room for more).
    ContentHash,
}

/// What a `Durable` write survives, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Persistence {
    /// Nothing: it lives as long as the process.
    Process,
    /// The end of the process, but not of the backend's server (a server without a log).
    Server,
    /// A crash of the machine: the write was forced to stable storage.
    Disk,
    /// The loss of the machine: the write was acknowledged by replicas.
    Replicated,
}
