use cache_core::cache::{AuthorityRefusal, RefusedBecause};
use cache_core::secret::SecretBytes;
use serde_json::{Value, json};

use super::*;
use crate::error::AuthorityError;
use crate::http::{HttpError, HttpErrorKind};

const NOW: UnixMillis = UnixMillis(1_000_000);

fn accept(document: &Value) -> Result<DeviceAuthorization, ReplyError> {
    let fields = Fields::parse(&SecretBytes::new(document.to_string().into_bytes())).unwrap();
    request(ScopeSet::parse("a")).accept(fields, NOW)
}

fn good() -> Value {
    json!({
        "device_code": "canary-device", "user_code": "ABCD-EFGH",
        "verification_uri": "https://id.example/device",
        "verification_uri_complete": "https://id.example/device?user_code=canary-user",
        "expires_in": "900", "interval": 5,
    })
}

fn refused(code: &str, about: RefusedBecause) -> Result<TokenResponse, Error> {
    Err(AuthorityError::from(AuthorityRefusal {
        error: code.into(),
        suberror: None,
        claims: None,
        description: None,
        correlation_id: None,
        about,
    })
    .into())
}

fn waited(poll: Result<Poll, Error>) -> u64 {
    match poll {
        Ok(Poll::Wait(wait)) => wait.as_secs(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_reply_is_read_leniently_but_needs_its_parts() {
    let authorization = accept(&good()).unwrap();
    assert_eq!(authorization.expires_at(), UnixMillis(1_900_000));
    assert_eq!(
        authorization.message(),
        "To sign in, open https://id.example/device in a browser and enter the code ABCD-EFGH."
    );
    assert!(!format!("{authorization:?}").contains("canary"));
    for name in ["device_code", "user_code", "verification_uri", "expires_in"] {
        let mut document = good();
        document.as_object_mut().unwrap().remove(name);
        assert_eq!(accept(&document).unwrap_err(), ReplyError::Missing(name));
    }
    let mut old = good();
    let uri = old.as_object_mut().unwrap().remove("verification_uri").unwrap();
    old["verification_url"] = uri;
    assert!(accept(&old).is_ok());
    for uri in [
        "javascript:alert(1)",
        "http://evil.example/",
        "file:///x",
        "https://a@b.example/",
    ] {
        let mut document = good();
        document["verification_uri"] = json!(uri);
        assert_eq!(
            accept(&document).unwrap_err(),
            ReplyError::Missing("verification_uri"),
            "{uri}"
        );
    }
}

#[test]
fn a_missing_or_silly_interval_is_mended() {
    for (interval, seconds) in [
        (json!(null), 5),
        (json!(0), 1),
        (json!(-1), 1),
        (json!("7"), 7),
        (json!(1e9), 300),
    ] {
        let mut document = good();
        document["interval"] = interval;
        assert_eq!(
            accept(&document).unwrap().polling().first(NOW).unwrap().as_secs(),
            seconds
        );
    }
}

#[test]
fn polling_follows_the_rfc() {
    let pending = || refused("authorization_pending", RefusedBecause::Caller);
    let mut polling = accept(&good()).unwrap().polling();
    assert_eq!(polling.first(NOW).unwrap().as_secs(), 5);
    assert_eq!(waited(polling.judge(pending(), NOW)), 5);
    assert_eq!(
        waited(polling.judge(refused("slow_down", RefusedBecause::Throttled(None)), NOW)),
        10
    );
    assert_eq!(waited(polling.judge(pending(), NOW)), 10, "slow_down lasts");
    let url = Url::parse("https://id.example").unwrap();
    let lost = Err(HttpError::new(HttpErrorKind::OutcomeUnknown, &url, "lost").into());
    assert_eq!(waited(polling.judge(lost, NOW)), 20);
    let failing = Err(ReplyError::Unavailable {
        status: 503,
        retry_after: Some(Duration::from_secs(60)),
    }
    .into());
    assert_eq!(waited(polling.judge(failing, NOW)), 60);
    let throttled = RefusedBecause::Throttled(Some(Duration::from_secs(200)));
    assert_eq!(waited(polling.judge(refused("http_429", throttled), NOW)), 200);
    let throttled = RefusedBecause::Throttled(Some(Duration::from_secs(600)));
    assert_eq!(waited(polling.judge(refused("http_429", throttled), NOW)), 600);
    let lost = Err(HttpError::new(HttpErrorKind::NotSent, &url, "lost").into());
    assert_eq!(
        waited(polling.judge(lost, NOW)),
        600,
        "backing off never asks sooner"
    );
}

#[test]
fn polling_ends_with_a_typed_error() {
    let judge = |code: &str, about| {
        accept(&good())
            .unwrap()
            .polling()
            .judge(refused(code, about), NOW)
    };
    for (code, expected) in [
        ("expired_token", DeviceCodeError::Expired),
        ("code_expired", DeviceCodeError::Expired),
        ("access_denied", DeviceCodeError::Declined),
        ("authorization_declined", DeviceCodeError::Declined),
    ] {
        let ended = judge(code, RefusedBecause::Caller);
        assert!(
            matches!(ended, Err(Error::DeviceCode(error)) if error.to_string() == expected.to_string()),
            "{code}"
        );
    }
    assert!(matches!(
        judge("invalid_client", RefusedBecause::Caller),
        Err(Error::Authority(_))
    ));
    assert!(matches!(
        judge("invalid_grant", RefusedBecause::Token),
        Err(Error::InteractionRequired(_))
    ));
    let mut polling = accept(&good()).unwrap().polling();
    let late = polling.judge(
        refused("authorization_pending", RefusedBecause::Caller),
        UnixMillis(1_899_000),
    );
    assert!(matches!(late, Err(Error::DeviceCode(DeviceCodeError::Expired))));
}

#[test]
fn an_authority_that_did_not_answer_to_the_end_is_named_as_the_cause() {
    let url = Url::parse("https://id.example").unwrap();
    let mut polling = accept(&good()).unwrap().polling();
    let lost = Err(HttpError::new(HttpErrorKind::NotSent, &url, "no such host").into());
    let Err(Error::DeviceCode(error)) = polling.judge(lost, UnixMillis(1_899_000)) else {
        panic!("the code expires before another poll");
    };
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("no such host"), "{cause}");
    let limit = |now| polling.limit(Duration::from_secs(30), UnixMillis(now)).as_secs();
    assert_eq!(limit(1_000_000), 30);
    assert_eq!(limit(1_896_000), 4, "no longer than the code is good for");
}
