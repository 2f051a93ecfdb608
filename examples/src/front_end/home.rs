//! The start page.

use axum::extract::State;
use axum_extra::extract::PrivateCookieJar;
use maud::Markup;

use super::app::App;
use super::pages;
use super::problem::Problem;

pub(super) async fn home(State(app): State<App>, jar: PrivateCookieJar) -> Result<Markup, Problem> {
    Ok(match app.session(&jar).await? {
        Some((_, session)) => pages::home(&session),
        None => pages::welcome(),
    })
}
