//! What a token endpoint answers.

use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::random::OsRandom;
use cache_core::schema::{Account, ScopeSet};
use cache_core::secret::Secret;
use flows::authority::{Authority, Metadata};
use flows::request::{ClientIdentity, TokenRequest, client_credentials, refresh_token};
use flows::{CorrelationId, TokenEndpoint};
use serde_json::json;

use crate::canned::{Canned, reply};
use crate::scene::{LIMIT, block_on};
use crate::shown::{check_error, check_text};
use crate::{Outcome, Target};

/// The target.
pub const TARGET: Target = Target {
    name: "token_reply",
    title: "replies of a token endpoint, to grants of a user and of an application",
    run,
    seeds,
    max_len: 8192,
};

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const USER: &str = "00000000-0000-0000-0000-00000000000a";

pub(crate) const CLIENT_SECRET: &str = "client-secret";
const REFRESH_TOKEN: &str = "refresh-token";

/// Who is asked, and where.
pub(crate) struct Issuer {
    pub(crate) authority: Authority,
    pub(crate) metadata: Arc<Metadata>,
    pub(crate) client: ClientIdentity,
    /// Who is signed in there.
    home_account_id: String,
}

pub(crate) static ISSUERS: LazyLock<Vec<Issuer>> = LazyLock::new(|| {
    let entra = format!("https://login.microsoftonline.com/{TENANT}");
    let plain = crate::discovery::seed_of_the_plain_issuer();
    [
        (entra.as_str(), format!("{USER}.{TENANT}")),
        ("https://id.example/a", "alice".to_owned()),
    ]
    .map(|(url, home_account_id)| {
        let authority = Authority::detect(url).expect("an authority");
        let metadata = Metadata::by_convention(&authority)
            .map(Arc::new)
            .unwrap_or_else(|| {
                let transport = Canned::read(&plain).transport();
                block_on(transport.discovery().metadata(&authority, LIMIT)).expect("honest metadata")
            });
        let client = ClientIdentity::with_secret("client", Secret::new(CLIENT_SECRET));
        Issuer {
            authority,
            metadata,
            client: client.expect("a client"),
            home_account_id,
        }
    })
    .into()
});

/// Has a token endpoint answer with the bytes: first which endpoint and grant, then the reply.
///
/// # Panics
/// When tokens are taken that are for another user, or for nobody where a user was named.
pub fn run(data: &[u8]) -> Outcome {
    let Some((&which, data)) = data.split_first() else {
        return Outcome::Refused;
    };
    let issuer = &ISSUERS[usize::from(which & 1)];
    let grant = which >> 1 & 3;
    let canned = Canned::read(data);
    let Issuer {
        authority,
        metadata,
        client,
        home_account_id,
    } = issuer;
    let endpoint = TokenEndpoint::new(
        canned.transport(),
        authority.clone(),
        metadata.clone(),
        client.clone(),
    );
    let id = CorrelationId::random(&OsRandom).expect("the system has randomness");
    let sent = block_on(endpoint.send(request(issuer, grant), id, LIMIT));
    for url in canned.asked() {
        assert_eq!(
            url.host_str(),
            Some(authority.environment()),
            "a secret went astray"
        );
    }
    let response = match sent {
        Ok(response) => response,
        Err(error) => {
            // The application's own request has no refresh token; the word may be the server's.
            let told = if grant == 0 {
                &[CLIENT_SECRET][..]
            } else {
                &[CLIENT_SECRET, REFRESH_TOKEN]
            };
            check_error(&error, told);
            return Outcome::Refused;
        }
    };
    assert_eq!(response.client_id, "client");
    assert_eq!(response.environment, authority.environment());
    if let Some(account) = &response.account {
        check_text(&account.username);
        check_text(account.name.as_deref().unwrap_or_default());
    }
    match grant {
        0 => {
            assert!(response.access_token.is_some());
            assert!(
                response.account.is_none() && response.refresh_token.is_none() && response.id_token.is_none()
            );
        }
        1 => assert!(response.account.is_some(), "tokens of nobody"),
        _ => {
            let account: Account = response.account.expect("tokens of nobody");
            assert_eq!(
                account.home_account_id, *home_account_id,
                "tokens of somebody else"
            );
        }
    }
    Outcome::Taken
}

fn request(issuer: &Issuer, grant: u8) -> TokenRequest {
    let scopes = ScopeSet::parse("User.Read offline_access");
    let token = Secret::new(REFRESH_TOKEN);
    match grant {
        0 => client_credentials::request(&issuer.authority, &issuer.client, scopes)
            .expect("a confidential client"),
        1 => refresh_token::import(&issuer.authority, &token, scopes, None),
        _ => refresh_token::import(&issuer.authority, &token, scopes, Some(&issuer.home_account_id)),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let now = cache_testkit::clock::ManualClock::START.to_seconds().0;
    let encoded = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let id_token = |issuer: &str, subject: &str| {
        let header = encoded(json!({ "alg": "RS256", "typ": "JWT", "kid": "1" }));
        let claims = encoded(json!({
            "iss": issuer, "sub": subject, "aud": "client", "exp": now + 3600, "iat": now, "nbf": now,
            "tid": TENANT, "oid": USER, "preferred_username": "alice@contoso.test", "name": "Al\u{1b}[2Jice", "ver": "2.0",
        }));
        format!("{header}.{claims}.c2lnbmF0dXJl")
    };
    let granted = |id_token: String| {
        json!({
            "token_type": "Bearer", "access_token": "at", "refresh_token": "rt", "id_token": id_token,
            "expires_in": "3600", "ext_expires_in": 7200, "refresh_in": 1800, "foci": "1", "scope": "User.Read",
            "client_info": encoded(json!({ "uid": USER, "utid": TENANT })),
        })
        .to_string()
    };
    let entra = granted(id_token(
        &format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        "alice",
    ));
    let plain = granted(id_token("https://id.example/a", "alice"));
    let refused = json!({
        "error": "interaction_required", "suberror": "basic_action", "error_codes": [50076], "claims": "{\"access_token\":{}}",
        "error_description": "AADSTS50076: \u{1b}[31mno", "correlation_id": "x", "trace_id": "y", "timestamp": "now",
    });
    let mut seeds = Vec::new();
    for which in 0..8 {
        let reply_of =
            |body: &str| [&[which], &reply(0, "content-type: application/json", body)[..]].concat();
        seeds.push(reply_of(if which & 1 == 0 { &entra } else { &plain }));
    }
    seeds.push([&[2], &reply(4, "client-request-id: 1", &refused.to_string())[..]].concat());
    seeds.push([&[4], &reply(4, "", "")[..]].concat());
    // Servers that repeat what they refuse.
    let words = format!("Invalid refresh token: {REFRESH_TOKEN} of {CLIENT_SECRET}");
    let repeating = json!({
        "error": "invalid_grant", "error_description": words, "suberror": words, "correlation_id": words, "trace_id": words,
        "timestamp": words, "error_uri": words, "claims": words,
    });
    let header = format!("client-request-id: {words}");
    for which in [2, 3] {
        seeds.push([&[which], &reply(4, "", &repeating.to_string())[..]].concat());
        seeds.push([&[which], &reply(4, &header, "")[..]].concat());
        let unknown = json!({ "access_token": "at", "token_type": words }).to_string();
        seeds.push([&[which], &reply(0, "", &unknown)[..]].concat());
    }
    seeds.push(
        [
            &[0],
            &reply(8, "retry-after: Wed, 21 Oct 2026 07:28:00 GMT", "<html>")[..],
        ]
        .concat(),
    );
    seeds
}
