//! A user name and a password for tokens (RFC 6749 section 4.3). See
//! [`acquire_token_by_username_password`](crate::client::PublicClient::acquire_token_by_username_password) for why not to.

use cache_core::cache::RefusedBecause;
use cache_core::schema::{AuthorityKind, ScopeSet};
use cache_core::secret::Secret;

use super::{TokenRequest, user_scopes};
use crate::authority::Authority;
use crate::error::{ConfigurationError, Error};
use crate::response::Subject;

/// Entra's numbers for what only an interactive sign-in resolves, some of which come without a suberror: expired password, second
/// factor (wanted, to be registered, by another provider), conditional access, consent.
const INTERACTIVE_CODES: [i64; 7] = [50_055, 50_074, 50_076, 50_079, 50_158, 53_003, 65_001];

/// Asks for tokens of the user with this name and password.
///
/// # Errors
/// [`ConfigurationError`] for an empty name or password, and for Entra's `common` and `consumers`, which take no passwords.
pub fn request(
    authority: &Authority,
    scopes: ScopeSet,
    username: &str,
    password: &Secret,
) -> Result<TokenRequest, ConfigurationError> {
    if username.is_empty() || password.is_empty() {
        return Err(ConfigurationError::new("the user name or the password is empty"));
    }
    if authority.kind() == AuthorityKind::Entra && ["common", "consumers"].contains(&authority.tenant()) {
        return Err(ConfigurationError::new(format!(
            "`{}` takes no passwords; name the user's tenant, or `organizations`, in the authority",
            authority.tenant()
        )));
    }
    // Whoever is named by the reply is who signed in: providers accept aliases, telephone numbers and several domains as names, and
    // return another one, so that comparing it with what was typed would refuse honest replies and prove nothing.
    let mut request = TokenRequest::new("password", scopes, Subject::NewUser { nonce: None });
    request.form.push("username", username);
    request.form.push_secret("password", password);
    request.form.push("scope", user_scopes(&request.scopes).as_str());
    Ok(request)
}

/// The error of such a request. `invalid_grant` is about the name and the password here, not about a refresh token: asking
/// the user to sign in again would not mend a wrong one, so it is [`Error::Authority`]. What says that the password alone is not enough stays
/// [`Error::InteractionRequired`].
pub(crate) fn judge(error: Error) -> Error {
    let Error::InteractionRequired(required) = error else {
        return error;
    };
    match required.refusal() {
        Some(refusal)
            if refusal.refusal().about == RefusedBecause::Token
                && !refusal
                    .codes()
                    .iter()
                    .any(|code| INTERACTIVE_CODES.contains(code)) =>
        {
            let mut refusal = refusal.clone();
            refusal.refusal.about = RefusedBecause::Caller;
            Error::Authority(Box::new(refusal))
        }
        _ => Error::InteractionRequired(required),
    }
}

#[cfg(test)]
mod tests {
    use cache_core::cache::AuthorityRefusal;

    use super::*;
    use crate::error::AuthorityError;

    fn judged(about: RefusedBecause, codes: &[i64]) -> Error {
        let mut error = AuthorityError::from(AuthorityRefusal {
            error: "invalid_grant".into(),
            suberror: None,
            claims: None,
            description: None,
            correlation_id: None,
            about,
        });
        error.codes = codes.to_vec();
        judge(error.into())
    }

    #[test]
    fn a_wrong_password_is_the_caller_s_and_a_second_factor_the_user_s() {
        for codes in [&[][..], &[50_126], &[50_034]] {
            let error = judged(RefusedBecause::Token, codes);
            assert!(
                matches!(&error, Error::Authority(error) if error.refusal().about == RefusedBecause::Caller),
                "{error:?}"
            );
        }
        for code in INTERACTIVE_CODES {
            assert!(matches!(
                judged(RefusedBecause::Token, &[code]),
                Error::InteractionRequired(_)
            ));
        }
        assert!(matches!(
            judged(RefusedBecause::Interaction, &[]),
            Error::InteractionRequired(_)
        ));
    }

    #[test]
    fn nothing_is_built_that_could_only_be_refused() {
        let build = |authority: &str, username: &str, password: &str| {
            let authority = Authority::detect(authority).unwrap();
            let scopes = ScopeSet::parse("User.Read");
            request(&authority, scopes, username, &Secret::new(password))
                .map(|request| request.form.into_bytes())
        };
        let host = "https://login.microsoftonline.com";
        let tenant = format!("{host}/organizations");
        let form = build(&tenant, "a@b.c", "p&w=").unwrap();
        assert_eq!(
            std::str::from_utf8(form.expose()).unwrap(),
            "grant_type=password&username=a%40b.c&password=p%26w%3D&scope=User.Read+openid+profile+offline_access"
        );
        for (authority, username, password) in [
            (&*tenant, "", "p"),
            (&tenant, "a", ""),
            (&format!("{host}/common"), "a", "p"),
            (&format!("{host}/consumers"), "a", "p"),
        ] {
            assert!(build(authority, username, password).is_err(), "{authority}");
        }
    }
}
