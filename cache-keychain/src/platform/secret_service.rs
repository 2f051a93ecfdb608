//! The Secret Service of freedesktop.org, on Linux and the BSDs.

use std::collections::HashMap;
use std::time::Duration;

use secret_service::blocking::SecretService;
use secret_service::{EncryptionType, Error};
use zbus::blocking::Connection as Bus;
use zbus::blocking::connection::Builder;
use zbus::zvariant::{OwnedObjectPath, OwnedValue};
use zbus_secret_service_keyring_store::Store;

use super::{Connection, Look, Open};
use crate::config::KeychainConfig;
use crate::error::{KeychainError, KeychainErrorKind};

const SERVICE: &str = "org.freedesktop.secrets";
const PATH: &str = "/org/freedesktop/secrets";
const INTERFACE: &str = "org.freedesktop.Secret.Service";
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";

pub(super) fn opener(config: &KeychainConfig) -> Open {
    let (label, deadline) = (config.service.clone(), config.deadline);
    Box::new(move || open(label.clone(), deadline))
}

fn open(label: String, deadline: Duration) -> Result<Connection, KeychainError> {
    let look = ServiceLook::open(deadline)?;
    let store = Store::new().map_err(KeychainError::of_keyring)?;
    Ok(Connection {
        store,
        look: Box::new(look),
        // The library's own label would show the item's name.
        modifiers: vec![("label", label)],
    })
}

/// Looks over a connection of its own, whose calls give up by themselves.
struct ServiceLook {
    bus: Bus,
    /// Who owned the service's name when it was opened. The secrets' session is with that one only.
    owner: String,
}

impl ServiceLook {
    fn open(deadline: Duration) -> Result<Self, KeychainError> {
        let bus = Builder::session()
            .and_then(|builder| builder.method_timeout(deadline).build())
            .map_err(not_connected)?;
        let mut look = Self {
            bus,
            owner: String::new(),
        };
        // Starts the service where the bus can.
        look.default_collection()?;
        look.owner = look.current_owner().map_err(failed)?;
        Ok(look)
    }

    fn current_owner(&self) -> zbus::Result<String> {
        self.of_bus("GetNameOwner", SERVICE)
    }

    fn of_bus<T>(&self, method: &str, name: &str) -> zbus::Result<T>
    where
        T: for<'d> zbus::zvariant::DynamicDeserialize<'d>,
    {
        let reply = self
            .bus
            .call_method(Some(BUS), BUS_PATH, Some(BUS), method, &name)?;
        reply.body().deserialize()
    }

    /// Where items are put.
    fn default_collection(&self) -> Result<OwnedObjectPath, KeychainError> {
        let collection: OwnedObjectPath = self
            .bus
            .call_method(Some(SERVICE), PATH, Some(INTERFACE), "ReadAlias", &"default")
            .and_then(|reply| reply.body().deserialize())
            .map_err(failed)?;
        if collection.as_str() == "/" {
            return Err(KeychainError::new(
                KeychainErrorKind::Absent,
                "the keychain has no default keyring; make one in your keychain's program",
            ));
        }
        Ok(collection)
    }

    fn is_locked(&self, collection: &OwnedObjectPath) -> zbus::Result<bool> {
        let reply = self.bus.call_method(
            Some(SERVICE),
            collection,
            Some("org.freedesktop.DBus.Properties"),
            "Get",
            &("org.freedesktop.Secret.Collection", "Locked"),
        )?;
        let value: OwnedValue = reply.body().deserialize()?;
        Ok(value.try_into()?)
    }
}

impl Look for ServiceLook {
    fn is_current(&self) -> bool {
        self.current_owner().is_ok_and(|owner| owner == self.owner)
    }

    fn check(&self) -> Result<(), KeychainError> {
        let collection = self.default_collection()?;
        if self.is_locked(&collection).map_err(failed)? {
            return Err(KeychainError::of_kind(KeychainErrorKind::Locked));
        }
        Ok(())
    }

    /// The library would have the user asked to unlock whatever it finds, for which no call waits.
    fn check_items(&self, service: &str, name: Option<&str>) -> Result<(), KeychainError> {
        let name = name.map(|name| ("username", name));
        let attributes: HashMap<_, _> = [("service", service)].into_iter().chain(name).collect();
        let reply = self
            .bus
            .call_method(Some(SERVICE), PATH, Some(INTERFACE), "SearchItems", &attributes);
        let found: zbus::Result<(Vec<OwnedObjectPath>, Vec<OwnedObjectPath>)> =
            reply.and_then(|reply| reply.body().deserialize());
        let (_, locked) = found.map_err(failed)?;
        if locked.is_empty() {
            return Ok(());
        }
        Err(KeychainError::new(
            KeychainErrorKind::Locked,
            "the item is in a keyring that is locked, and is not the default one; unlock that in your keychain's program",
        ))
    }

    fn unlock(&self) -> Result<(), KeychainError> {
        // Its own connection: an answer that a person gives takes longer than those that this one waits for.
        let service =
            SecretService::connect(EncryptionType::Plain).map_err(|error| failed_with(error.into()))?;
        let collection = service
            .get_default_collection()
            .map_err(|error| failed_with(error.into()))?;
        match collection.unlock() {
            Err(error @ Error::Prompt) => Err(KeychainError::new(
                KeychainErrorKind::Locked,
                "the keychain stays locked, as its user was asked to unlock it and did not",
            )
            .with_source(error)),
            unlocked => unlocked.map_err(|error| failed_with(error.into())),
        }
    }

    fn program(&self) -> Option<String> {
        let id: u32 = self.of_bus("GetConnectionUnixProcessID", SERVICE).ok()?;
        let program = std::fs::read_link(format!("/proc/{id}/exe")).ok()?;
        Some(program.file_name()?.to_string_lossy().into_owned())
    }
}

