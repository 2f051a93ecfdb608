//! A protected API, which asks the issuer whether a token is good (RFC 7662).

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cache_testkit::oidc_provider::{SERVICE_CLIENT_SECRET, WEB_CLIENT_ID};
use serde_json::{Value, json};

/// What the API demands beside a good token.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Demand {
    #[default]
    Nothing,
    /// One that it has not seen yet, by a claims challenge.
    NewClaims,
    /// One that it has not seen yet, without a word.
    NewToken,
    /// What it never gets, by a claims challenge.
    ImpossibleClaims,
    /// What it never gets, without a word.
    Impossible,
}

#[derive(Default)]
struct Inner {
    demand: Demand,
    seen: HashSet<String>,
    refused: usize,
    answered: usize,
}

#[derive(Clone)]
pub(crate) struct Api {
    issuer: String,
    http: reqwest::Client,
    inner: Arc<Mutex<Inner>>,
    pub(crate) url: String,
}

impl Api {
    pub(crate) async fn start(issuer: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self {
            issuer: issuer.to_owned(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            inner: Arc::default(),
            url: format!("http://{}/me", listener.local_addr().unwrap()),
        };
        let router = Router::new().route("/me", get(me)).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        api
    }

    /// From now on, what was seen so far is not enough.
    pub(crate) fn demand(&self, demand: Demand) {
        self.inner.lock().unwrap().demand = demand;
    }

    /// How many requests were refused with 401.
    pub(crate) fn refused(&self) -> usize {
        self.inner.lock().unwrap().refused
    }

    /// How many requests were answered.
    pub(crate) fn answered(&self) -> usize {
        self.inner.lock().unwrap().answered
    }

    async fn subject(&self, token: &str) -> Option<String> {
        let answer = self
            .http
            .post(format!("{}/token/introspection", self.issuer))
            .basic_auth(WEB_CLIENT_ID, Some(SERVICE_CLIENT_SECRET))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("token={token}"))
            .send()
            .await
            .unwrap();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        (answer["active"] == true && answer["scope"].as_str()?.contains("api:read"))
            .then(|| answer["sub"].as_str().map(str::to_owned))?
    }
}

async fn me(State(api): State<Api>, headers: HeaderMap) -> Response {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default()
        .to_owned();
    let subject = api.subject(&token).await;
    let mut inner = api.inner.lock().unwrap();
    let is_new = inner.seen.insert(token);
    let demand = inner.demand.clone();
    let claims = STANDARD.encode(json!({ "access_token": { "acrs": { "essential": true } } }).to_string());
    let challenge = match (&subject, demand) {
        (None, _) | (_, Demand::Impossible) => r#"Bearer error="invalid_token""#.to_owned(),
        (_, Demand::NewToken) if !is_new => r#"Bearer error="invalid_token""#.to_owned(),
        (_, Demand::NewClaims) if !is_new => {
            format!(r#"Bearer error="insufficient_claims", claims="{claims}""#)
        }
        (_, Demand::ImpossibleClaims) => format!(r#"Bearer error="insufficient_claims", claims="{claims}""#),
        (Some(subject), _) => {
            inner.answered += 1;
            return format!("<b>hello</b> {subject}").into_response();
        }
    };
    inner.refused += 1;
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
}
