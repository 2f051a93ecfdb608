//! The pages. The templates escape whatever is put into them.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use url::Url;

use super::session::Session;

/// The one style sheet. Its hash is in the content security policy.
pub(super) const STYLE: &str = "body{font-family:sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}\
pre{background:#eee;padding:1rem;overflow:auto}";

/// The start page of somebody who is not signed in.
pub(super) fn welcome() -> Markup {
    page(
        "Welcome",
        html! {
            p { "You are not signed in." }
            p { a #sign-in href="/sign-in" { "Sign in" } }
        },
    )
}

/// The start page of somebody who is.
pub(super) fn home(session: &Session) -> Markup {
    let user = &session.user;
    page(
        "Welcome",
        html! {
            p { "Signed in as " strong #user { (user.display_name()) } "." }
            p { "That is the subject " code { (user.subject) } " of " code { (user.issuer) } "." }
            p { a #call-api href="/call-api" { "Call the API" } }
            (sign_out_form(session))
        },
    )
}

/// What the API answered.
pub(super) fn api_answer(session: &Session, body: &str, source: &str) -> Markup {
    page(
        "The API answered",
        html! {
            p { "With a token from the " span #source { (source) } ":" }
            pre #answer { (body) }
            p { a href="/" { "Back" } }
            (sign_out_form(session))
        },
    )
}

/// The user signed in because the API demanded it, and it demands the same again. Another round trip by itself would go on for
/// ever.
pub(super) fn not_enough() -> Markup {
    page(
        "The API wants more",
        html! {
            p { "You have just signed in for it, and the API does not accept that." }
            p { a href="/sign-in?return_to=/call-api" { "Sign in once more" } " or " a href="/" { "go back" } "." }
        },
    )
}

/// The user wanted to sign out of a session that had ended by itself.
pub(super) fn was_over() -> Markup {
    page(
        "Your session had ended",
        html! {
            p { "You are not signed in in this browser, but nothing else was ended: what acts for you while you are away still does. "
                "To end that too, sign in again and sign out then." }
            p { a #sign-in href="/sign-in" { "Sign in" } " or " a href="/" { "go back" } "." }
        },
    )
}

/// The user is signed out here.
pub(super) fn signed_out(at_issuer: Option<&Url>) -> Markup {
    page(
        "Signed out",
        html! {
            p { "You are signed out of this application, in all browsers." }
            @if let Some(url) = at_issuer {
                p { "Your browser may still be signed in at the issuer. "
                    a #issuer-sign-out href=(url) { "Sign out there too" } "." }
            }
            p { a href="/" { "Back" } }
        },
    )
}

/// Something went wrong.
pub(super) fn problem(text: &str) -> Markup {
    page(
        "That did not work",
        html! {
            p #problem { (text) }
            p { a href="/" { "Back to the start" } }
        },
    )
}

fn sign_out_form(session: &Session) -> Markup {
    html! {
        form method="post" action="/sign-out" {
            input type="hidden" name="csrf_token" value=(session.csrf_token().expose());
            button #sign-out { "Sign out" }
        }
    }
}

fn page(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                (body)
            }
        }
    }
}
