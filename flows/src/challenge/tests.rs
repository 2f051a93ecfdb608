use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn parse(header: &str) -> Vec<Challenge> {
    Challenge::parse([header]).unwrap()
}

fn schemes(header: &str) -> Vec<String> {
    parse(header)
        .into_iter()
        .map(|challenge| challenge.scheme)
        .collect()
}

#[test]
fn schemes_share_a_header_and_have_several() {
    let header = r#"Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple""#;
    let found = parse(header);
    assert_eq!(found[0].parameter("title"), Some(r#"Login to "apps""#));
    assert_eq!(found[0].parameter("type"), Some("1"));
    assert_eq!(
        (found[1].scheme.as_str(), found[1].parameter("realm")),
        ("Basic", Some("simple"))
    );
    assert_eq!(
        schemes("Negotiate, NTLM, Bearer"),
        ["Negotiate", "NTLM", "Bearer"]
    );
    let found = parse("Negotiate YIIx+/a==, Bearer error=invalid_token");
    assert_eq!(found[0].token68.as_deref(), Some("YIIx+/a=="));
    assert_eq!(found[1].parameter("error"), Some("invalid_token"));
    let several = Challenge::parse(["Basic realm=\"a\"", "Bearer realm=\"b\""]).unwrap();
    assert_eq!(several.len(), 2);
}

#[test]
fn commas_and_equals_signs_inside_quotes_belong_to_the_value() {
    let found = parse(r#"Bearer realm="a, b=c, Basic x", scope="r w" , ,error="x""#);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].parameter("realm"), Some("a, b=c, Basic x"));
    assert_eq!(found[0].parameter("error"), Some("x"));
}

#[test]
fn sloppy_senders_are_understood() {
    let found = parse(r#"bearer  Realm = "r" Error="e",authorization_uri=https://login.example/common?x=1"#);
    assert_eq!(found[0].parameter("realm"), Some("r"));
    assert_eq!(found[0].parameter("error"), Some("e"));
    assert_eq!(
        found[0].parameter("authorization_uri"),
        Some("https://login.example/common?x=1")
    );
    assert_eq!(parse(""), []);
    assert_eq!(parse(" , ,"), []);
}

#[test]
fn what_no_grammar_covers_is_an_error() {
    for header in [
        "Bearer realm=\"open",
        "Bearer realm=\"a\\",
        "=x",
        "\"",
        "Bearer\u{e9}",
        "Bearer@",
    ] {
        assert_eq!(
            Challenge::parse([header]),
            Err(ChallengeError::Malformed),
            "{header}"
        );
    }
    let long = "a".repeat(Challenge::MOST_BYTES + 1);
    assert_eq!(Challenge::parse([long]), Err(ChallengeError::TooLong));
    let many = "A, ".repeat(Challenge::MOST_PARTS + 1);
    assert_eq!(Challenge::parse([many]), Err(ChallengeError::TooLong));
    let many = format!("A {}", "a=b, ".repeat(Challenge::MOST_PARTS + 1));
    assert_eq!(Challenge::parse([many]), Err(ChallengeError::TooLong));
}

#[test]
fn claims_come_in_every_spelling_of_base64() {
    let json = r#"{"access_token":{"nbf":{"essential":true,"value":"1604106651"},"x":"??>>"}}"#;
    for encoded in [
        STANDARD.encode(json),
        URL_SAFE.encode(json),
        URL_SAFE_NO_PAD.encode(json),
        json.replace('"', "\\\""),
    ] {
        let header = format!(r#"Bearer realm="", error="insufficient_claims", claims="{encoded}""#);
        let found = BearerChallenge::find(["Negotiate", &header]).unwrap().unwrap();
        assert_eq!(found.claims(), Some(json), "{encoded}");
        assert!(!format!("{found:?}").contains("1604106651"));
    }
}

#[test]
fn claims_are_believed_only_as_an_object_and_with_their_error() {
    let find = |header: &str| BearerChallenge::find([header]);
    let other = find(r#"Bearer error="invalid_token", claims="e30=""#)
        .unwrap()
        .unwrap();
    assert_eq!(
        (other.claims(), other.error.as_deref()),
        (None, Some("invalid_token"))
    );
    for claims in ["W10=", "!!!!", "//8="] {
        let header = format!(r#"Bearer error="insufficient_claims", claims="{claims}""#);
        assert_eq!(find(&header), Err(ChallengeError::Claims), "{claims}");
    }
    let header = format!(
        r#"Bearer error="insufficient_claims", claims="{}""#,
        "A".repeat(40_000)
    );
    assert_eq!(find(&header), Err(ChallengeError::TooLong));
    assert_eq!(find("Basic realm=\"x\""), Ok(None));
    let two = r#"Bearer error="invalid_token", Bearer error="insufficient_claims", claims="e30=""#;
    assert_eq!(find(two).unwrap().unwrap().claims(), Some("{}"));
}

#[test]
fn nonces_are_found_in_challenges_and_in_authentication_info() {
    let headers = [
        r#"Bearer realm="x", PoP nonce="n-1""#,
        r#"DPoP error="use_dpop_nonce", nonce="n-2""#,
    ];
    assert_eq!(nonce(headers, "pop").unwrap().as_deref(), Some("n-1"));
    assert_eq!(nonce(headers, "DPoP").unwrap().as_deref(), Some("n-2"));
    assert_eq!(nonce(["Bearer nonce=x"], "DPoP"), Ok(None));
    assert_eq!(
        next_nonce(r#"rspauth="x", nextnonce="n 3""#).unwrap().as_deref(),
        Some("n 3")
    );
    assert_eq!(next_nonce("qop=auth"), Ok(None));
    assert_eq!(next_nonce("nonsense"), Err(ChallengeError::Malformed));
}

#[test]
fn capabilities_are_added_to_what_the_caller_asks_for() {
    let capable = ClientCapabilities::new(["cp1", "cp1", ""]);
    let merged = |claims: &str| -> Value {
        serde_json::from_str(&capable.parameter(Some(claims)).unwrap().unwrap()).unwrap()
    };
    let alone: Value = serde_json::from_str(&capable.parameter(None).unwrap().unwrap()).unwrap();
    assert_eq!(alone, json!({"access_token": {"xms_cc": {"values": ["cp1"]}}}));
    assert_eq!(merged("{}"), alone);
    assert_eq!(merged(r#"{"access_token":null}"#), alone);
    assert_eq!(
        merged(
            r#"{"id_token":{"auth_time":null},"access_token":{"nbf":{"value":"1"},"xms_cc":{"essential":true,"values":["cp2"]}}}"#
        ),
        json!({
            "id_token": {"auth_time": null},
            "access_token": {"nbf": {"value": "1"}, "xms_cc": {"essential": true, "values": ["cp2", "cp1"]}},
        })
    );
    assert_eq!(
        merged(r#"{"access_token":{"xms_cc":{"value":"cp1"}}}"#),
        json!({"access_token": {"xms_cc": {"values": ["cp1"]}}})
    );
    let plain = ClientCapabilities::default();
    assert_eq!(plain.parameter(None).unwrap(), None);
    assert_eq!(plain.parameter(Some(" ")).unwrap(), None);
    assert_eq!(plain.parameter(Some("{ }")).unwrap().as_deref(), Some("{ }"));
    for broken in ["x", "[]", "7", r#"{"a":1"#] {
        assert!(plain.parameter(Some(broken)).is_err(), "{broken}");
        assert!(capable.parameter(Some(broken)).is_err(), "{broken}");
    }
    assert!(capable.parameter(Some(r#"{"access_token":7}"#)).is_err());
}

proptest! {
    #[test]
    fn nothing_makes_the_parser_panic(header in any::<String>(), second in "[ -~]{0,80}") {
        let _ = Challenge::parse([&header, &second]);
        let _ = BearerChallenge::find([&header, &second]);
        let _ = next_nonce(&second);
    }

    #[test]
    fn what_is_quoted_comes_back(
        scheme in "[A-Za-z]{1,8}",
        names in prop::collection::btree_set("[a-z_]{1,8}", 1..5),
        value in "[ -~]{0,40}",
    ) {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        let list: Vec<_> = names.iter().map(|name| format!("{name}=\"{quoted}\"")).collect();
        let header = format!("{scheme} {}, Other x=y", list.join(", "));
        let found = Challenge::parse([&header]).unwrap();
        prop_assert_eq!(found.len(), 2);
        prop_assert_eq!(&found[0].scheme, &scheme);
        for name in &names {
            prop_assert_eq!(found[0].parameter(name), Some(value.as_str()));
        }
    }
}
