//! `--authority`: who issues the tokens.

use std::str::FromStr;

use flows::authority::Authority;

type Constructor = fn(&str) -> Result<Authority, flows::error::ConfigurationError>;

const KINDS: [(&str, Constructor); 5] = [
    ("entra:", Authority::entra),
    ("oidc:", Authority::oidc),
    ("b2c:", Authority::b2c),
    ("ciam:", Authority::ciam),
    ("adfs:", Authority::adfs),
];

/// An authority, of a kind that was named or is told from its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthorityAddress(pub(crate) Authority);

impl FromStr for AuthorityAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = KINDS
            .iter()
            .find_map(|(prefix, constructor)| Some((constructor, text.strip_prefix(prefix)?)));
        let authority = match named {
            Some((constructor, url)) => constructor(url),
            None => Authority::detect(text),
        };
        authority
            .map(Self)
            .map_err(|error| match std::error::Error::source(&error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            })
    }
}

#[cfg(test)]
mod tests {
    use cache_core::schema::AuthorityKind;

    use super::*;

    #[test]
    fn the_kind_is_told_or_named() {
        for (text, kind) in [
            ("https://login.microsoftonline.com/common", AuthorityKind::Entra),
            ("https://127.0.0.1:8443/common", AuthorityKind::Entra),
            ("https://id.example.org/realms/staff", AuthorityKind::Oidc),
            ("http://127.0.0.1:3000", AuthorityKind::Oidc),
            ("oidc:https://id.example.org/common", AuthorityKind::Oidc),
            ("entra:https://login.example.org/contoso", AuthorityKind::Entra),
        ] {
            let AuthorityAddress(authority) = text.parse().unwrap();
            assert_eq!(authority.kind(), kind, "{text}");
        }
        for text in [
            "",
            "id.example.org",
            "http://id.example.org",
            "saml:https://id.example.org",
        ] {
            assert!(text.parse::<AuthorityAddress>().is_err(), "{text}");
        }
    }
}
