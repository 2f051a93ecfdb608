//! How databases are damaged.

use std::path::PathBuf;

use cache_testkit::system_calls::Image;
use rand::rngs::StdRng;
use rand::{Rng, RngCore};

use super::reading::{LAST, NAME, USERS};
use crate::gate::{Doing, GateError};
use crate::scene::{Opened, Place, User};
use crate::stage::{Stage, runtime};

/// SQLite's page, in bytes.
const PAGE: usize = 4096;
/// Where `user_version` is in the header of a database.
const USER_VERSION: std::ops::Range<usize> = 60..64;

/// Databases from before.
pub(super) struct Patients {
    /// It was closed: all is in the database.
    closed: Image,
    /// It was open: the last sign-ins are in the log.
    open: Image,
    /// As `closed`, one sign-in of each user earlier.
    old: Image,
    /// As `open`, one sign-in of each user earlier.
    old_open: Image,
    /// Of another cache, open.
    foreign: Image,
}

/// What is done to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Injury {
    RandomPage,
    ZeroedPage,
    SwappedPages,
    FlippedBits,
    CutShort,
    RandomHeader,
    RandomFile,
    FutureSchema,
    RandomInLog,
    LogCutShort,
    StaleLog,
    ForeignLog,
    RandomIndexOfLog,
}

impl Patients {
    pub(super) fn new(stage: &Stage) -> Result<Self, GateError> {
        runtime()?.block_on(async {
            let folder = stage.folder()?;
            let place = Place::Sqlite(folder.path().join(NAME));
            let image = || Image::of(folder.path()).doing("could not read a database");
            let opened = signed_in(&place, 1).await?;
            let old_open = image()?;
            opened.close().await;
            let old = image()?;
            let opened = signed_in(&place, LAST).await?;
            let open = image()?;
            opened.close().await;
            let closed = image()?;

            let elsewhere = stage.folder()?;
            let opened = signed_in(&Place::Sqlite(elsewhere.path().join(NAME)), LAST).await?;
            let foreign = Image::of(elsewhere.path()).doing("could not read a database")?;
            opened.close().await;
            Ok(Self {
                closed,
                open,
                old,
                old_open,
                foreign,
            })
        })
    }
}

async fn signed_in(place: &Place, serial: u64) -> Result<Opened, GateError> {
    let opened = place.open().await.doing("could not open a cache")?;
    for user in (0..USERS).map(User) {
        user.sign_in(&opened.cache, serial)
            .await
            .doing("could not sign in")?;
    }
    Ok(opened)
}

impl Injury {
    pub(super) const ALL: [Self; 13] = [
        Self::RandomPage,
        Self::ZeroedPage,
        Self::SwappedPages,
        Self::FlippedBits,
        Self::CutShort,
        Self::RandomHeader,
        Self::RandomFile,
        Self::FutureSchema,
        Self::RandomInLog,
        Self::LogCutShort,
        Self::StaleLog,
        Self::ForeignLog,
        Self::RandomIndexOfLog,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RandomPage => "a page of random bytes",
            Self::ZeroedPage => "a page of zeros",
            Self::SwappedPages => "two pages swapped",
            Self::FlippedBits => "flipped bits",
            Self::CutShort => "cut short",
            Self::RandomHeader => "random bytes in the header",
            Self::RandomFile => "a file of random bytes",
            Self::FutureSchema => "a schema of the future",
            Self::RandomInLog => "random bytes in the log",
            Self::LogCutShort => "the log cut short",
            Self::StaleLog => "the log of an older copy",
            Self::ForeignLog => "the log of another database",
            Self::RandomIndexOfLog => "random bytes in the index of the log",
        }
    }

    /// Whether SQLite makes what was damaged anew, so that nothing may be missed.
    pub(super) fn is_harmless(self) -> bool {
        self == Self::RandomIndexOfLog
    }

    pub(super) fn is_of_the_future(self) -> bool {
        self == Self::FutureSchema
    }

    pub(super) fn inflict(self, patients: &Patients, chance: &mut StdRng) -> Image {
        let log = PathBuf::from(format!("{NAME}-wal"));
        let mut image = match self {
            Self::RandomInLog | Self::LogCutShort | Self::RandomIndexOfLog => patients.open.clone(),
            // Half of the databases are older than what the log would change.
            Self::ForeignLog if chance.random() => patients.old.clone(),
            _ => patients.closed.clone(),
        };
        // A half of them has a log as well.
        if matches!(
            self,
            Self::RandomPage | Self::ZeroedPage | Self::FlippedBits | Self::SwappedPages
        ) && chance.random()
        {
            image = patients.open.clone();
        }
        match self {
            Self::StaleLog => put(&mut image, &log, patients.old_open.files.get(&log)),
            Self::ForeignLog => put(&mut image, &log, patients.foreign.files.get(&log)),
            _ => {}
        }
        let damaged = match self {
            Self::RandomInLog | Self::LogCutShort => log,
            Self::RandomIndexOfLog => PathBuf::from(format!("{NAME}-shm")),
            _ => PathBuf::from(NAME),
        };
        if let Some(content) = image.files.get_mut(&damaged) {
            self.damage(content, chance);
        }
        image
    }

    fn damage(self, content: &mut Vec<u8>, chance: &mut StdRng) {
        if content.is_empty() {
            return;
        }
        let pages = (content.len() / PAGE).max(1);
        let page = |chance: &mut StdRng| {
            let start = chance.random_range(0..pages) * PAGE;
            start..(start + PAGE)
        };
        match self {
            Self::RandomPage => {
                let range = clamp(page(chance), content.len());
                chance.fill_bytes(&mut content[range]);
            }
            Self::ZeroedPage => {
                let range = clamp(page(chance), content.len());
                content[range].fill(0);
            }
            Self::SwappedPages => {
                let (one, other) = (page(chance), page(chance));
                if one.end <= content.len() && other.end <= content.len() {
                    let kept = content[one.clone()].to_vec();
                    content.copy_within(other.clone(), one.start);
                    content[other].copy_from_slice(&kept);
                }
            }
            Self::FlippedBits => {
                for _ in 0..chance.random_range(1..=8) {
                    let place = chance.random_range(0..content.len());
                    content[place] ^= 1 << chance.random_range(0..8);
                }
            }
            Self::CutShort | Self::LogCutShort => {
                let length = chance.random_range(0..content.len());
                content.truncate(length);
            }
            Self::RandomHeader => {
                let start = chance.random_range(0..100);
                let end = chance.random_range(start + 1..=100);
                chance.fill_bytes(&mut content[start..end]);
            }
            Self::RandomFile => {
                content.resize(chance.random_range(1..40_000), 0);
                chance.fill_bytes(content);
            }
            Self::FutureSchema => {
                let version = chance.random_range(2..=i32::MAX.unsigned_abs());
                content[USER_VERSION].copy_from_slice(&version.to_be_bytes());
            }
            Self::RandomInLog | Self::RandomIndexOfLog => {
                for _ in 0..chance.random_range(1..=4) {
                    let start = chance.random_range(0..content.len());
                    let end = content.len().min(start + chance.random_range(1..PAGE));
                    chance.fill_bytes(&mut content[start..end]);
                }
            }
            Self::StaleLog | Self::ForeignLog => {}
        }
    }
}

fn clamp(range: std::ops::Range<usize>, length: usize) -> std::ops::Range<usize> {
    range.start.min(length)..range.end.min(length)
}

fn put(image: &mut Image, name: &std::path::Path, content: Option<&Vec<u8>>) {
    if let Some(content) = content {
        image.files.insert(name.to_owned(), content.clone());
    }
}
