//! A file in a directory of its own, and an authority that all accept.

use std::path::PathBuf;

use cache_testkit::authority::{ALICE, Config, Endpoint, FakeAuthority, Rotation};
use serde_json::Value;
use tempfile::TempDir;

use crate::party::{Party, Usage, Who};

pub(crate) const SECTIONS: [&str; 5] = ["Account", "IdToken", "AccessToken", "RefreshToken", "AppMetadata"];

pub(crate) struct Scene {
    pub(crate) authority: FakeAuthority,
    folder: TempDir,
}

impl Scene {
    /// Refresh tokens work once, and a second use ends the sign-in.
    pub(crate) async fn set() -> Self {
        let config = Config::default()
            .rotation(Rotation::Strict)
            .auto_approve_devices(0, ALICE);
        Self {
            authority: FakeAuthority::start(config).await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn party(&self, who: Who, usage: Usage, file: &str) -> Party {
        Party::start(who, usage, false, &self.authority, &self.file(file)).await
    }

    pub(crate) async fn app(&self, who: Who, file: &str) -> Party {
        Party::start(who, Usage::LongLived, true, &self.authority, &self.file(file)).await
    }

    /// How often tokens were asked for.
    pub(crate) fn token_requests(&self) -> usize {
        let requests = self.authority.requests();
        let of_tokens = requests
            .iter()
            .filter(|request| request.endpoint == Endpoint::Token);
        of_tokens.count()
    }

    pub(crate) fn document(&self, file: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.file(file)).unwrap()).unwrap()
    }

    /// How many rows each of the [`SECTIONS`] has.
    pub(crate) fn rows(&self, file: &str) -> [usize; 5] {
        let document = self.document(file);
        SECTIONS.map(|section| document[section].as_object().map_or(0, serde_json::Map::len))
    }
}
