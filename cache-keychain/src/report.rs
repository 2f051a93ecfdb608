//! What there is to say of a keychain: `impl Keychain` for looking at it.

use std::fmt;

use cache_core::random::random_bytes;
use cache_core::secret::SecretBytes;

use crate::error::{KeychainError, KeychainErrorKind};
use crate::keychain::Keychain;
use crate::platform::{KeychainKind, KeychainPersistence};

/// What was seen of a keychain, for people. Its `Display` is one line.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeychainReport {
    /// Which keychain was looked for.
    pub kind: KeychainKind,
    /// The program that keeps the items, such as `gnome-keyring-daemon`, where it can be known; else the library.
    pub program: Option<String>,
    /// How long it keeps them; `None` where there is none to ask.
    pub persistence: Option<KeychainPersistence>,
    /// Why it cannot be used, and what to do; `None` when it can.
    pub problem: Option<KeychainError>,
}

impl KeychainReport {
    /// Whether items can be read and written now.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.problem.is_none()
    }

    /// Whether there is a keychain, usable or not.
    #[must_use]
    pub fn is_present(&self) -> bool {
        use KeychainErrorKind::{Absent, Denied, Unsupported};
        !self.is(&[Absent, Denied, Unsupported])
    }

    /// Whether it is there and waits to be unlocked.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.is(&[KeychainErrorKind::Locked])
    }

    fn is(&self, kinds: &[KeychainErrorKind]) -> bool {
        self.problem
            .as_ref()
            .is_some_and(|problem| kinds.contains(&problem.kind()))
    }
}

impl fmt::Display for KeychainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(program) = &self.program {
            write!(f, " ({program})")?;
        }
        match (&self.problem, self.persistence) {
            (Some(problem), _) => write!(f, ": {problem}"),
            (None, Some(KeychainPersistence::Disk)) => {
                write!(f, ": usable; keeps items until they are deleted")
            }
            (None, Some(KeychainPersistence::UntilRestart)) => write!(
                f,
                ": usable; keeps items until the machine restarts, or until they were unused for days"
            ),
            (None, Some(KeychainPersistence::Session)) => {
                write!(f, ": usable; keeps items until this session ends")
            }
            (None, Some(KeychainPersistence::Process)) => {
                write!(f, ": usable; keeps items until this process ends")
            }
            (None, _) => write!(f, ": usable"),
        }
    }
}

/// Looking at a keychain.
impl Keychain {
    /// Looks at the keychain without using an item of it and without asking its user, also where
    /// [`KeychainConfig::prompt`](crate::KeychainConfig::prompt) would allow that. What went wrong is in the report.
    ///
    /// Takes as long as the deadline at most. Cancellation safe: it changes nothing.
    pub async fn examine(&self) -> KeychainReport {
        let looked = self
            .look(|connection| {
                let program = connection.look.program();
                let persistence = connection.look.persistence();
                Ok((
                    program.unwrap_or_else(|| connection.store.vendor()),
                    persistence.unwrap_or_else(|| KeychainPersistence::of(&*connection.store)),
                    connection.look.check().err(),
                ))
            })
            .await;
        let (program, persistence, problem) = match looked {
            Ok((program, persistence, problem)) => (Some(program), Some(persistence), problem),
            Err(error) => (None, None, Some(error)),
        };
        KeychainReport {
            kind: self.kind(),
            program,
            persistence,
            problem,
        }
    }

    /// Tries what a cache needs of the keychain, with an item that exists for a moment: makes it, reads it, and removes it. Unlike
    /// [`examine`](Self::examine) it may ask the user, where the configuration allows it.
    ///
    /// Not cancellation safe: the item, which holds nothing secret, may stay.
    ///
    /// # Errors
    /// [`KeychainError`] when one of them fails; [`Malformed`](KeychainErrorKind::Malformed) when the keychain gives back
    /// something else than it was given.
    pub async fn try_out(&self) -> Result<(), KeychainError> {
        let random: [u8; 16] = random_bytes(&*self.config.random).map_err(|error| {
            KeychainError::new(KeychainErrorKind::Other, "no random bytes for a name").with_source(error)
        })?;
        let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (name, content) = (format!("probe-{}", digits(&random)), digits(&random[..8]));
        self.write(&name, SecretBytes::new(content.clone().into_bytes()))
            .await?;
        let read = self.read(&name).await;
        let removed = self.remove(&name).await;
        match read? {
            Some(found) if found.expose() == content.as_bytes() => {}
            Some(_) => {
                return Err(KeychainError::new(
                    KeychainErrorKind::Malformed,
                    "the keychain gives back something else than it was given",
                ));
            }
            None => {
                return Err(KeychainError::new(
                    KeychainErrorKind::Missing,
                    "the keychain does not keep what it is given",
                ));
            }
        }
        removed.map(drop)
    }
}
