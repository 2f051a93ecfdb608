//! Revoking a token (RFC 7009).

use cache_core::schema::AuthorityKind;
use cache_core::secret::Secret;
use cache_core::time::UnixMillis;

use crate::error::{Error, ReplyError};
use crate::http::Form;
use crate::response::{Reply, definite_success};

/// The form that asks to revoke a refresh token, and with it what else was granted with it (section 2.1).
pub(crate) fn form(refresh_token: &Secret) -> Form {
    let mut form = Form::new();
    form.push_secret("token", refresh_token);
    form.push("token_type_hint", "refresh_token");
    form
}

/// Judges the reply (section 2.2): the status says it all, and a token that was unknown counts as revoked.
pub(crate) fn judge(kind: AuthorityKind, reply: &Reply, now: UnixMillis) -> Result<(), Error> {
    if reply.response.status == 200 {
        return Ok(());
    }
    match definite_success(kind, reply, now) {
        // Accepted, or no content: nothing says that it is done.
        Ok(_) => Err(ReplyError::Unreadable(reply.response.status).into()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::HttpResponse;
    use cache_core::secret::SecretBytes;

    fn judged(status: u16, headers: &[(&str, &str)], body: &str) -> Result<(), Error> {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let response = HttpResponse {
            status,
            headers: headers.collect(),
            body: SecretBytes::new(body.as_bytes().to_vec()),
        };
        judge(AuthorityKind::Oidc, &response.into(), UnixMillis(0))
    }

    #[test]
    fn only_200_means_revoked() {
        assert!(judged(200, &[], "").is_ok());
        assert!(judged(202, &[], "").is_err() && judged(202, &[], "{}").is_err());
        assert!(matches!(
            judged(302, &[("location", "https://evil.example")], ""),
            Err(Error::Reply(ReplyError::Redirected(302)))
        ));
        assert!(matches!(
            judged(400, &[], r#"{"error":"unsupported_token_type"}"#),
            Err(Error::Authority(error)) if error.code() == "unsupported_token_type"
        ));
        assert!(matches!(
            judged(503, &[("retry-after", "9")], ""),
            Err(Error::Reply(ReplyError::Unavailable { retry_after: Some(wait), .. })) if wait == Duration::from_secs(9)
        ));
    }

    #[test]
    fn the_form_names_the_kind_of_token() {
        let form = form(&Secret::new("a b")).into_bytes();
        assert_eq!(form.expose(), b"token=a+b&token_type_hint=refresh_token");
    }
}
