//! `service_principal_entries.json`: what an application that signed in to the Azure CLI proves itself with.

use std::path::PathBuf;

use cache_core::secret::Secret;
use serde::Deserialize;
use zeroize::Zeroizing;

/// What an application proves itself with.
#[derive(Debug)]
pub(crate) enum ServicePrincipalCredential {
    Secret(Secret),
    /// A PEM file with the certificate and its private key.
    Certificate(PathBuf),
    /// An assertion that the caller of `az login` gave. It was valid for minutes.
    Assertion,
}

impl ServicePrincipalCredential {
    /// The entry of the client, in its tenant if there is one for that, as the Azure CLI chooses.
    ///
    /// # Errors
    /// What in the file is not as it should be. Its content is not repeated.
    pub(super) fn read(entries: &[u8], client_id: &str, tenant: &str) -> Result<Option<Self>, String> {
        let entries = entries.strip_prefix(b"\xef\xbb\xbf").unwrap_or(entries);
        // Not the error itself, which may repeat the value that it stumbled over.
        let mut entries: Vec<Entry> = serde_json::from_slice(entries).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("it is not a list of service principals (line {line}, column {column})")
        })?;
        entries.retain(|entry| entry.client_id.eq_ignore_ascii_case(client_id));
        let in_tenant = entries
            .iter()
            .position(|entry| entry.tenant.eq_ignore_ascii_case(tenant));
        if entries.is_empty() {
            return Ok(None);
        }
        let entry = entries.swap_remove(in_tenant.unwrap_or(0));
        // The order in which the CLI lets a later one win.
        let credential = entry
            .client_assertion
            .map(|_| Self::Assertion)
            .or(entry.certificate.map(Self::Certificate))
            .or(entry
                .client_secret
                .map(|SecretText(text)| Self::Secret(Secret::new(text.as_str()))));
        credential
            .map(Some)
            .ok_or_else(|| "the service principal's entry has neither a secret nor a certificate".to_owned())
    }
}

/// One entry. It derives no `Debug`: two of its fields are secrets.
#[derive(Deserialize)]
struct Entry {
    client_id: String,
    #[serde(default)]
    tenant: String,
    client_secret: Option<SecretText>,
    certificate: Option<PathBuf>,
    client_assertion: Option<SecretText>,
}

/// Text that is wiped.
struct SecretText(Zeroizing<String>);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: &str = r#"[
    {
        "tenant": "elsewhere",
        "client_id": "dddddddd-0000-4000-8000-00000000000b",
        "client_secret": "canary-elsewhere"
    },
    {
        "tenant": "aaaaaaaa-0000-4000-8000-000000000001",
        "client_id": "dddddddd-0000-4000-8000-00000000000b",
        "client_secret": "canary-secret"
    },
    {
        "tenant": "aaaaaaaa-0000-4000-8000-000000000001",
        "client_id": "eeeeeeee-0000-4000-8000-00000000000c",
        "certificate": "/home/alice/app.pem",
        "use_cert_sn_issuer": "true"
    },
    { "tenant": "t", "client_id": "workload", "client_assertion": "canary-assertion" },
    { "tenant": "t", "client_id": "empty" }
]"#;

    fn read(client_id: &str, tenant: &str) -> Result<Option<ServicePrincipalCredential>, String> {
        ServicePrincipalCredential::read(ENTRIES.as_bytes(), client_id, tenant)
    }

    #[test]
    fn the_entry_of_client_and_tenant_is_found() {
        let secret = |tenant| match read("DDDDDDDD-0000-4000-8000-00000000000b", tenant) {
            Ok(Some(ServicePrincipalCredential::Secret(secret))) => secret.expose().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(secret("aaaaaaaa-0000-4000-8000-000000000001"), "canary-secret");
        assert_eq!(
            secret("a third tenant"),
            "canary-elsewhere",
            "as the Azure CLI does"
        );
        let certificate = read("eeeeeeee-0000-4000-8000-00000000000c", "t");
        assert!(matches!(
            certificate,
            Ok(Some(ServicePrincipalCredential::Certificate(path))) if path.ends_with("app.pem")
        ));
        assert!(matches!(
            read("workload", "t"),
            Ok(Some(ServicePrincipalCredential::Assertion))
        ));
        assert!(read("nobody", "t").unwrap().is_none());
        assert!(read("empty", "t").is_err());
    }

    #[test]
    fn nothing_of_a_damaged_file_is_shown() {
        let shown = format!("{:?}", read("dddddddd-0000-4000-8000-00000000000b", "t"));
        assert!(!shown.contains("canary"), "{shown}");
        for text in [
            "canary",
            "{\"canary\": 1}",
            "[{\"client_id\": 1, \"x\": \"canary\"}]",
            "[\"canary\"]",
        ] {
            let error = ServicePrincipalCredential::read(text.as_bytes(), "c", "t").unwrap_err();
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
