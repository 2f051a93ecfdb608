//! Which replies are refusals, and what they are about.

use cache_core::cache::{AuthorityRefusal, RefusedBecause};
use cache_core::schema::AuthorityKind;
use cache_core::time::UnixMillis;

use super::retry_after::retry_after;
use super::{Fields, Reply};
use crate::display_text::display_text;
use crate::error::{AuthorityError, B2C_PASSWORD_RESET, Error, ReplyError, b2c_code};

/// The JSON object of a reply that granted what was asked; every other reply as the error that it is.
///
/// Only a 4xx reply other than 408 proves that the request was not executed. A 5xx may come from a proxy in front
/// of an authority that did execute it.
pub(crate) fn definite_success(kind: AuthorityKind, reply: &Reply, now: UnixMillis) -> Result<Fields, Error> {
    let response = &reply.response;
    let status = response.status;
    match status {
        200..=299 => {
            let fields = Fields::parse(&response.body).ok_or(ReplyError::Unreadable(status))?;
            // Some providers refuse with status 200.
            if code(&fields).is_some() && fields.value("access_token").is_none() {
                return Err(refusal(kind, reply, Some(&fields), now).into());
            }
            Ok(fields)
        }
        300..=399 => Err(ReplyError::Redirected(status).into()),
        408 | 500..=599 => Err(ReplyError::Unavailable {
            status,
            retry_after: retry_after(response, now),
        }
        .into()),
        400..=499 => {
            // No body, HTML and other formats are refusals without a code: real providers send them.
            let fields = Fields::parse(&response.body);
            Err(refusal(kind, reply, fields.as_ref(), now).into())
        }
        _ => Err(ReplyError::Unreadable(status).into()),
    }
}

/// The refusal of a refresh as what it is likely to mean. Real providers answer to a refresh token that they no longer know with
/// status 400 and nothing else. The user has to be asked then, else a program would send the dead token for ever; but the
/// session may only have refused these scopes, so other requests may go on using it. A plain issuer says `invalid_scope` to a
/// scope that the user did not grant at the sign-in (RFC 6749 section 6), and a new sign-in can ask for it.
pub(crate) fn of_refresh(kind: AuthorityKind, error: Error) -> Error {
    match error {
        Error::Authority(mut refused)
            if refused.status == Some(400) && refused.refusal.error == "http_400"
                || kind == AuthorityKind::Oidc && refused.refusal.error == "invalid_scope" =>
        {
            refused.refusal.about = RefusedBecause::Interaction;
            (*refused).into()
        }
        other => other,
    }
}

/// The error that an authorization response carries in its query (RFC 6749 section 4.1.2.1).
pub(crate) fn by_redirect(kind: AuthorityKind, error: &str, description: Option<&str>) -> AuthorityError {
    let error = display_text(error);
    AuthorityError {
        refusal: AuthorityRefusal {
            about: reason(kind, &error, description, None, None),
            error,
            suberror: None,
            claims: None,
            description: description.map(display_text),
            correlation_id: None,
        },
        status: None,
        trace_id: None,
        codes: Vec::new(),
        timestamp: None,
        error_uri: None,
    }
}

