//! `azureProfile.json`: who is signed in to the Azure CLI, and to which subscriptions.

use serde_json::Value;

/// Who is signed in, and in which tenant: what the default subscription says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignIn {
    /// The tenant whose tokens the subscription takes.
    pub(crate) tenant: String,
    pub(crate) subscription: String,
    pub(crate) identity: Identity,
}

/// Who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A person, by user name.
    User(String),
    /// An application, by client ID.
    ServicePrincipal(String),
    /// The identity of the machine, whose tokens the CLI keeps nowhere.
    Managed,
    /// Whoever the Cloud Shell runs for, whose tokens it keeps itself.
    CloudShell,
}

impl SignIn {
    /// The default subscription of the cloud. `None` where there is none.
    ///
    /// # Errors
    /// What in the file is not as it should be. Its content is not repeated.
    pub(super) fn read(profile: &[u8], cloud: &str) -> Result<Option<Self>, String> {
        let profile = profile.strip_prefix(b"\xef\xbb\xbf").unwrap_or(profile);
        let profile: Value = serde_json::from_slice(profile).map_err(|error| {
            format!(
                "it is not JSON (line {}, column {})",
                error.line(),
                error.column()
            )
        })?;
        let subscriptions = match profile.get("subscriptions") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(subscriptions)) => subscriptions,
            Some(_) => return Err("`subscriptions` is not a list".to_owned()),
        };
        let text = |value: &Value, name: &str| {
            let text = value.get(name).and_then(Value::as_str).unwrap_or_default();
            match text {
                "" => Err(format!("its default subscription has no `{name}`")),
                text => Ok(text.to_owned()),
            }
        };
        let is_default = |subscription: &&Value| {
            subscription["environmentName"] == cloud && subscription["isDefault"] == true
        };
        let Some(default) = subscriptions.iter().find(is_default) else {
            return Ok(None);
        };
        let user = &default["user"];
        let name = text(user, "name")?;
        let identity = match text(user, "type")?.as_str() {
            _ if user["cloudShellID"] == true => Identity::CloudShell,
            _ if ["systemAssignedIdentity", "userAssignedIdentity"].contains(&name.as_str()) => {
                Identity::Managed
            }
            "user" => Identity::User(name),
            "servicePrincipal" => Identity::ServicePrincipal(name),
            _ => {
                return Err(
                    "its default subscription is of neither a user nor a service principal".to_owned(),
                );
            }
        };
        Ok(Some(Self {
            tenant: text(default, "tenantId")?,
            subscription: text(default, "id")?,
            identity,
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subscription(cloud: &str, is_default: bool, user: Value) -> Value {
        json!({
            "id": "0b1f6471-1bf0-4dda-aec3-111122223333", "name": "Pay-As-You-Go", "state": "Enabled", "user": user,
            "isDefault": is_default, "tenantId": "aaaaaaaa-0000-4000-8000-000000000001", "environmentName": cloud,
            "homeTenantId": "aaaaaaaa-0000-4000-8000-000000000001", "tenantDefaultDomain": "contoso.onmicrosoft.com",
            "tenantDisplayName": "Contoso", "managedByTenants": [],
        })
    }

    fn profile(subscriptions: &[Value]) -> Vec<u8> {
        let profile = json!({ "installationId": "5a5b6c7d", "subscriptions": subscriptions });
        format!("\u{feff}{profile}").into_bytes()
    }

    fn identity(user: Value) -> Identity {
        let profile = profile(&[subscription("AzureCloud", true, user)]);
        SignIn::read(&profile, "AzureCloud").unwrap().unwrap().identity
    }

    #[test]
    fn the_default_subscription_of_the_cloud_decides() {
        let alice = json!({ "name": "alice@contoso.test", "type": "user" });
        let bob = json!({ "name": "bob@contoso.test", "type": "user" });
        let profile = profile(&[
            subscription("AzureCloud", false, bob.clone()),
            subscription("Loop", true, bob),
            subscription("AzureCloud", true, alice),
        ]);
        let found = SignIn::read(&profile, "AzureCloud").unwrap().unwrap();
        assert_eq!(found.identity, Identity::User("alice@contoso.test".to_owned()));
        assert_eq!(found.tenant, "aaaaaaaa-0000-4000-8000-000000000001");
        let found = SignIn::read(&profile, "Loop").unwrap().unwrap();
        assert_eq!(found.identity, Identity::User("bob@contoso.test".to_owned()));
        assert_eq!(SignIn::read(&profile, "AzureChinaCloud").unwrap(), None);
    }

    #[test]
    fn identities_are_told_apart() {
        let application =
            json!({ "name": "dddddddd-0000-4000-8000-00000000000b", "type": "servicePrincipal" });
        assert_eq!(
            identity(application),
            Identity::ServicePrincipal("dddddddd-0000-4000-8000-00000000000b".to_owned())
        );
        let managed = json!({ "name": "systemAssignedIdentity", "type": "servicePrincipal", "assignedIdentityInfo": "MSI" });
        assert_eq!(identity(managed), Identity::Managed);
        let shell = json!({ "name": "live.com#alice@contoso.test", "type": "user", "cloudShellID": true });
        assert_eq!(identity(shell), Identity::CloudShell);
    }

    #[test]
    fn nobody_is_signed_in_to_an_empty_profile() {
        for profile in [
            "{}",
            "\u{feff}{\"installationId\": \"x\"}",
            "{\"subscriptions\": []}",
            "{\"subscriptions\": null}",
        ] {
            assert_eq!(SignIn::read(profile.as_bytes(), "AzureCloud").unwrap(), None);
        }
    }

    #[test]
    fn a_damaged_profile_is_told_without_its_content() {
        for text in ["", "canary", "{\"subscriptions\": \"canary\"}", "{\"canary\": "] {
            let error = SignIn::read(text.as_bytes(), "AzureCloud").unwrap_err();
            assert!(!error.contains("canary"), "{error}");
        }
        for user in [
            json!(null),
            json!({ "name": "canary" }),
            json!({ "name": "canary", "type": "canary" }),
        ] {
            let profile = profile(&[subscription("AzureCloud", true, user)]);
            let error = SignIn::read(&profile, "AzureCloud").unwrap_err();
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
