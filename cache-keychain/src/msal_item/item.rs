//! The item, on the thread that talks to the Secret Service.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use cache_core::secret::SecretBytes;
use secret_service::EncryptionType;
use secret_service::blocking::{Item, SecretService};
use zbus::blocking::Connection as Bus;
use zbus::blocking::connection::Builder;

use super::encoding::{Content, ItemEncoding};
use super::error::{ABSENT, LOCKED, of_secret_service};
use crate::error::{KeychainError, KeychainErrorKind};

/// libsecret gives programs no text of any other type.
const CONTENT_TYPE: &str = "text/plain";

/// A connection to the session's Secret Service, which encrypts what it sends.
pub(super) struct Connection {
    pub(super) service: SecretService<'static>,
    bus: Bus,
    /// Who offered the service when it was opened: what it knows is that one's.
    owner: String,
}

impl Connection {
    /// Calls that the service does not answer by the deadline give up by themselves.
    pub(super) fn open(deadline: Duration) -> Result<Self, KeychainError> {
        let bus = Builder::session().and_then(|builder| builder.method_timeout(deadline).build());
        let bus =
            bus.map_err(|error| KeychainError::new(KeychainErrorKind::Absent, ABSENT).with_source(error))?;
        let service = SecretService::connect_with_existing(EncryptionType::Dh, bus.clone());
        let service = service.map_err(of_secret_service)?;
        let owner = owner_of(&bus).map_err(|error| of_secret_service(error.into()))?;
        Ok(Self { service, bus, owner })
    }

    /// Whether the service is the one that was connected to.
    pub(super) fn is_current(&self) -> bool {
        owner_of(&self.bus).is_ok_and(|owner| owner == self.owner)
    }
}

fn owner_of(bus: &Bus) -> zbus::Result<String> {
    const NAME: &str = "org.freedesktop.DBus";
    let reply = bus.call_method(
        Some(NAME),
        "/org/freedesktop/DBus",
        Some(NAME),
        "GetNameOwner",
        &"org.freedesktop.secrets",
    )?;
    reply.body().deserialize()
}

/// How the item is found, and made.
pub(super) struct Query {
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) label: String,
    pub(super) encoding: ItemEncoding,
}

/// The item, and what it holds.
pub(super) struct Found<'a> {
    item: Option<Item<'a>>,
    pub(super) content: Content,
}

impl Query {
    /// Looks for the one item that has the attributes, and reads it. Nothing is asked of the user: a locked one is an error.
    pub(super) fn find<'a>(&self, service: &'a SecretService<'a>) -> Result<Found<'a>, KeychainError> {
        let mut found = service
            .search_items(self.attributes())
            .map_err(of_secret_service)?;
        let item = match (found.unlocked.len(), found.locked.len()) {
            (0, 0) => None,
            (1, 0) => found.unlocked.pop(),
            (0, 1) => return Err(KeychainError::new(KeychainErrorKind::Locked, LOCKED)),
            (unlocked, locked) => {
                return Err(KeychainError::new(
                    KeychainErrorKind::Ambiguous,
                    format!(
                        "{} items have these attributes; name more of them, or remove the items that nobody uses",
                        unlocked + locked
                    ),
                ));
            }
        };
        let content = match &item {
            None => Content::Absent { encoding: None },
            Some(item) => Content::of(SecretBytes::new(item.get_secret().map_err(of_secret_service)?)),
        };
        Ok(Found { item, content })
    }

    /// Replaces what the item holds, or makes it in the default keyring.
    pub(super) fn write<'a>(
        &self,
        service: &'a SecretService<'a>,
        found: &Found<'a>,
        json: &[u8],
    ) -> Result<(), KeychainError> {
        let secret = found.content.encoding().unwrap_or(self.encoding).encode(json);
        if let Some(item) = &found.item {
            return item
                .set_secret(secret.expose(), CONTENT_TYPE)
                .map_err(of_secret_service);
        }
        let keyring = service.get_default_collection().map_err(of_secret_service)?;
        keyring.ensure_unlocked().map_err(of_secret_service)?;
        keyring
            .create_item(
                &self.label,
                self.attributes(),
                secret.expose(),
                true,
                CONTENT_TYPE,
            )
            .map(drop)
            .map_err(of_secret_service)
    }

    fn attributes(&self) -> HashMap<&str, &str> {
        self.attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}
