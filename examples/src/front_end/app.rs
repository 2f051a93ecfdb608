//! What all requests share, and which of them go where.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, Request, State};
use axum::http::header::InvalidHeaderValue;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum_extra::extract::PrivateCookieJar;
use axum_extra::extract::cookie::Key;
use cache_core::schema::ScopeSet;
use cache_core::time::with_deadline;
use flows::Transport;
use flows::authority::Authority;
use flows::client::{ConfidentialClient, SessionId};
use flows::request::authorization_code::Prompt;

use super::headers::{self, SecurityHeaders};
use super::options::{Options, PublicUrl};
use super::problem::Problem;
use super::return_address::ReturnAddresses;
use super::sealed_records::{RecordError, SealedRecords};
use super::session::{Session, Sessions};
use super::{api_page, cookie_key, csrf, home, session_cookie, sign_in, sign_out};
use crate::open::Opened;
use crate::protected_api::ProtectedApi;

/// How long a request may take. What the issuer and the API may take has limits of its own, well below.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// How many bytes a form may have. The only one has a token of 43.
const MOST_BODY_BYTES: usize = 4 * 1024;

/// The application. Clones share everything.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    client: ConfidentialClient,
    client_id: String,
    authority: Authority,
    transport: Arc<Transport>,
    api: ProtectedApi,
    scopes: Vec<String>,
    prompt: Option<Prompt>,
    sessions: Sessions,
    cookie_key: Key,
    public_url: PublicUrl,
    origin: String,
    return_addresses: ReturnAddresses,
    security_headers: SecurityHeaders,
}

/// Why the application did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The sessions.
    #[error("the store of the web sessions cannot be used")]
    Sessions(#[from] RecordError),
    /// The headers.
    #[error("a security header cannot be sent")]
    Headers(#[from] InvalidHeaderValue),
}

impl App {
    /// The application of `options` on the cache that was `opened`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn new(options: &Options, opened: &Opened) -> Result<Self, StartError> {
        let records = SealedRecords::open(Arc::clone(&opened.store), Arc::clone(&opened.key_source)).await?;
        let cookie_key = cookie_key::load_or_create(&records).await?;
        Ok(Self(Arc::new(Inner {
            client: opened.client.clone(),
            client_id: options.cache.client_id.clone(),
            authority: options.cache.authority.0.clone(),
            transport: Arc::clone(&opened.transport),
            api: opened.api.clone(),
            scopes: options.cache.scopes.clone(),
            prompt: options.prompt.map(Prompt::from),
            sessions: Sessions::new(records, options.session_limits()),
            cookie_key,
            origin: options.public_url.origin(),
            security_headers: SecurityHeaders::new(options.public_url.is_loopback())?,
            public_url: options.public_url.clone(),
            return_addresses: ReturnAddresses::new(options.return_to.clone()),
        })))
    }

    /// Its pages. Everything that changes something is a POST, and comes through `csrf`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(home::home))
            .route("/call-api", get(api_page::call_api))
            .route("/sign-in", get(sign_in::begin))
            .route(sign_in::CALLBACK, get(sign_in::end))
            .route("/sign-out", post(sign_out::sign_out))
            .route("/signed-out", get(sign_out::signed_out))
            .fallback(async || Problem::NotFound)
            .layer(middleware::from_fn_with_state(self.clone(), csrf::same_origin))
            .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
            .layer(middleware::from_fn_with_state(self.clone(), limit_time))
            // Outermost, so that no answer goes without.
            .layer(middleware::from_fn_with_state(self.clone(), headers::add))
            .with_state(self.clone())
    }

    /// The session that the browser names, if it lasts.
    pub(super) async fn session(
        &self,
        jar: &PrivateCookieJar,
    ) -> Result<Option<(SessionId, Session)>, Problem> {
        let Some(id) = self.session_id(jar) else {
            return Ok(None);
        };
        let session = self.sessions().find(&id).await?;
        Ok(session.map(|session| (id, session)))
    }

    /// The session that the browser names, whatever became of it.
    pub(super) fn session_id(&self, jar: &PrivateCookieJar) -> Option<SessionId> {
        let sessions = self.sessions();
        session_cookie::read(jar, sessions.now(), sessions.limits().absolute)
    }

    pub(super) fn client(&self) -> &ConfidentialClient {
        &self.0.client
    }

    pub(super) fn client_id(&self) -> &str {
        &self.0.client_id
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.0.authority
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.0.transport
    }

    pub(super) fn api(&self) -> &ProtectedApi {
        &self.0.api
    }

    pub(super) fn scopes(&self) -> &[String] {
        &self.0.scopes
    }

    pub(super) fn scope_set(&self) -> ScopeSet {
        ScopeSet::of(&self.0.scopes)
    }

    pub(super) fn prompt(&self) -> Option<Prompt> {
        self.0.prompt
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    pub(super) fn public_url(&self) -> &PublicUrl {
        &self.0.public_url
    }

    pub(super) fn origin(&self) -> &str {
        &self.0.origin
    }

    pub(super) fn return_addresses(&self) -> &ReturnAddresses {
        &self.0.return_addresses
    }

    pub(super) fn security_headers(&self) -> &SecurityHeaders {
        &self.0.security_headers
    }
}

impl FromRef<App> for Key {
    fn from_ref(app: &App) -> Self {
        app.0.cookie_key.clone()
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("client", &self.0.client)
            .field("origin", &self.0.origin)
            .finish_non_exhaustive()
    }
}

async fn limit_time(State(app): State<App>, request: Request, next: Next) -> Response {
    let clock = app.transport().clock();
    match with_deadline(&**clock, REQUEST_LIMIT, next.run(request)).await {
        Some(response) => response,
        None => Problem::TooSlow.into_response(),
    }
}
