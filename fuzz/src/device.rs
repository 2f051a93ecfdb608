//! What an authority answers a device that asks for a code.

use cache_core::random::OsRandom;
use cache_core::schema::ScopeSet;
use cache_testkit::clock::ManualClock;
use flows::request::device_code;
use flows::{CorrelationId, TokenEndpoint};
use serde_json::json;

use crate::canned::{Canned, reply};
use crate::scene::{LIMIT, block_on};
use crate::shown::{check_error, check_text};
use crate::token_reply::{CLIENT_SECRET, ISSUERS};
use crate::{Outcome, Target};

/// The target.
pub const TARGET: Target = Target {
    name: "device",
    title: "replies of a device authorization endpoint",
    run,
    seeds,
    max_len: 4096,
};

/// Has a device authorization endpoint answer with the bytes: first which authority, then the reply.
///
/// # Panics
/// When what is shown to people would steer a terminal, or the code goes elsewhere.
pub fn run(data: &[u8]) -> Outcome {
    let Some((&which, data)) = data.split_first() else {
        return Outcome::Refused;
    };
    let issuer = &ISSUERS[usize::from(which & 1)];
    let canned = Canned::read(data);
    let endpoint = TokenEndpoint::new(
        canned.transport(),
        issuer.authority.clone(),
        issuer.metadata.clone(),
        issuer.client.clone(),
    );
    let id = CorrelationId::random(&OsRandom).expect("the system has randomness");
    let request = device_code::request(ScopeSet::parse("User.Read"));
    let authorized = block_on(endpoint.authorize_device(request, id, LIMIT));
    for url in canned.asked() {
        assert_eq!(url.host_str(), Some(issuer.authority.environment()));
    }
    let authorization = match authorized {
        Ok(authorization) => authorization,
        Err(error) => {
            check_error(&error, &[CLIENT_SECRET]);
            return Outcome::Refused;
        }
    };
    let message = authorization.message();
    for shown in [
        authorization.user_code(),
        authorization.verification_uri(),
        &message,
    ] {
        assert!(!shown.is_empty());
        check_text(shown);
    }
    // What comes of it ends in time, whatever times the authority names.
    let now = ManualClock::START;
    if let Ok(wait) = authorization.polling().first(now) {
        assert!(now.saturating_add(wait) <= authorization.expires_at());
    }
    Outcome::Taken
}

fn seeds() -> Vec<Vec<u8>> {
    let honest = json!({
        "device_code": "dc", "user_code": "ABCD-EFGH", "verification_uri": "https://id.example/device",
        "verification_url": "https://id.example/device", "verification_uri_complete": "https://id.example/device?c=ABCD-EFGH",
        "expires_in": 900, "interval": 5, "message": "Open https://id.example/device and enter ABCD-EFGH.",
    });
    let steering = json!({
        "device_code": "dc", "user_code": "A\u{1b}[2J", "verification_uri": "https://id.example/\u{202e}", "expires_in": "900",
        "interval": 1e300, "message": "\u{9b}31m",
    });
    let mut seeds = Vec::new();
    for which in 0..2 {
        for body in [&honest, &steering] {
            let reply = reply(0, "content-type: application/json", &body.to_string());
            seeds.push([&[which], &reply[..]].concat());
        }
    }
    seeds.push([&[1], &reply(4, "", r#"{"error":"invalid_scope"}"#)[..]].concat());
    seeds.push([&[0], &reply(8, "retry-after: 5", "")[..]].concat());
    seeds
}