fn refusal(kind: AuthorityKind, reply: &Reply, fields: Option<&Fields>, now: UnixMillis) -> AuthorityError {
    let response = &reply.response;
    let display = |text: &str| reply.display(text);
    let text = |name: &str| fields.and_then(|fields| fields.text(name)).map(display);
    let error = fields
        .and_then(code)
        .map(display)
        .unwrap_or_else(|| format!("http_{}", response.status));
    let description = text("error_description").or_else(|| Some(display(nested(fields?, "message")?)));
    let suberror = text("suberror");
    // Claims go back to the authority as they came, so they are not cleaned for display.
    let claims = fields.and_then(|fields| fields.text("claims")).map(str::to_owned);
    let about = if response.status == 429 || error == "temporarily_unavailable" || error == "slow_down" {
        RefusedBecause::Throttled(retry_after(response, now))
    } else {
        reason(
            kind,
            &error,
            description.as_deref(),
            suberror.as_deref(),
            claims.as_deref(),
        )
    };
    let codes = fields
        .and_then(|fields| fields.value("error_codes")?.as_array())
        .map(|codes| codes.iter().filter_map(serde_json::Value::as_i64).collect());
    let correlation_id = text("correlation_id").or_else(|| response.header("client-request-id").map(display));
    AuthorityError {
        refusal: AuthorityRefusal {
            description,
            correlation_id,
            error,
            suberror,
            // They go through a browser.
            claims: claims.filter(|claims| !reply.repeats_a_secret(claims)),
            about,
        },
        status: Some(response.status),
        trace_id: text("trace_id"),
        codes: codes.unwrap_or_default(),
        timestamp: text("timestamp"),
        error_uri: text("error_uri"),
    }
}

/// The error's code: `error`, or `error.code` where the error is an object, as Azure's other services write it.
fn code(fields: &Fields) -> Option<&str> {
    fields.text("error").or_else(|| nested(fields, "code"))
}

fn nested<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    let text = fields.value("error")?.get(name)?.as_str()?;
    Some(text).filter(|text| !text.is_empty())
}

