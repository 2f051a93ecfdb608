//! How a keychain is used.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};

/// How a keychain is used: under which name, and how long a call may take.
#[derive(Clone)]
pub struct KeychainConfig {
    pub(crate) service: String,
    pub(crate) deadline: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}

impl KeychainConfig {
    /// The name of items where none is given.
    pub const DEFAULT_SERVICE: &str = "tokenkeep";

    /// How long a call may take where nothing is said.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

    /// Items under the name `service`, which people see in their keychain's program: the name of the application. It must identify
    /// neither a user nor a tenant: keychains keep it in clear, or as a hash that is as good as clear.
    pub fn new(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            deadline: Self::DEFAULT_DEADLINE,
            clock: Arc::new(SystemClock),
        }
    }

    /// How long a call may take, waiting for others included, before it fails as
    /// [`TimedOut`](crate::KeychainErrorKind::TimedOut).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The clock that deadlines are measured by.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

impl Default for KeychainConfig {
    fn default() -> Self {
        Self::new(Self::DEFAULT_SERVICE)
    }
}

impl fmt::Debug for KeychainConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeychainConfig")
            .field("service", &self.service)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
