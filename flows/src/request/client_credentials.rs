//! The application acts for itself (RFC 6749 section 4.4).

use cache_core::schema::ScopeSet;

use super::TokenRequest;
use crate::authority::Authority;
use crate::error::ConfigurationError;
use crate::request::ClientIdentity;
use crate::response::Subject;

/// Asks for a token of the application itself. Entra wants scopes of the form `RESOURCE/.default`.
///
/// # Errors
/// [`ConfigurationError`] when the client has no credential, or the authority is one of Entra's shared ones: an
/// application lives in a tenant.
pub fn request(
    authority: &Authority,
    client: &ClientIdentity,
    scopes: ScopeSet,
) -> Result<TokenRequest, ConfigurationError> {
    if !client.is_confidential() {
        return Err(ConfigurationError::new(
            "client credentials need a confidential client; give it a secret",
        ));
    }
    if authority.is_multi_tenant() {
        return Err(ConfigurationError::new(format!(
            "an application has no tenant at `{}`; name its tenant in the authority",
            authority.tenant()
        )));
    }
    let mut request = TokenRequest::new("client_credentials", scopes, Subject::Application);
    request.form.push_unless_empty("scope", request.scopes.as_str());
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cache_core::secret::Secret;

    #[test]
    fn an_application_needs_a_credential_and_a_tenant() {
        let tenant = Authority::detect("https://login.microsoftonline.com/contoso.com").unwrap();
        let common = Authority::detect("https://login.microsoftonline.com/common").unwrap();
        let public = ClientIdentity::public("c").unwrap();
        let client = ClientIdentity::with_secret("c", Secret::new("s")).unwrap();
        let scopes = || ScopeSet::parse("api://x/.default");
        assert!(request(&tenant, &public, scopes()).is_err());
        assert!(request(&common, &client, scopes()).is_err());
        let form = request(&tenant, &client, scopes()).unwrap().form.into_bytes();
        assert_eq!(
            form.expose(),
            b"grant_type=client_credentials&scope=api%3A%2F%2Fx%2F.default"
        );
    }
}
