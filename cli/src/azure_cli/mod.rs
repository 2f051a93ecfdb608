//! What the Azure CLI keeps in its folder: who is signed in, in which cloud, and where the tokens are.
//!
//! Read only. Tokens go to nobody but whom these files name: never to whom a row of the token cache names.

mod cloud;
mod files;
mod ini;
mod profile;
mod service_principal;

use std::env;
use std::path::{Path, PathBuf};

use flows::authority::Authority;
use flows::client::ClientCredential;
use flows::request::ClientCertificate;

use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::folders;
use cloud::Cloud;
use files::{content, malformed, require_own};
use ini::Ini;
pub(crate) use profile::{Identity, SignIn};
use service_principal::ServicePrincipalCredential;

/// The client ID of the Azure CLI itself, under which users sign in to it.
pub(crate) const CLIENT_ID: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";

/// What the Azure CLI's folder says.
#[derive(Debug)]
pub(crate) struct AzureCli {
    folder: PathBuf,
    pub(crate) cloud: Cloud,
    sign_in: Option<SignIn>,
}

impl AzureCli {
    /// Reads the folder of this user's Azure CLI.
    pub(crate) fn read() -> Result<Self, Failure> {
        Self::read_in(folder()?, env::var("AZURE_CLOUD_NAME").ok().as_deref())
    }

    fn read_in(folder: PathBuf, cloud_name: Option<&str>) -> Result<Self, Failure> {
        // One that is not there, or cannot be looked at, has no files either.
        if let Ok(metadata) = folder.metadata() {
            require_own(&folder, &metadata)?;
        }
        let ini = |name: &str| {
            let path = folder.join(name);
            let text = content(&path)?.map(|bytes| String::from_utf8_lossy(bytes.expose()).into_owned());
            Ini::parse(text.as_deref().unwrap_or_default()).map_err(|why| malformed(&path, &why))
        };
        let cloud = Cloud::find(cloud_name, &ini("config")?, &ini("clouds.config")?).map_err(|why| {
            Failure::new("azure_cli", Exit::Usage, one_line(&why))
                .next("choose another with `az cloud set`, or say with --authority who issues the tokens")
        })?;
        let path = folder.join("azureProfile.json");
        let sign_in = match content(&path)? {
            Some(profile) => {
                SignIn::read(profile.expose(), &cloud.name).map_err(|why| malformed(&path, &why))?
            }
            None => None,
        };
        Ok(Self {
            folder,
            cloud,
            sign_in,
        })
    }

    /// Who is signed in, if anybody is.
    pub(crate) fn sign_in(&self) -> Option<&SignIn> {
        self.sign_in.as_ref()
    }

    /// Who issues the tokens: the cloud's authority, for the tenant of the default subscription, or as `az login` begins.
    pub(crate) fn authority(&self) -> Result<Authority, Failure> {
        let base = self.cloud.active_directory.trim_end_matches('/').to_lowercase();
        let made = if base.ends_with("/adfs") {
            Authority::adfs(&base)
        } else {
            let tenant = self
                .sign_in
                .as_ref()
                .map_or("organizations", |found| found.tenant.as_str());
            Authority::entra(&format!("{base}/{tenant}"))
        };
        made.map_err(|error| {
            let message = format!(
                "the Azure CLI's cloud {} has an authority that cannot be used",
                one_line(&self.cloud.name)
            );
            Failure::caused("azure_cli", Exit::Usage, message, error)
                .next("look at `az cloud show`, or say with --authority who issues the tokens")
        })
    }

    /// Who is signed in and leaves tokens in the cache.
    pub(crate) fn require_sign_in(&self) -> Result<&SignIn, Failure> {
        let Some(sign_in) = &self.sign_in else {
            let message = format!(
                "the user must sign in: nobody is signed in to the Azure CLI in the cloud {}",
                one_line(&self.cloud.name)
            );
            return Err(
                Failure::new("interaction_required", Exit::InteractionRequired, message)
                    .next("sign in with `az login`; `az account set` chooses among subscriptions"),
            );
        };
        match &sign_in.identity {
            Identity::User(_) | Identity::ServicePrincipal(_) => Ok(sign_in),
            Identity::Managed => Err(Failure::usage(
                "the Azure CLI is signed in with a managed identity, whose tokens it does not keep",
            )
            .next("ask for them without --store azure-cli: `tokenkeep token --managed-identity`")),
            Identity::CloudShell => Err(Failure::usage(
                "the Azure CLI is signed in by the Cloud Shell, which keeps the tokens itself",
            )
            .next("use `az account get-access-token`, or sign in with `az login --use-device-code`")),
        }
    }

