//! What the user is told when something goes wrong, and what the log is.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use flows::Error;

use super::pages;
use super::sealed_records::RecordError;
use crate::logging::chain;

/// A request that is answered with a page of its own. Only [`Problem::Refused`] shows a text from elsewhere, which the page escapes.
#[derive(Debug)]
pub(super) enum Problem {
    /// The return address is not listed.
    ReturnAddress,
    /// The answer of the issuer is for no sign-in that this browser began, or one that ended.
    NotBegun,
    /// The issuer did not sign the user in.
    Refused(String),
    /// The issuer's ID token does not say who signed in.
    Nameless,
    /// Another site made the browser do it, or the page is from before the last sign-in.
    CrossSite,
    /// The API refused, and nothing that is done here changes that.
    Api(Option<u16>),
    /// The issuer did not answer, or not so that it can be believed.
    Issuer,
    /// The store failed.
    Unavailable,
    /// The request took too long.
    TooSlow,
    /// There is no such page.
    NotFound,
}

impl Problem {
    /// For an error of the end of a sign-in, which may be somebody's answer.
    pub(super) fn of_answer(error: Error) -> Self {
        match error {
            Error::AuthorizationResponse(error) => {
                // A mix-up attack looks like this, and so does a mangled address.
                tracing::warn!(%error, "an answer to a sign-in was refused");
                Self::NotBegun
            }
            // Such as `access_denied`: somebody pressed "no".
            Error::InteractionRequired(required) => Self::Refused(required.to_string()),
            Error::Authority(refusal) => {
                tracing::warn!(code = refusal.code(), "the issuer refused a sign-in");
                Self::Refused(refusal.to_string())
            }
            error => Self::of(error),
        }
    }

    /// For an error that is nothing to the user.
    pub(super) fn of(error: Error) -> Self {
        tracing::error!(error = chain(&error), "the cache or the issuer failed");
        match error {
            Error::Cache(_) => Self::Unavailable,
            _ => Self::Issuer,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::ReturnAddress | Self::NotBegun | Self::Refused(_) => StatusCode::BAD_REQUEST,
            Self::CrossSite => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Api(_) | Self::Issuer | Self::Nameless => StatusCode::BAD_GATEWAY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooSlow => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::ReturnAddress => "That is no page of this application.".to_owned(),
            Self::NotBegun => {
                "This sign-in was not begun in this browser, took too long, or is over already.".to_owned()
            }
            Self::Refused(reason) => format!("You were not signed in: {reason}."),
            Self::Nameless => "The issuer did not say who you are.".to_owned(),
            Self::CrossSite => {
                "This request did not come from a page of this application, or the page is out of date."
                    .to_owned()
            }
            Self::Api(Some(status)) => format!("The API refused the request (status {status})."),
            Self::Api(None) => "The API cannot be reached now.".to_owned(),
            Self::Issuer => "The issuer gave no usable answer. Try again later.".to_owned(),
            Self::Unavailable => "This does not work now. Try again later.".to_owned(),
            Self::TooSlow => "This took too long. Try again later.".to_owned(),
            Self::NotFound => "There is no such page.".to_owned(),
        }
    }
}

impl From<RecordError> for Problem {
    fn from(error: RecordError) -> Self {
        tracing::error!(error = chain(&error), "a web session cannot be read or written");
        Self::Unavailable
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status(), pages::problem(&self.text())).into_response()
    }
}
