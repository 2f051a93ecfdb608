//! How a client says who it is at the token endpoint (RFC 6749 section 2.3).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cache_core::schema::AuthorityKind;
use cache_core::secret::Secret;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use crate::authority::{Authority, Metadata};
use crate::error::{ConfigurationError, Error};
use crate::http::Form;

/// A client and its credential, if it has one.
#[derive(Clone)]
pub struct ClientIdentity {
    id: String,
    credential: Credential,
}

#[derive(Clone)]
enum Credential {
    /// A public client: anybody can read what a program on a user's machine holds.
    None,
    Secret(Secret, Option<SecretMethod>),
}

/// How a client secret is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretMethod {
    /// In the `Authorization` header (`client_secret_basic`).
    Basic,
    /// In the form (`client_secret_post`).
    Post,
}

/// The request that a client authenticates, as far as its credential needs to know.
pub(crate) struct Authentication<'a> {
    pub(crate) authority: &'a Authority,
    pub(crate) metadata: &'a Metadata,
}

impl ClientIdentity {
    /// A public client.
    ///
    /// # Errors
    /// [`ConfigurationError`] when the identifier is empty.
    pub fn public(id: impl Into<String>) -> Result<Self, ConfigurationError> {
        let id = id.into();
        if id.is_empty() {
            return Err(ConfigurationError::new("the client ID is empty"));
        }
        Ok(Self {
            id,
            credential: Credential::None,
        })
    }

    /// A confidential client with a secret. How the secret is sent follows the authority's metadata.
    ///
    /// # Errors
    /// [`ConfigurationError`] when the identifier or the secret is empty.
    pub fn with_secret(id: impl Into<String>, secret: Secret) -> Result<Self, ConfigurationError> {
        if secret.is_empty() {
            return Err(ConfigurationError::new("the client secret is empty"));
        }
        Ok(Self {
            credential: Credential::Secret(secret, None),
            ..Self::public(id)?
        })
    }

    /// Sends the secret in this way, whatever the metadata says: some issuers accept only the one that the client
    /// was registered for.
    #[must_use]
    pub fn secret_method(mut self, method: SecretMethod) -> Self {
        if let Credential::Secret(_, chosen) = &mut self.credential {
            *chosen = Some(method);
        }
        self
    }

    /// The client ID.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the client has a credential.
    #[must_use]
    pub fn is_confidential(&self) -> bool {
        !matches!(self.credential, Credential::None)
    }

    /// Adds what authenticates the client to `form`, or returns the `Authorization` header that does.
    ///
    /// # Errors
    /// When the credential cannot be had; nothing was sent then.
    pub(crate) async fn authenticate(
        &self,
        request: &Authentication<'_>,
        form: &mut Form,
    ) -> Result<Option<Secret>, Error> {
        let Credential::Secret(secret, chosen) = &self.credential else {
            form.push("client_id", &self.id);
            return Ok(None);
        };
        let kind = request.authority.kind();
        match chosen.unwrap_or_else(|| default_method(kind, request.metadata)) {
            // RFC 6749 section 2.3: one method a request, so neither part is repeated in the form.
            SecretMethod::Basic => Ok(Some(basic(&self.id, secret))),
            SecretMethod::Post => {
                form.push("client_id", &self.id);
                form.push_secret("client_secret", secret);
                Ok(None)
            }
        }
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity")
            .field("id", &self.id)
            .field("confidential", &self.is_confidential())
            .finish()
    }
}

/// The form, as every Microsoft authority documents it and most other issuers accept it. Where an issuer does not
/// offer it, or says nothing, which means the same (OIDC Discovery section 3): the header.
fn default_method(kind: AuthorityKind, metadata: &Metadata) -> SecretMethod {
    let offers_post = metadata
        .token_endpoint_auth_methods
        .as_ref()
        .is_some_and(|methods| methods.iter().any(|method| method == "client_secret_post"));
    if kind == AuthorityKind::Oidc && !offers_post {
        SecretMethod::Basic
    } else {
        SecretMethod::Post
    }
}

