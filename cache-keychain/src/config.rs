//! How a keychain is used.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::random::{OsRandom, Random};
use cache_core::time::{Clock, SystemClock};

/// How a keychain is used: under which name, and how long a call may take.
///
/// ```
/// use std::time::Duration;
/// use cache_keychain::{Keychain, KeychainConfig, Prompt};
///
/// // A command that a person runs on a desktop: the keychain may ask to be unlocked.
/// let config = KeychainConfig::new("example").prompt(Prompt::WaitFor(Duration::from_secs(60)));
/// let keychain = Keychain::native(config); // nothing is opened yet
/// ```
#[derive(Clone)]
pub struct KeychainConfig {
    pub(crate) service: String,
    pub(crate) deadline: Duration,
    pub(crate) prompt: Prompt,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// Whether the user may be asked to unlock a keychain that is locked.
///
/// Only for keychains that can be looked at without asking: the Secret Service. macOS asks its user by itself, which a call waits
/// for until its deadline; the keyrings of Linux and the Credential Manager of Windows are never locked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prompt {
    /// Never: a locked keychain is the error [`Locked`](crate::KeychainErrorKind::Locked). Right for services and for whatever may run
    /// where nobody looks.
    #[default]
    Refuse,
    /// The keychain asks its user, and calls wait for the answer so long. Calls that come meanwhile wait for the same answer. Right for
    /// programs that a person started on a desktop.
    WaitFor(Duration),
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
            prompt: Prompt::default(),
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom),
        }
    }

    /// How long a call may take, waiting for others included, before it fails as
    /// [`TimedOut`](crate::KeychainErrorKind::TimedOut).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Whether the user may be asked to unlock the keychain. Not unless it is said.
    #[must_use]
    pub fn prompt(mut self, prompt: Prompt) -> Self {
        self.prompt = prompt;
        self
    }

    /// Where the names of items that are made for a moment come from.
    #[must_use]
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
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
            .field("prompt", &self.prompt)
            .finish_non_exhaustive()
    }
}
