//! Signing in (OpenID Connect, authorization code with PKCE).

use axum::extract::{Query, RawQuery, State};
use axum::response::Redirect;
use axum_extra::extract::PrivateCookieJar;
use flows::client::SessionId;
use flows::request::authorization_code::AuthorizationRequest;
use serde::Deserialize;

use super::app::App;
use super::pending_sign_in::{self, PendingSignIn};
use super::problem::Problem;
use super::return_address::ReturnAddress;
use super::session_cookie;
use super::user::User;

/// Where the issuer sends the browser back to: the redirect URI, which is registered there.
pub(super) const CALLBACK: &str = "/signed-in";

#[derive(Deserialize)]
pub(super) struct Asked {
    return_to: Option<String>,
}

/// What a sign-in is for.
pub(super) struct SignIn<'a> {
    pub(super) return_to: &'a ReturnAddress,
    /// Who probably signs in.
    pub(super) login_hint: Option<&'a str>,
    /// What the API demands, if it is what sends the user.
    pub(super) claims: Option<&'a str>,
    pub(super) is_for_api: bool,
}

/// Sends the browser to the issuer.
pub(super) async fn begin(
    State(app): State<App>,
    jar: PrivateCookieJar,
    Query(asked): Query<Asked>,
) -> Result<(PrivateCookieJar, Redirect), Problem> {
    let asked = asked.return_to.as_deref().unwrap_or("/");
    let return_to = app.return_addresses().find(asked).ok_or(Problem::ReturnAddress)?;
    let sign_in = SignIn {
        return_to,
        login_hint: None,
        claims: None,
        is_for_api: false,
    };
    begin_for(&app, jar, sign_in).await
}

/// As [`begin`], for a page that needs a sign-in of its own kind.
pub(super) async fn begin_for(
    app: &App,
    jar: PrivateCookieJar,
    sign_in: SignIn<'_>,
) -> Result<(PrivateCookieJar, Redirect), Problem> {
    let mut request = AuthorizationRequest::new(app.client_id(), redirect_uri(app), app.scope_set());
    if let Some(prompt) = app.prompt() {
        request = request.prompt(prompt);
    }
    if let Some(hint) = sign_in.login_hint.filter(|hint| !hint.is_empty()) {
        request = request.login_hint(hint);
    }
    if let Some(claims) = sign_in.claims {
        request = request.claims(claims);
    }
    let pending = app
        .client()
        .begin_authorization(request)
        .await
        .map_err(Problem::of)?;
    let address = Redirect::to(pending.url().as_str());
    let now = app.sessions().now();
    let parts = pending.into_parts();
    let jar = pending_sign_in::keep(jar, &parts, sign_in.return_to, sign_in.is_for_api, now);
    Ok((jar, address))
}

/// The browser is back from the issuer.
pub(super) async fn end(
    State(app): State<App>,
    jar: PrivateCookieJar,
    RawQuery(query): RawQuery,
) -> Result<(PrivateCookieJar, Redirect), (PrivateCookieJar, Problem)> {
    let query = query.unwrap_or_default();
    let now = app.sessions().now();
    let listed = app.return_addresses();
    let (jar, pending) = pending_sign_in::take(jar, &query, redirect_uri(&app), app.scope_set(), listed, now);
    let Some(pending) = pending else {
        return Err((jar, Problem::NotBegun));
    };
    match redeem(&app, &jar, &pending, &query).await {
        Ok(id) => {
            let jar = session_cookie::write(jar, &id, app.sessions().now());
            Ok((jar, Redirect::to(pending.return_to.as_str())))
        }
        // With the jar: what was begun is over, whatever came of it.
        Err(problem) => Err((jar, problem)),
    }
}

/// Redeems the code. The tokens go to the user's partition of the cache, where workers find them when the user is away.
async fn redeem(
    app: &App,
    jar: &PrivateCookieJar,
    pending: &PendingSignIn,
    query: &str,
) -> Result<SessionId, Problem> {
    // State in constant time, `iss`, the ID token with its nonce: all of that is checked in here.
    let result = app
        .client()
        .acquire_token_by_authorization_code(&pending.parts, query)
        .await
        .map_err(Problem::of_answer)?;
    let user = User::of(&result).ok_or(Problem::Nameless)?;
    // The session from before, whosever it was, does not outlive the sign-in.
    if let Some(old) = app.session_id(jar) {
        app.sessions().end(&old).await?;
    }
    Ok(app.sessions().begin(user, pending.is_for_api).await?)
}

fn redirect_uri(app: &App) -> String {
    app.public_url().with_path(CALLBACK).into()
}