fn reason(
    kind: AuthorityKind,
    error: &str,
    description: Option<&str>,
    suberror: Option<&str>,
    claims: Option<&str>,
) -> RefusedBecause {
    // B2C says `access_denied` when the user asked for a new password, which is the user's to go on with.
    if kind == AuthorityKind::B2c && b2c_code(description) == Some(B2C_PASSWORD_RESET) {
        return RefusedBecause::Interaction;
    }
    match error {
        "invalid_grant" if kind == AuthorityKind::Oidc => RefusedBecause::Token,
        "invalid_grant" => match suberror {
            Some("client_mismatch") => RefusedBecause::NotInFamily,
            Some("bad_token" | "token_expired") => RefusedBecause::Token,
            // Conditional access asks for claims and says nothing against the token.
            None if claims.is_none() => RefusedBecause::Token,
            // Known or new, a suberror that does not name the token leaves it usable for other requests.
            _ => RefusedBecause::Interaction,
        },
        "interaction_required" | "login_required" | "consent_required" | "account_selection_required" => {
            RefusedBecause::Interaction
        }
        _ => RefusedBecause::Caller,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::InteractionClassification;
    use crate::http::HttpResponse;
    use cache_core::secret::SecretBytes;

    fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
        HttpResponse {
            status,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: SecretBytes::new(body.as_bytes().to_vec()),
        }
        .into()
    }

    fn error(kind: AuthorityKind, response: &Reply) -> Error {
        definite_success(kind, response, UnixMillis(0))
            .err()
            .expect("an error")
    }

    const B2C_RESET: &str = r#"{"error":"access_denied","error_description":"AADB2C90118: forgotten"}"#;

    fn about(kind: AuthorityKind, body: &str) -> RefusedBecause {
        match error(kind, &reply(400, &[], body)) {
            Error::Authority(error) => error.refusal.about,
            Error::InteractionRequired(error) => error.refusal().unwrap().refusal.about,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn refusals_are_about_the_right_thing() {
        use AuthorityKind::{Adfs, B2c, Entra, Oidc};
        use RefusedBecause::{Caller, Interaction, NotInFamily, Throttled, Token};
        for (kind, body, expected) in [
            (Oidc, r#"{"error":"invalid_grant"}"#, Token),
            (
                Oidc,
                r#"{"error":"invalid_grant","suberror":"consent_required"}"#,
                Token,
            ),
            (Oidc, r#"{"error":"consent_required"}"#, Interaction),
            (Oidc, r#"{"error":"invalid_client"}"#, Caller),
            (Oidc, r#"{"error":"temporarily_unavailable"}"#, Throttled(None)),
            (Adfs, r#"{"error":"invalid_grant"}"#, Token),
            (Entra, r#"{"error":"invalid_grant"}"#, Token),
            (Entra, r#"{"error":"invalid_grant","suberror":""}"#, Token),
            (Entra, r#"{"error":"invalid_grant","suberror":null}"#, Token),
            (
                Entra,
                r#"{"error":"invalid_grant","suberror":"bad_token"}"#,
                Token,
            ),
            (
                Entra,
                r#"{"error":"invalid_grant","suberror":"token_expired"}"#,
                Token,
            ),
            (
                Entra,
                r#"{"error":"invalid_grant","suberror":"client_mismatch"}"#,
                NotInFamily,
            ),
            (
                Entra,
                r#"{"error":"invalid_grant","suberror":"basic_action"}"#,
                Interaction,
            ),
            (
                Entra,
                r#"{"error":"invalid_grant","suberror":"additional_action"}"#,
                Interaction,
            ),
            (
                Entra,
                r#"{"error":"invalid_grant","suberror":"message_only"}"#,
                Interaction,
            ),
            (
                Entra,
                r#"{"error":"invalid_grant","suberror":"consent_required"}"#,
                Interaction,
            ),
            (
                Entra,
                r#"{"error":"invalid_grant","suberror":"user_password_expired"}"#,
                Interaction,
            ),
            (
                Entra,
                r#"{"error":"invalid_grant","suberror":"protection_policy_required"}"#,
                Interaction,
            ),
            (Entra, r#"{"error":"invalid_grant","claims":"{}"}"#, Interaction),
            (Entra, r#"{"error":"interaction_required"}"#, Interaction),
            (Entra, r#"{"error":"login_required"}"#, Interaction),
            (Entra, r#"{"error":"invalid_scope"}"#, Caller),
            (Entra, "", Caller),
            (Entra, "<html>Bad Request</html>", Caller),
            (Entra, r#"["invalid_grant"]"#, Caller),
            (Entra, r#"{"error":{"code":"invalid_grant"}}"#, Token),
            (Entra, r#"{"error":{"code":7}}"#, Caller),
            (
                Adfs,
                r#"{"error":{"code":"invalid_request","message":"x"}}"#,
                Caller,
            ),
            (B2c, B2C_RESET, Interaction),
            (
                B2c,
                r#"{"error":"access_denied","error_description":"AADB2C90091: left"}"#,
                Caller,
            ),
            (Entra, B2C_RESET, Caller),
            (Entra, r#"{"error":7}"#, Caller),
        ] {
            assert_eq!(about(kind, body), expected, "{kind:?} {body}");
        }
    }

    #[test]
    fn only_definite_replies_are_refusals() {
        let kind = AuthorityKind::Oidc;
        let body = r#"{"error":"invalid_grant"}"#;
        for status in [408, 500, 502, 503, 599] {
            let Error::Reply(ReplyError::Unavailable { retry_after, .. }) =
                error(kind, &reply(status, &[("retry-after", "7")], body))
            else {
                panic!("{status}")
            };
            assert_eq!(retry_after, Some(Duration::from_secs(7)));
        }
        for status in [301, 302, 307, 308] {
            let refused = error(kind, &reply(status, &[("location", "https://evil.example")], ""));
            assert!(matches!(refused, Error::Reply(ReplyError::Redirected(found)) if found == status));
        }
        for (status, body) in [(200, ""), (200, "<html>"), (200, "[]"), (101, "{}"), (600, body)] {
            let refused = error(kind, &reply(status, &[], body));
            assert!(
                matches!(refused, Error::Reply(ReplyError::Unreadable(_))),
                "{status}"
            );
        }
        for body in [body, r#"{"error":{"code":"invalid_grant","message":"m"}}"#] {
            assert!(matches!(
                error(kind, &reply(200, &[], body)),
                Error::InteractionRequired(_)
            ));
        }
    }

    #[test]
    fn throttling_carries_the_wait_and_an_empty_400_a_code() {
        let Error::Authority(throttled) =
            error(AuthorityKind::Entra, &reply(429, &[("retry-after", "30")], ""))
        else {
            panic!()
        };
        assert_eq!(
            throttled.refusal.about,
            RefusedBecause::Throttled(Some(Duration::from_secs(30)))
        );
        assert_eq!(throttled.code(), "http_429");
        let Error::Authority(empty) = error(AuthorityKind::Oidc, &reply(400, &[], "")) else {
            panic!()
        };
        assert_eq!((empty.code(), empty.status()), ("http_400", Some(400)));
    }

    #[test]
    fn a_refresh_for_a_scope_that_was_not_granted_asks_the_user_where_issuers_say_so() {
        let response = reply(400, &[], r#"{"error":"invalid_scope"}"#);
        let of = |kind| of_refresh(kind, error(kind, &response));
        let Error::InteractionRequired(consent) = of(AuthorityKind::Oidc) else {
            panic!()
        };
        assert_eq!(
            consent.classification(),
            InteractionClassification::ConsentRequired
        );
        assert!(matches!(of(AuthorityKind::Entra), Error::Authority(_)));
    }

    #[test]
    fn a_refusal_without_a_code_says_what_can_be_done() {
        for (status, shown) in [
            (
                429,
                "the authority refused: too many requests (HTTP status 429); try again later",
            ),
            (
                403,
                "the authority refused with HTTP status 403 and no error code",
            ),
        ] {
            let refused = error(AuthorityKind::Oidc, &reply(status, &[], ""));
            assert_eq!(refused.to_string(), shown);
        }
    }

    #[test]
    fn what_support_asks_for_is_kept() {
        let body = r#"{"error":"invalid_client","timestamp":"2026-01-01 00:00:00Z","error_uri":"https://x.example/e?code=1"}"#;
        let Error::Authority(refused) = error(AuthorityKind::Entra, &reply(401, &[], body)) else {
            panic!()
        };
        assert_eq!(refused.timestamp(), Some("2026-01-01 00:00:00Z"));
        assert_eq!(refused.error_uri(), Some("https://x.example/e?code=1"));
        let nested = r#"{"error":{"code":"invalid_request","message":"no\u0007good"}}"#;
        let Error::Authority(refused) = error(AuthorityKind::Entra, &reply(400, &[], nested)) else {
            panic!()
        };
        assert_eq!(
            refused.to_string(),
            "the authority refused: invalid_request: no good"
        );
        assert!(!refused.is_cancelled_by_user());
    }

    #[test]
    fn b2c_says_in_words_what_the_user_wants() {
        let by_redirect = |text| Error::from(by_redirect(AuthorityKind::B2c, "access_denied", Some(text)));
        let Error::InteractionRequired(reset) =
            by_redirect("AADB2C90118: The user has forgotten their password.")
        else {
            panic!()
        };
        assert_eq!(reset.classification(), InteractionClassification::PasswordReset);
        let Error::Authority(left) = by_redirect("AADB2C90091: The user has cancelled.") else {
            panic!()
        };
        assert!(left.is_cancelled_by_user());
    }

    #[test]
    fn the_text_of_the_server_is_cleaned() {
        let body = serde_json::json!({
            "error": "invalid_client\u{1b}[2J",
            "error_description": "AADSTS7000215: bad secret\r\nTrace",
            "error_codes": [7_000_215, "x"],
            "correlation_id": "c-1",
            "trace_id": "t-1",
        });
        let Error::Authority(refused) = error(AuthorityKind::Entra, &reply(401, &[], &body.to_string()))
        else {
            panic!()
        };
        assert_eq!(
            refused.to_string(),
            "the authority refused: invalid_client [2J: AADSTS7000215: bad secret  Trace [correlation ID c-1]"
        );
        assert_eq!(
            (refused.codes(), refused.trace_id()),
            (&[7_000_215][..], Some("t-1"))
        );
    }
}