/// Only where there is certainly no bus is there no keychain: another key may be taken then, for good.
fn not_connected(error: zbus::Error) -> KeychainError {
    if of_zbus(&error) == Some(KeychainErrorKind::Absent) {
        return KeychainError::new(
            KeychainErrorKind::Absent,
            "there is no session bus, and so no keychain (DBUS_SESSION_BUS_ADDRESS)",
        )
        .with_source(error);
    }
    failed(error)
}

fn failed(error: zbus::Error) -> KeychainError {
    failed_with(Error::Zbus(error).into())
}

fn failed_with(error: Box<dyn std::error::Error + Send + Sync>) -> KeychainError {
    KeychainError::of_library(error, KeychainErrorKind::Other)
}

pub(super) fn meaning_of(
    error: &(dyn std::error::Error + Send + Sync + 'static),
) -> Option<KeychainErrorKind> {
    use KeychainErrorKind as Kind;
    match error.downcast_ref()? {
        Error::Locked | Error::Prompt => Some(Kind::Locked),
        Error::PromptDisconnected => Some(Kind::Disconnected),
        Error::Unavailable => Some(Kind::Absent),
        // Of the default keyring: `ServiceLook` saw it a moment before.
        Error::NoResult => Some(Kind::Absent),
        Error::Zbus(error) => of_zbus(error),
        Error::ZbusFdo(error) => of_zbus(&error.clone().into()),
        _ => None,
    }
}

fn of_zbus(error: &zbus::Error) -> Option<KeychainErrorKind> {
    use KeychainErrorKind as Kind;
    use std::io::ErrorKind as Io;
    match error {
        zbus::Error::MethodError(name, ..) => of_name(name.as_str()),
        zbus::Error::FDO(error) => of_name(zbus::DBusError::name(&**error).as_str()),
        zbus::Error::Connection(error, _) => match error.kind() {
            Io::NotFound | Io::ConnectionRefused => Some(Kind::Absent),
            Io::PermissionDenied => Some(Kind::Denied),
            Io::TimedOut => Some(Kind::TimedOut),
            _ => None,
        },
        zbus::Error::InputOutput(error) if error.kind() == Io::TimedOut => Some(Kind::TimedOut),
        zbus::Error::InputOutput(_) | zbus::Error::Handshake(_) => Some(Kind::Disconnected),
        zbus::Error::Address(_) => Some(Kind::Absent),
        _ => None,
    }
}

/// By the names of the D-Bus specification and of the Secret Service API, 0.2.
fn of_name(name: &str) -> Option<KeychainErrorKind> {
    use KeychainErrorKind as Kind;
    if let Some(name) = name.strip_prefix("org.freedesktop.DBus.Error.") {
        return match name {
            "ServiceUnknown" | "NameHasNoOwner" => Some(Kind::Absent),
            // There is one, and the machine had no room to start it.
            "Spawn.ForkFailed" | "Spawn.NoMemory" => Some(Kind::Other),
            spawn if spawn.starts_with("Spawn.") => Some(Kind::Absent),
            "NoReply" | "Disconnected" | "NoServer" | "NoNetwork" => Some(Kind::Disconnected),
            "Timeout" | "TimedOut" => Some(Kind::TimedOut),
            "AccessDenied" | "AuthFailed" | "InteractiveAuthorizationRequired" => Some(Kind::Denied),
            "LimitsExceeded" | "NoMemory" => Some(Kind::TooLarge),
            "NotSupported" | "UnknownMethod" | "UnknownInterface" => Some(Kind::Unsupported),
            // The item went between the search and the call.
            "UnknownObject" => Some(Kind::Missing),
            _ => None,
        };
    }
    match name.strip_prefix("org.freedesktop.Secret.Error.")? {
        "IsLocked" => Some(Kind::Locked),
        // The service is another than the one that the session was opened with.
        "NoSession" => Some(Kind::Disconnected),
        "NoSuchObject" => Some(Kind::Missing),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_bus_and_the_service_have_their_meanings() {
        use KeychainErrorKind as Kind;
        for (name, kind) in [
            ("org.freedesktop.DBus.Error.ServiceUnknown", Some(Kind::Absent)),
            ("org.freedesktop.DBus.Error.Spawn.ChildExited", Some(Kind::Absent)),
            ("org.freedesktop.DBus.Error.Spawn.ForkFailed", Some(Kind::Other)),
            ("org.freedesktop.DBus.Error.NoReply", Some(Kind::Disconnected)),
            ("org.freedesktop.DBus.Error.AccessDenied", Some(Kind::Denied)),
            ("org.freedesktop.DBus.Error.LimitsExceeded", Some(Kind::TooLarge)),
            ("org.freedesktop.Secret.Error.IsLocked", Some(Kind::Locked)),
            ("org.freedesktop.Secret.Error.NoSession", Some(Kind::Disconnected)),
            ("org.freedesktop.Secret.Error.NoSuchObject", Some(Kind::Missing)),
            ("org.example.Error", None),
        ] {
            assert_eq!(of_name(name), kind, "{name}");
        }
        let denied = zbus::fdo::Error::AccessDenied("no".to_owned());
        assert_eq!(meaning_of(&Error::ZbusFdo(denied)), Some(Kind::Denied));
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        assert_eq!(
            meaning_of(&Error::Zbus(zbus::Error::from(late))),
            Some(Kind::TimedOut)
        );
        assert_eq!(meaning_of(&Error::PromptDisconnected), Some(Kind::Disconnected));
        assert_eq!(meaning_of(&Error::Crypto("no")), None);
    }
}
