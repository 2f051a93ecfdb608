//! Signing out.

use std::time::Duration;

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::PrivateCookieJar;
use cache_core::secret::Secret;
use flows::client::Revocation;
use maud::Markup;
use serde::Deserialize;
use url::Url;

use super::app::App;
use super::problem::Problem;
use super::{csrf, pages, session_cookie};
use crate::logging::chain;

/// How long the page may wait for the issuer's metadata, which are nearly always known.
const METADATA: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
pub(super) struct SignOutForm {
    /// A form without it is refused as one with a wrong one is.
    #[serde(default)]
    csrf_token: String,
}

/// Signs the user out: everywhere, as the tokens are those of the user and not of one browser.
pub(super) async fn sign_out(
    State(app): State<App>,
    jar: PrivateCookieJar,
    Form(form): Form<SignOutForm>,
) -> Result<(PrivateCookieJar, Response), Problem> {
    let token = Secret::new(form.csrf_token);
    let Some((id, session)) = app.session(&jar).await? else {
        // It ended by itself, and with it went the knowledge of whose it was: the tokens are still there, and workers go on. To say
        // that the user is signed out would be wrong.
        return Ok((session_cookie::clear(jar), pages::was_over().into_response()));
    };
    csrf::check_token(&session, &token)?;
    // The tokens first: should the store fail here, the session is still there to try again with. Workers and
    // other replicas are told by the cache, and drop what they hold.
    let signed_out = app
        .client()
        .remove_account_by_home_id(session.user.home_account_id())
        .await
        .map_err(Problem::of)?;
    if let Revocation::Failed(error) = signed_out.revocation {
        tracing::warn!(
            error = chain(&error),
            "the issuer did not revoke the refresh token"
        );
    }
    app.sessions().end_all(&session.user).await?;
    app.sessions().end(&id).await?;
    let done = Redirect::to("/signed-out").into_response();
    Ok((session_cookie::clear(jar), done))
}

/// Says that it is so, and offers to sign out at the issuer too.
pub(super) async fn signed_out(State(app): State<App>) -> Markup {
    pages::signed_out(issuer_sign_out(&app).await.as_ref())
}

/// Where the browser signs out at the issuer (OpenID Connect RP-Initiated Logout, section 2). The request names the client and
/// not the user: an ID token in an address would end up in histories and logs. So the issuer asks the user, who decides.
async fn issuer_sign_out(app: &App) -> Option<Url> {
    let metadata = app
        .transport()
        .discovery()
        .metadata(app.authority(), METADATA)
        .await;
    let mut url = metadata.ok()?.end_session_endpoint.clone()?;
    url.query_pairs_mut()
        .append_pair("client_id", app.client_id())
        .append_pair(
            "post_logout_redirect_uri",
            app.public_url().with_path("/").as_str(),
        );
    // It becomes a link, and a script is no address.
    matches!(url.scheme(), "https" | "http").then_some(url)
}
