//! Whose a row is, where nothing authenticates it.

use crate::codec::msal::RowOrigin;
use crate::schema::{AuthorityIdentity, AuthorityKind};

/// The authorities that the configuration names.
#[derive(Clone, Debug, Default)]
pub(super) struct Authorities(Vec<AuthorityIdentity>);

impl Authorities {
    pub(super) fn name(&mut self, authority: AuthorityIdentity) {
        if !self.0.contains(&authority) {
            self.0.push(authority);
        }
    }

    /// The authority of a row: the one that is asked for if the row can be its, else one that is configured, else one that the document
    /// itself `noted`, else what the row looks like.
    pub(super) fn identify(
        &self,
        asked: Option<&AuthorityIdentity>,
        noted: &[AuthorityIdentity],
        origin: &RowOrigin<'_>,
    ) -> AuthorityIdentity {
        let mut named = asked.into_iter().chain(&self.0).chain(noted);
        match named.find(|authority| can_be_of(origin, authority)) {
            Some(authority) => authority.clone(),
            None => origin.default_identity(),
        }
    }
}

/// Whether the row can come from the authority: it names its issuer, or its host or an alias of that.
fn can_be_of(origin: &RowOrigin<'_>, authority: &AuthorityIdentity) -> bool {
    let is_adfs = |authority_type: &str| authority_type.eq_ignore_ascii_case("ADFS");
    match authority.kind() {
        AuthorityKind::Oidc => origin.issuer == Some(authority.id()),
        kind => {
            let is_adfs = origin.authority_type.is_some_and(is_adfs);
            origin.issuer.is_none()
                && (origin.authority_type.is_none() || is_adfs == (kind == AuthorityKind::Adfs))
                && AuthorityIdentity::of_host(kind, origin.environment) == *authority
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin<'a>(environment: &'a str, issuer: Option<&'a str>) -> RowOrigin<'a> {
        RowOrigin {
            environment,
            authority_type: Some("MSSTS"),
            issuer,
        }
    }

    #[test]
    fn rows_belong_to_whom_the_configuration_names() {
        let b2c = AuthorityIdentity::of_host(AuthorityKind::B2c, "contoso.b2clogin.com");
        let entra = AuthorityIdentity::of_host(AuthorityKind::Entra, "login.microsoftonline.com");
        let issuer = AuthorityIdentity::of_issuer("https://id.example");
        let mut known = Authorities::default();
        known.name(b2c.clone());
        known.name(issuer.clone());
        assert_eq!(
            known.identify(None, &[], &origin("contoso.b2clogin.com", None)),
            b2c
        );
        assert_eq!(
            known.identify(None, &[], &origin("login.windows.net", None)),
            entra
        );
        assert_eq!(
            known.identify(None, &[], &origin("id.example", Some("https://id.example"))),
            issuer
        );
        // Neither the host of an issuer nor a host under a similar name is enough.
        assert_ne!(
            known.identify(Some(&issuer), &[], &origin("id.example", None)),
            issuer
        );
        assert_ne!(
            known.identify(
                Some(&entra),
                &[],
                &origin("login.microsoftonline.com.evil.example", None)
            ),
            entra
        );
    }
}