/// RFC 6749 section 2.3.1: both parts are form-encoded *before* they are joined and base64-encoded, else a colon in
/// the client ID would move the boundary.
fn basic(id: &str, secret: &Secret) -> Secret {
    let mut pair = Zeroizing::new(String::with_capacity(
        id.len() * 3 + secret.expose().len() * 3 + 1,
    ));
    pair.extend(byte_serialize(id.as_bytes()));
    pair.push(':');
    pair.extend(byte_serialize(secret.expose().as_bytes()));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    let mut header = String::with_capacity(6 + encoded.len());
    header.push_str("Basic ");
    header.push_str(&encoded);
    Secret::new(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    fn authority(kind: AuthorityKind) -> Authority {
        Authority::detect(match kind {
            AuthorityKind::Oidc => "https://id.example",
            _ => "https://login.microsoftonline.com/common",
        })
        .unwrap()
    }

    fn metadata(methods: Option<&[&str]>) -> Metadata {
        let authority = authority(AuthorityKind::Entra);
        Metadata {
            token_endpoint_auth_methods: methods
                .map(|methods| methods.iter().map(|method| (*method).to_owned()).collect()),
            ..Metadata::by_convention(&authority).unwrap()
        }
    }

    async fn sent(
        client: &ClientIdentity,
        kind: AuthorityKind,
        methods: Option<&[&str]>,
    ) -> (Option<String>, String) {
        let mut form = Form::new();
        let authentication = Authentication {
            authority: &authority(kind),
            metadata: &metadata(methods),
        };
        let header = client.authenticate(&authentication, &mut form).await.unwrap();
        let form = String::from_utf8(form.into_bytes().expose().to_vec()).unwrap();
        (header.map(|header| header.expose().to_owned()), form)
    }

    #[tokio::test]
    async fn the_secret_goes_where_the_issuer_expects_it() {
        let client = ClientIdentity::with_secret("c", Secret::new("s")).unwrap();
        let posted = (None, "client_id=c&client_secret=s".to_owned());
        let basic = (Some("Basic Yzpz".to_owned()), String::new());
        for (kind, methods, expected) in [
            (AuthorityKind::Entra, None, &posted),
            (AuthorityKind::Oidc, None, &basic),
            (AuthorityKind::Oidc, Some(&["client_secret_post"][..]), &posted),
            (
                AuthorityKind::Oidc,
                Some(&["client_secret_basic", "client_secret_post"][..]),
                &posted,
            ),
            (AuthorityKind::Oidc, Some(&["client_secret_basic"][..]), &basic),
            (AuthorityKind::Oidc, Some(&[][..]), &basic),
        ] {
            assert_eq!(
                sent(&client, kind, methods).await,
                *expected,
                "{kind:?} {methods:?}"
            );
        }
        let chosen = client.secret_method(SecretMethod::Post);
        assert_eq!(sent(&chosen, AuthorityKind::Oidc, None).await, posted);
        let chosen = chosen.secret_method(SecretMethod::Basic);
        assert_eq!(sent(&chosen, AuthorityKind::Entra, None).await, basic);
        let public = ClientIdentity::public("c").unwrap();
        assert_eq!(
            sent(&public, AuthorityKind::Oidc, None).await,
            (None, "client_id=c".to_owned())
        );
    }

    #[test]
    fn basic_encodes_each_part_first() {
        let header = basic("a:b", &Secret::new("p%ä +"));
        let encoded = header.expose().strip_prefix("Basic ").unwrap();
        assert_eq!(STANDARD.decode(encoded).unwrap(), b"a%3Ab:p%25%C3%A4+%2B");
    }

    #[test]
    fn empty_credentials_are_refused_and_debug_shows_none() {
        assert!(ClientIdentity::public("").is_err());
        assert!(ClientIdentity::with_secret("c", Secret::default()).is_err());
        let client = ClientIdentity::with_secret("c", Secret::new("canary")).unwrap();
        assert!(!format!("{client:?}").contains("canary"));
    }
}
