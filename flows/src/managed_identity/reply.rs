//! What the endpoints answer.

use std::time::Duration;

use cache_core::cache::{AuthorityRefusal, RefusedBecause};
use cache_core::schema::{TokenContext, TokenResponse, TokenType};
use cache_core::time::{UnixMillis, UnixSeconds};
use serde_json::Value;

use super::expiry::parse_date;
use super::{AUTHORITY, ManagedIdentityId, Resource, TENANT};
use crate::error::{AuthorityError, Error, ReplyError};
use crate::response::{Fields, Reply, retry_after};

/// A token that lives longer is replaced when half of its life is over, as in MSAL.
const LONG_LIFE: Duration = Duration::from_secs(2 * 3600);

/// What was asked, when.
pub(crate) struct ReplyFor<'a> {
    pub(crate) identity: &'a ManagedIdentityId,
    pub(crate) resource: &'a Resource,
    pub(crate) sent_at: UnixMillis,
    pub(crate) now: UnixMillis,
}

/// The token in `reply`, or the error that it is.
pub(crate) fn token_response(asked: &ReplyFor<'_>, reply: &Reply) -> Result<TokenResponse, Error> {
    let mut fields = success(reply, asked.now)?;
    let sent_at = asked.sent_at.to_seconds();
    let expires_on = expires_on(&fields, sent_at)?;
    match fields.text("token_type") {
        Some(other) if !other.eq_ignore_ascii_case("bearer") => {
            return Err(ReplyError::TokenType(reply.display(other)).into());
        }
        _ => {}
    }
    let lifetime = expires_on.duration_since(sent_at);
    let refresh_in = fields
        .duration("refresh_in")
        .or_else(|| (lifetime > LONG_LIFE).then(|| lifetime / 2));
    let access_token = fields
        .take_secret("access_token")
        .ok_or(ReplyError::Missing("access_token"))?;
    Ok(TokenResponse {
        client_id: asked.identity.cache_id().to_owned(),
        environment: AUTHORITY.to_owned(),
        realm: TENANT.to_owned(),
        scopes: asked.resource.scopes(),
        requested_scopes: asked.resource.scopes(),
        token_type: TokenType::Bearer,
        access_token: Some(access_token),
        requested_at: sent_at,
        expires_on,
        extended_expires_on: None,
        refresh_on: refresh_in.map(|lifetime| sent_at.saturating_add(lifetime)),
        refresh_token: None,
        refresh_token_expires_on: None,
        family_id: None,
        id_token: None,
        account: None,
        context: TokenContext::default(),
    })
}

/// `expires_on`, or `expires_in` from when the request was sent; the earlier one where there are both, because endpoints that
/// have a cache of their own are known to repeat the `expires_in` of the day that the token was made.
fn expires_on(fields: &Fields, sent_at: UnixSeconds) -> Result<UnixSeconds, ReplyError> {
    let date = || fields.text("expires_on").and_then(parse_date);
    let moment = fields
        .duration("expires_on")
        .map(|since_1970| UnixSeconds(0).saturating_add(since_1970))
        .or_else(date);
    let lifetime = fields
        .duration("expires_in")
        .map(|lifetime| sent_at.saturating_add(lifetime));
    match (moment, lifetime) {
        (Some(moment), Some(lifetime)) => Ok(moment.min(lifetime)),
        (moment, lifetime) => moment.or(lifetime).ok_or(ReplyError::Missing("expires_on")),
    }
}

fn success(reply: &Reply, now: UnixMillis) -> Result<Fields, Error> {
    let response = &reply.response;
    let status = response.status;
    match status {
        200..=299 => Ok(Fields::parse(&response.body).ok_or(ReplyError::Unreadable(status))?),
        300..=399 => Err(ReplyError::Redirected(status).into()),
        408 | 500..=599 => Err(ReplyError::Unavailable {
            status,
            retry_after: retry_after(response, now),
        }
        .into()),
        400..=499 => Err(Error::Authority(Box::new(refusal(reply, now)))),
        _ => Err(ReplyError::Unreadable(status).into()),
    }
}

