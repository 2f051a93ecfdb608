//! A secret that client and authority share (RFC 6749 section 2.3.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cache_core::schema::AuthorityKind;
use cache_core::secret::Secret;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use crate::authority::Metadata;

/// How a client secret is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretMethod {
    /// In the `Authorization` header (`client_secret_basic`).
    Basic,
    /// In the form (`client_secret_post`).
    Post,
}

/// The form, as every Microsoft authority documents it and most other issuers accept it. Where an issuer does not
/// offer it, or says nothing, which means the same (OIDC Discovery section 3): the header.
pub(super) fn default_method(kind: AuthorityKind, metadata: &Metadata) -> SecretMethod {
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
pub(super) fn basic(id: &str, secret: &Secret) -> Secret {
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

    #[test]
    fn basic_encodes_each_part_first() {
        let header = basic("a:b", &Secret::new("p%ä +"));
        let encoded = header.expose().strip_prefix("Basic ").unwrap();
        assert_eq!(STANDARD.decode(encoded).unwrap(), b"a%3Ab:p%25%C3%A4+%2B");
    }
}
