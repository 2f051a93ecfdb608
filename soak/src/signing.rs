//! The child that signs users in, whatever is done to its files, and says what came of each sign-in.

use std::collections::BTreeMap;

use cache_core::cache::{CacheError, TokenCache};
use cache_core::store::StoreError;
use serde::{Deserialize, Serialize};

use crate::child::tell;
use crate::gate::{Doing, GateError};
use crate::scene::{Place, User, openable_records};
use crate::stage::runtime;

/// What the child does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SigningIn {
    /// Where the cache is.
    pub place: Place,
    /// How many users there are.
    pub users: u32,
    /// How often each of them signs in each time that the cache is open.
    pub rounds: u64,
    /// How often the cache is opened and closed.
    pub openings: u64,
    /// The number of the sign-in before the first.
    pub after: u64,
    /// Whether the users sign in at once. If not, everything is called in the same order each time, as far as that can be had.
    pub at_once: bool,
    /// Which permissions the child takes from what it makes, where that is not its parent's choice. On Unix.
    pub umask: Option<u32>,
}

/// What the child says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// The cache is open.
    Opened,
    /// It could not be opened.
    NotOpened(Refusal),
    /// This sign-in was acknowledged.
    SignedIn(User, u64),
    /// This sign-in was not.
    NotSignedIn(User, u64, Refusal),
    /// The cache, asked at the end, knows this sign-in of the user.
    Knows(User, u64),
    /// The cache, asked at the end, could not say.
    KnowsNot(User, String),
}

/// An error that a caller was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of a store's error it is, or what other part failed.
    pub kind: String,
    /// Its text and those of its sources.
    pub text: String,
}

impl SigningIn {
    pub(crate) fn perform(self) -> Result<(), GateError> {
        #[cfg(unix)]
        if let Some(umask) = self.umask {
            rustix::process::umask(rustix::fs::Mode::from_bits_truncate(umask));
        }
        if self.at_once {
            return runtime()?.block_on(self.open_and_close());
        }
        tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .enable_all()
            .build()
            .doing("could not start the runtime")?
            .block_on(self.open_and_close())
    }

    async fn open_and_close(self) -> Result<(), GateError> {
        for opening in 0..self.openings {
            let opened = match self.place.open().await {
                Ok(opened) => opened,
                Err(error) => {
                    say(&Said::NotOpened(Refusal::of(&error)))?;
                    continue;
                }
            };
            say(&Said::Opened)?;
            let before = self.after + opening * self.rounds;
            let serials = before + 1..=before + self.rounds;
            if self.at_once {
                let tasks: Vec<_> = (0..self.users)
                    .map(|user| tokio::spawn(sign_in(opened.cache.clone(), User(user), serials.clone())))
                    .collect();
                for task in tasks {
                    task.await.doing("a task ended")??;
                }
            } else {
                for serial in serials {
                    for user in 0..self.users {
                        sign_in(opened.cache.clone(), User(user), serial..=serial).await?;
                    }
                }
            }
            for user in (0..self.users).map(User) {
                say(&match user.serial(&opened.cache).await {
                    Ok(serial) => Said::Knows(user, serial),
                    Err(error) => Said::KnowsNot(user, error.to_string()),
                })?;
            }
            opened.close().await;
        }
        Ok(())
    }
}

async fn sign_in(cache: TokenCache, user: User, serials: impl Iterator<Item = u64>) -> Result<(), GateError> {
    for serial in serials {
        say(&match user.sign_in(&cache, serial).await {
            Ok(()) => Said::SignedIn(user, serial),
            Err(error) => Said::NotSignedIn(user, serial, Refusal::of(&error)),
        })?;
    }
    Ok(())
}

fn say(said: &Said) -> Result<(), GateError> {
    tell(serde_json::to_string(said).doing("could not write what is to be said")?);
    Ok(())
}

impl Refusal {
    /// What `error` says to its caller.
    #[must_use]
    pub fn of(error: &CacheError) -> Self {
        let mut kind = match error {
            CacheError::Store(error) => format!("{:?}", error.kind()),
            CacheError::Seal(_) => "Seal".to_owned(),
            _ => "Other".to_owned(),
        };
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            // The key ring could not be read: what kept it from being so is the kind.
            if let Some(error) = cause.downcast_ref::<StoreError>() {
                kind = format!("{:?}", error.kind());
            }
            source = cause.source();
        }
        Self { kind, text }
    }
}

/// The sign-ins of each user that a cache may know.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The last that was acknowledged, and the last that may have been begun.
    sign_ins: BTreeMap<User, (u64, u64)>,
}

impl Expected {
    /// After `said`, where the sign-in `after` of each user was there before.
    pub fn after<'a>(users: u32, after: u64, said: impl IntoIterator<Item = &'a Said>) -> Self {
        let mut sign_ins: BTreeMap<_, _> = (0..users).map(|user| (User(user), (after, after + 1))).collect();
        for said in said {
            match said {
                Said::SignedIn(user, serial) => _ = sign_ins.insert(*user, (*serial, serial + 1)),
                Said::NotSignedIn(user, serial, _) => {
                    sign_ins.entry(*user).or_default().1 = serial + 1;
                }
                _ => {}
            }
        }
        Self { sign_ins }
    }

    /// Whether the cache may know this sign-in of this user.
    #[must_use]
    pub fn includes(&self, user: User, serial: u64) -> bool {
        self.sign_ins
            .get(&user)
            .is_some_and(|(acknowledged, begun)| (*acknowledged..=*begun).contains(&serial))
    }

    /// Opens the cache and compares what it knows.
    ///
    /// # Errors
    ///
    /// What is wrong, in words; otherwise the number of records that could be opened.
    pub async fn check(&self, place: &Place) -> Result<u64, String> {
        let opened = place
            .open()
            .await
            .map_err(|error| format!("unreadable: {}", Refusal::of(&error).text))?;
        let result = self.compare(&opened.cache).await;
        opened.close().await;
        result
    }

    async fn compare(&self, cache: &TokenCache) -> Result<u64, String> {
        let records = openable_records(cache).await?;
        for (user, (acknowledged, begun)) in &self.sign_ins {
            let found = user.serial(cache).await;
            let found = found.map_err(|error| format!("user {}: {error}", user.0))?;
            if !self.includes(*user, found) {
                return Err(format!(
                    "user {} has sign-in {found}; {acknowledged} was acknowledged and at most {begun} begun",
                    user.0
                ));
            }
        }
        Ok(records)
    }
}