    /// What the service principal proves itself with. Read only when a token must be fetched, as the CLI does.
    pub(crate) fn credential(&self, client_id: &str) -> Result<ClientCredential, Failure> {
        let path = self.folder.join("service_principal_entries.json");
        let tenant = self.sign_in.as_ref().map_or("", |found| found.tenant.as_str());
        let missing = || {
            let message = "the Azure CLI keeps no credential of the service principal that is signed in";
            Failure::new("interaction_required", Exit::InteractionRequired, message).next(
                "sign it in anew with `az login --service-principal`, or give its credential, such as --client-secret-env",
            )
        };
        let entries = content(&path)?.ok_or_else(missing)?;
        let found = ServicePrincipalCredential::read(entries.expose(), client_id, tenant)
            .map_err(|why| malformed(&path, &why))?;
        match found.ok_or_else(missing)? {
            ServicePrincipalCredential::Secret(secret) => Ok(ClientCredential::secret(secret)),
            ServicePrincipalCredential::Certificate(pem) => certificate(&pem),
            // It is valid for minutes, and whoever made it makes the next one.
            ServicePrincipalCredential::Assertion => Err(Failure::usage(
                "the Azure CLI's service principal signed in with an assertion, which cannot be renewed from here",
            )
            .next("give the file that is renewed with --client-assertion-file")),
        }
    }

