//! The page that calls the protected API.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::PrivateCookieJar;

use super::app::App;
use super::pages;
use super::problem::Problem;
use super::sign_in::{SignIn, begin_for};
use crate::api_call::{ApiCallError, Called, call_api as call};
use crate::logging::chain;

pub(super) const OWN_ADDRESS: &str = "/call-api";

/// An API that demands a sign-in again this soon after one for its sake will not be content with the next.
const JUST_NOW: Duration = Duration::from_secs(60);

/// Calls the API for the user, and sends the user through a sign-in where the API, or the issuer, demands that.
pub(super) async fn call_api(State(app): State<App>, jar: PrivateCookieJar) -> Result<Response, Problem> {
    let Some((_, session)) = app.session(&jar).await? else {
        return Ok(Redirect::to("/sign-in?return_to=/call-api").into_response());
    };
    let account = session.user.account(app.authority());
    let claims = match call(app.client(), &account, app.scopes(), app.api()).await {
        Ok(Called::Answered { body, token }) => {
            let source = token.metadata().source.to_string();
            return Ok(pages::api_answer(&session, &body, &source).into_response());
        }
        Ok(Called::Refused(status)) => return Err(Problem::Api(Some(status))),
        Ok(Called::NeedsUser { claims }) => claims,
        Err(ApiCallError::Token(error)) => return Err(Problem::of(*error)),
        Err(ApiCallError::Api(error)) => {
            tracing::error!(error = chain(&error), "the API gave no answer");
            return Err(Problem::Api(None));
        }
    };
    if session.is_for_api && session.age(app.sessions().now()) < JUST_NOW {
        return Ok(pages::not_enough().into_response());
    }
    let sign_in = SignIn {
        return_to: app
            .return_addresses()
            .find(OWN_ADDRESS)
            .ok_or(Problem::ReturnAddress)?,
        login_hint: Some(&session.user.username),
        claims: claims.as_deref(),
        is_for_api: true,
    };
    Ok(begin_for(&app, jar, sign_in).await?.into_response())
}
