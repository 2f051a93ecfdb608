//! What a test asks of the service, over a connection of its own.

use std::collections::HashMap;

use zbus::Connection;
use zbus::connection::Builder;
use zbus::zvariant::{ObjectPath, OwnedObjectPath, OwnedValue, Value};

use super::Error;

const SERVICE: &str = "org.freedesktop.secrets";
const PATH: &str = "/org/freedesktop/secrets";
const INTERFACE: &str = "org.freedesktop.Secret.Service";

/// A connection to the bus at `address`.
pub(super) struct Calls(Connection);

impl Calls {
    pub(super) async fn open(address: &str) -> Result<Self, Error> {
        let connection = async {
            let builder = Builder::address(address)?;
            builder.method_timeout(super::LIMIT).build().await
        };
        let connection = connection.await;
        connection.map(Self).map_err(Error::call("connecting to the bus"))
    }

    /// Has the bus read its configuration anew.
    pub(super) async fn reload_bus(&self) -> Result<(), Error> {
        const BUS: &str = "org.freedesktop.DBus";
        const CALL: &str = "ReloadConfig";
        self.0
            .call_method(Some(BUS), "/org/freedesktop/DBus", Some(BUS), CALL, &())
            .await
            .map(drop)
            .map_err(Error::call(CALL))
    }

    /// Where the collection is that items go to; `None` while there is no such collection, or no service.
    pub(super) async fn default_collection(&self) -> Option<OwnedObjectPath> {
        let reply = self
            .0
            .call_method(Some(SERVICE), PATH, Some(INTERFACE), "ReadAlias", &"default")
            .await
            .ok()?;
        let path: OwnedObjectPath = reply.body().deserialize().ok()?;
        (path.as_str() != "/").then_some(path)
    }

    pub(super) async fn is_locked(&self, collection: &OwnedObjectPath) -> Result<bool, Error> {
        const CALL: &str = "Get(Locked)";
        let reply = self
            .0
            .call_method(
                Some(SERVICE),
                collection,
                Some("org.freedesktop.DBus.Properties"),
                "Get",
                &("org.freedesktop.Secret.Collection", "Locked"),
            )
            .await
            .map_err(Error::call(CALL))?;
        let value: OwnedValue = reply.body().deserialize().map_err(Error::call(CALL))?;
        value.try_into().map_err(Error::call(CALL))
    }

    pub(super) async fn lock(&self, collection: &OwnedObjectPath) -> Result<(), Error> {
        self.0
            .call_method(Some(SERVICE), PATH, Some(INTERFACE), "Lock", &vec![collection])
            .await
            .map(drop)
            .map_err(Error::call("Lock"))
    }

    /// Unlocks with the password, as the program does that asks its user for it. Of GNOME Keyring only.
    pub(super) async fn unlock(&self, collection: &OwnedObjectPath, password: &str) -> Result<(), Error> {
        const GNOME: &str = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface";
        const CALL: &str = "UnlockWithMasterPassword";
        let reply = self
            .0
            .call_method(
                Some(SERVICE),
                PATH,
                Some(INTERFACE),
                "OpenSession",
                &("plain", Value::from("")),
            )
            .await
            .map_err(Error::call("OpenSession"))?;
        let body = reply.body();
        let (_, session): (OwnedValue, OwnedObjectPath) =
            body.deserialize().map_err(Error::call("OpenSession"))?;
        let secret: (ObjectPath<'_>, &[u8], &[u8], &str) =
            (session.into_inner(), &[], password.as_bytes(), "text/plain");
        self.0
            .call_method(Some(SERVICE), PATH, Some(GNOME), CALL, &(collection, secret))
            .await
            .map(drop)
            .map_err(Error::call(CALL))
    }

    /// The attributes of every item of every collection, with the label under the name `xdg:label`. The service keeps them in clear.
    pub(super) async fn items(&self) -> Result<Vec<HashMap<String, String>>, Error> {
        const CALL: &str = "SearchItems";
        let everything: HashMap<&str, &str> = HashMap::new();
        let reply = self
            .0
            .call_method(Some(SERVICE), PATH, Some(INTERFACE), CALL, &everything)
            .await
            .map_err(Error::call(CALL))?;
        let body = reply.body();
        let (unlocked, locked): (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) =
            body.deserialize().map_err(Error::call(CALL))?;
        let mut items = Vec::new();
        for path in unlocked.into_iter().chain(locked) {
            let mut attributes: HashMap<String, String> = self.property(&path, "Attributes").await?;
            attributes.insert("xdg:label".to_owned(), self.property(&path, "Label").await?);
            items.push(attributes);
        }
        Ok(items)
    }

    async fn property<T>(&self, item: &OwnedObjectPath, name: &'static str) -> Result<T, Error>
    where
        T: TryFrom<OwnedValue>,
        T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let reply = self
            .0
            .call_method(
                Some(SERVICE),
                item,
                Some("org.freedesktop.DBus.Properties"),
                "Get",
                &("org.freedesktop.Secret.Item", name),
            )
            .await
            .map_err(Error::call(name))?;
        let value: OwnedValue = reply.body().deserialize().map_err(Error::call(name))?;
        value.try_into().map_err(Error::call(name))
    }
}