/// `{error, error_description}`, `{statusCode, message, correlationId}` or `{error: {code, message, correlationId}}`.
///
/// There is no user who could be asked, so none of it requires interaction.
fn refusal(reply: &Reply, now: UnixMillis) -> AuthorityError {
    let response = &reply.response;
    let fields = Fields::parse(&response.body);
    let outer = |name: &str| fields.as_ref().and_then(|fields| fields.scalar(name));
    let inner = |name: &str| {
        let object = fields.as_ref()?.value("error")?.as_object()?;
        object.get(name).and_then(Value::as_str).map(str::to_owned)
    };
    let first = |texts: [Option<String>; 3]| {
        texts
            .into_iter()
            .flatten()
            .next()
            .map(|text| reply.display(&text))
    };
    AuthorityError {
        refusal: AuthorityRefusal {
            error: first([inner("code"), outer("error"), None])
                .unwrap_or_else(|| format!("http_{}", response.status)),
            suberror: None,
            claims: None,
            description: first([inner("message"), outer("error_description"), outer("message")]),
            correlation_id: first([
                inner("correlationId"),
                outer("correlationId"),
                outer("correlation_id"),
            ]),
            about: match response.status {
                429 => RefusedBecause::Throttled(retry_after(response, now)),
                _ => RefusedBecause::Caller,
            },
        },
        status: Some(response.status),
        trace_id: None,
        codes: Vec::new(),
        timestamp: None,
        error_uri: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HttpResponse;
    use cache_core::secret::SecretBytes;

    const NOW: i64 = 1_560_995_878;

    fn judged(status: u16, body: &str) -> Result<TokenResponse, Error> {
        let response = HttpResponse {
            status,
            headers: Vec::new(),
            body: SecretBytes::new(body.as_bytes().to_vec()),
        };
        let asked = ReplyFor {
            identity: &ManagedIdentityId::SystemAssigned,
            resource: &Resource::parse("r").unwrap(),
            sent_at: UnixSeconds(NOW).to_millis(),
            now: UnixSeconds(NOW + 5).to_millis(),
        };
        token_response(&asked, &response.into())
    }

    #[test]
    fn a_life_is_told_in_every_form_and_the_shorter_one_counts() {
        for (members, lifetime, refresh) in [
            (r#""expires_in":3599"#, 3599, None),
            (r#""expires_in":"3599""#, 3599, None),
            (r#""expires_on":1560999478"#, 3600, None),
            (r#""expires_on":"1560999478""#, 3600, None),
            (r#""expires_on":"06/20/2019 02:57:58 +00:00""#, 3600, None),
            (
                r#""expires_on":"2019-06-20T02:57:58Z","expires_in":"x""#,
                3600,
                None,
            ),
            (r#""expires_on":"1560999478","expires_in":"86400""#, 3600, None),
            (r#""expires_on":"soon","expires_in":"7200""#, 7200, None),
            (r#""expires_in":7201"#, 7201, Some(3600)),
            (r#""expires_in":"86400""#, 86_400, Some(43_200)),
            (r#""expires_in":86400,"refresh_in":"1000""#, 86_400, Some(1000)),
        ] {
            let token = judged(200, &format!(r#"{{"access_token":"t",{members}}}"#)).unwrap();
            assert_eq!(token.expires_on.0 - NOW, lifetime, "{members}");
            assert_eq!(
                token.refresh_on.map(|moment| moment.0 - NOW),
                refresh,
                "{members}"
            );
        }
    }

    #[test]
    fn refusals_come_in_three_forms() {
        for (body, code, description, correlation_id) in [
            (
                r#"{"error":"invalid_resource","error_description":"no\u001b such"}"#,
                "invalid_resource",
                Some("no  such"),
                None,
            ),
            (
                r#"{"statusCode":400,"message":"no identity","correlationId":"c"}"#,
                "http_400",
                Some("no identity"),
                Some("c"),
            ),
            (
                r#"{"error":{"correlationId":"c","code":"ManagedIdentityNotFound","message":"none"}}"#,
                "ManagedIdentityNotFound",
                Some("none"),
                Some("c"),
            ),
            ("", "http_400", None, None),
            ("<html>", "http_400", None, None),
        ] {
            let Err(Error::Authority(error)) = judged(400, body) else {
                panic!("{body}")
            };
            assert_eq!(error.code(), code);
            assert_eq!(error.refusal().description.as_deref(), description);
            assert_eq!(error.refusal().correlation_id.as_deref(), correlation_id);
        }
    }

    #[test]
    fn what_is_no_token_is_an_error() {
        let reply = |status, body| match judged(status, body) {
            Err(Error::Reply(error)) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(reply(200, "<html>"), ReplyError::Unreadable(200));
        assert_eq!(
            reply(200, r#"{"access_token":"t"}"#),
            ReplyError::Missing("expires_on")
        );
        assert_eq!(
            reply(200, r#"{"expires_in":1}"#),
            ReplyError::Missing("access_token")
        );
        assert_eq!(reply(307, ""), ReplyError::Redirected(307));
        let pop = reply(200, r#"{"access_token":"t","expires_in":1,"token_type":"pop"}"#);
        assert_eq!(pop, ReplyError::TokenType("pop".into()));
        assert!(matches!(
            reply(503, ""),
            ReplyError::Unavailable { status: 503, .. }
        ));
    }
}