    /// The file of its token cache.
    pub(crate) fn token_cache(&self) -> PathBuf {
        token_cache_in(&self.folder)
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The file of the Azure CLI's token cache, whatever else is in its folder.
///
/// # Errors
/// That the cache is encrypted, which the file is not then.
pub(crate) fn token_cache() -> Result<PathBuf, Failure> {
    let folder = folder()?;
    let path = token_cache_in(&folder);
    let encrypted = folder.join("msal_token_cache.bin");
    if path.symlink_metadata().is_err() && encrypted.symlink_metadata().is_ok() {
        let message = format!(
            "the Azure CLI encrypts its token cache here ({}), which other programs cannot read",
            encrypted.display()
        );
        // The names are the Azure CLI's own (`azure.cli.core.auth.persistence`).
        return Err(Failure::new("azure_cli", Exit::Storage, message).next(format!(
            "`az config set core.encrypt_token_cache=false` and `az login` make it a file that can be shared; on Linux the tokens are \
             in the keyring: --store msal-secret-service:schema=my_schema_name,my_attr1=foo,my_attr2=bar,path={}",
            encrypted.display()
        )));
    }
    Ok(path)
}

fn token_cache_in(folder: &Path) -> PathBuf {
    folder.join("msal_token_cache.json")
}

/// Where the Azure CLI keeps its files: AZURE_CONFIG_DIR, or `.azure` in the home folder.
fn folder() -> Result<PathBuf, Failure> {
    match env::var_os("AZURE_CONFIG_DIR").filter(|value| !value.is_empty()) {
        Some(folder) => Ok(folder.into()),
        None => folders::home().map(|home| home.join(".azure")).ok_or_else(|| {
            Failure::usage(
                "this account has no home folder; say in AZURE_CONFIG_DIR where the Azure CLI's files are",
            )
        }),
    }
}

fn certificate(path: &Path) -> Result<ClientCredential, Failure> {
    let pem = content(path)?.ok_or_else(|| {
        let message = format!(
            "the certificate of the Azure CLI's service principal is gone: {}",
            path.display()
        );
        Failure::new("azure_cli", Exit::Usage, message)
            .next("put it back, or sign in anew with `az login --service-principal`")
    })?;
    let text = std::str::from_utf8(pem.expose()).map_err(|_| malformed(path, "it is not PEM"))?;
    let key = cache_core::secret::Secret::new(text);
    let certificate = ClientCertificate::from_pem(text, &key).map_err(flows::Error::from)?;
    Ok(ClientCredential::certificate(certificate))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "aaaaaaaa-0000-4000-8000-000000000001";

    fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn profile(name: &str, kind: &str) -> String {
        format!(
            "\u{feff}{{\"subscriptions\": [{{\"id\": \"s\", \"tenantId\": \"{TENANT}\", \"environmentName\": \"AzureCloud\", \
             \"isDefault\": true, \"user\": {{\"name\": \"{name}\", \"type\": \"{kind}\"}}}}]}}"
        )
    }

    #[test]
    fn a_sign_in_is_found() {
        let folder = written(&[("azureProfile.json", &profile("alice@contoso.test", "user"))]);
        let cli = AzureCli::read_in(folder.path().to_owned(), None).unwrap();
        let authority = cli.authority().unwrap();
        assert_eq!(
            authority.url().trim_end_matches('/'),
            format!("https://login.microsoftonline.com/{TENANT}")
        );
        assert!(cli.require_sign_in().is_ok());
        let elsewhere = AzureCli::read_in(folder.path().to_owned(), Some("AzureChinaCloud")).unwrap();
        assert!(elsewhere.sign_in().is_none());
        let failure = elsewhere.require_sign_in().unwrap_err();
        assert_eq!(
            (failure.kind, failure.exit),
            ("interaction_required", Exit::InteractionRequired)
        );
        assert!(
            elsewhere
                .authority()
                .unwrap()
                .url()
                .contains("chinacloudapi.cn/organizations")
        );
    }

    #[test]
    fn an_empty_folder_is_that_of_nobody() {
        let folder = written(&[]);
        let cli = AzureCli::read_in(folder.path().join("none"), None).unwrap();
        assert_eq!(cli.cloud.name, "AzureCloud");
        assert!(cli.require_sign_in().is_err());
        assert_eq!(cli.credential("c").unwrap_err().kind, "interaction_required");
    }

    #[test]
    fn damaged_files_are_named() {
        for (name, text) in [
            ("config", "no section = 1"),
            ("clouds.config", "[a]\nx"),
            ("azureProfile.json", "{"),
        ] {
            let folder = written(&[(name, text)]);
            let failure = AzureCli::read_in(folder.path().to_owned(), None).unwrap_err();
            assert_eq!((failure.kind, failure.exit), ("azure_cli", Exit::Storage));
            assert!(failure.to_text().contains(name), "{}", failure.to_text());
        }
        let folder = written(&[]);
        std::fs::create_dir(folder.path().join("azureProfile.json")).unwrap();
        let failure = AzureCli::read_in(folder.path().to_owned(), None).unwrap_err();
        assert!(failure.to_text().contains("not a regular file"));
        let folder = written(&[
            ("azureProfile.json", &profile("app", "servicePrincipal")),
            ("service_principal_entries.json", "[\"canary\"]"),
        ]);
        let cli = AzureCli::read_in(folder.path().to_owned(), None).unwrap();
        let failure = cli.credential("app").unwrap_err();
        assert_eq!(failure.kind, "azure_cli");
        assert!(!failure.to_text().contains("canary"));
    }

    #[cfg(unix)]
    #[test]
    fn files_that_others_can_write_decide_nothing() {
        use std::fs::{Permissions, set_permissions};
        use std::os::unix::fs::PermissionsExt;

        const CLOUDS: &str = "[AzureCloud]\nendpoint_active_directory = https://login.elsewhere.test\n";
        let folder = written(&[
            ("config", ""),
            ("clouds.config", CLOUDS),
            ("azureProfile.json", &profile("app", "servicePrincipal")),
            (
                "service_principal_entries.json",
                "[{\"client_id\": \"app\", \"client_secret\": \"canary\"}]",
            ),
        ]);
        let read = || {
            let cli = AzureCli::read_in(folder.path().to_owned(), None)?;
            cli.credential("app").map(drop)
        };
        read().unwrap();
        let mode = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for name in [
            ".",
            "config",
            "clouds.config",
            "azureProfile.json",
            "service_principal_entries.json",
        ] {
            let path = folder.path().join(name);
            let own = path.metadata().unwrap().permissions().mode();
            mode(&path, own | 0o002);
            let failure = read().unwrap_err();
            assert_eq!((failure.kind, failure.exit), ("azure_cli", Exit::Storage));
            assert!(
                failure.to_text().contains("may be written by everybody"),
                "{name}"
            );
            mode(&path, own);
        }
        read().unwrap();
    }

    #[test]
    fn tokens_go_over_https_alone() {
        for endpoint in [
            "http://login.elsewhere.test",
            "https://alice@login.elsewhere.test",
            "https://login.elsewhere.test?",
            "https://login.elsewhere.test#",
            "file:///etc",
            "login.elsewhere.test",
            "https://",
        ] {
            let clouds = format!("[AzureCloud]\nendpoint_active_directory = {endpoint}\n");
            let folder = written(&[
                ("clouds.config", &clouds),
                ("azureProfile.json", &profile("a", "user")),
            ]);
            let cli = AzureCli::read_in(folder.path().to_owned(), None).unwrap();
            let failure = cli.authority().unwrap_err();
            assert_eq!(
                (failure.kind, failure.exit),
                ("azure_cli", Exit::Usage),
                "{endpoint}"
            );
        }
    }

    #[test]
    fn identities_without_tokens_in_the_cache_are_refused() {
        let folder = written(&[(
            "azureProfile.json",
            &profile("systemAssignedIdentity", "servicePrincipal"),
        )]);
        let cli = AzureCli::read_in(folder.path().to_owned(), None).unwrap();
        assert_eq!(cli.require_sign_in().unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn a_credential_is_read_when_it_is_asked_for() {
        let entries = "[{\"client_id\": \"app\", \"tenant\": \"t\", \"client_secret\": \"canary\"},\
                       {\"client_id\": \"cert\", \"tenant\": \"t\", \"certificate\": \"/nonexistent/app.pem\"},\
                       {\"client_id\": \"workload\", \"tenant\": \"t\", \"client_assertion\": \"canary\"}]";
        let folder = written(&[("service_principal_entries.json", entries)]);
        let cli = AzureCli::read_in(folder.path().to_owned(), None).unwrap();
        assert!(cli.credential("app").is_ok());
        for client_id in ["cert", "workload"] {
            assert_eq!(cli.credential(client_id).unwrap_err().exit, Exit::Usage);
        }
    }
}
