//! What the browser shows in the end.
//!
//! The pages load nothing and are kept nowhere. Text of a server is escaped, and no page shows a code: their one script takes it out
//! of the address bar too.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use crate::Error;
use crate::error::AuthorityError;

const STYLE: &str = include_str!("page.css");

/// The answer came in the query, and would stay in the address bar for passers-by, screenshots and the tab's history. The code is spent
/// as a rule, but not where the sign-in failed before that.
const SCRIPT: &str = "history.replaceState(null,'',location.pathname)";

/// The hashes are those of [`STYLE`] and [`SCRIPT`]: no other style or script, and nothing else at all, is let in.
const OWN_POLICY: &str = "default-src 'none'; script-src 'sha256-UBodp8UhLR9ASBc1PNRKcs3r2CjAFWxCbrUGPN7u1jo='; style-src 'sha256-RfF3AcTrjMa7oXtY4C+mX1j0p3xTiWH6db7SErEK9eA='; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// For pages of the application, which may bring a style and pictures with them, and nothing that runs.
const CUSTOM_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const CHECK: &str = "<path d=\"M5 12.5l4.5 4.5L19 7.5\"/>";
const CROSS: &str = "<path d=\"M7 7l10 10M17 7L7 17\"/>";
const DOTS: &str = "<path d=\"M5 12h.01M12 12h.01M19 12h.01\"/>";

/// A page, and how it is sent.
#[derive(Debug)]
pub(crate) struct Page {
    status: StatusCode,
    policy: &'static str,
    html: String,
}

/// The pages that an application replaces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pages {
    pub(crate) success: Option<String>,
    pub(crate) error: Option<String>,
}

impl Pages {
    /// For a sign-in that is complete: its tokens are stored.
    pub(crate) fn success(&self) -> Page {
        if let Some(html) = &self.success {
            return Page::custom(html);
        }
        let text = "<p>You can close this page and return to the application.</p>";
        Page::own(StatusCode::OK, "good", CHECK, "You are signed in", text)
    }

    /// For a sign-in that failed.
    pub(crate) fn error(&self, error: &Error) -> Page {
        if let Some(html) = &self.error {
            return Page::custom(html);
        }
        let (code, advice, detail) = match error {
            Error::Authority(refused) => of_authority(refused),
            Error::InteractionRequired(required) => match required.refusal() {
                Some(refused) => of_authority(refused),
                None => (None, RETRY, None),
            },
            Error::Reply(crate::error::ReplyError::AnotherAccount) => (
                Some("another_account"),
                "The application expected another account, so it kept nothing of this sign-in. Return to it, and sign in \
                 with the account that it names.",
                None,
            ),
            other => (None, RETRY, Some(other.to_string())),
        };
        let mut body = format!("<p>{advice}</p>");
        if code.is_some() || detail.is_some() {
            body.push_str("<dl>");
            if let Some(code) = code {
                body.push_str(&format!(
                    "<dt>Error code</dt><dd><code>{}</code></dd>",
                    escape(code)
                ));
            }
            if let Some(detail) = detail {
                body.push_str(&format!("<dt>Details</dt><dd>{}</dd>", escape(&detail)));
            }
            body.push_str("</dl>");
        }
        Page::own(StatusCode::OK, "bad", CROSS, "You are not signed in", &body)
    }
}

impl Page {
    /// For a request that is no answer of a sign-in.
    pub(crate) fn stray(status: StatusCode) -> Self {
        let text = "<p>This address only takes the answer of one sign-in, and this was not it. The application is still \
                    waiting: finish signing in where you began.</p>";
        Self::own(status, "calm", DOTS, "Nothing to do here", text)
    }

    /// For an answer of another sign-in.
    pub(crate) fn of_another_sign_in() -> Self {
        Self::stray(StatusCode::BAD_REQUEST)
    }

    /// For an answer after the one that was accepted.
    pub(crate) fn late() -> Self {
        let text = "<p>This sign-in has been answered already. You can close this page and return to the \
                    application.</p>";
        Self::own(StatusCode::GONE, "calm", DOTS, "Nothing left to do", text)
    }

    fn custom(html: &str) -> Self {
        Self {
            status: StatusCode::OK,
            policy: CUSTOM_POLICY,
            html: html.to_owned(),
        }
    }

    /// `body` is HTML; `title` is ours.
    fn own(status: StatusCode, tone: &str, sign: &str, title: &str, body: &str) -> Self {
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta name=\"robots\" content=\"noindex\"><link rel=\"icon\" href=\"data:,\">\
             <style>{STYLE}</style><script>{SCRIPT}</script></head><body><main class=\"{tone}\" role=\"status\">\
             <svg viewBox=\"0 0 24 24\" aria-hidden=\"true\">{sign}</svg><h1>{title}</h1>{body}</main></body></html>"
        );
        Self {
            status,
            policy: OWN_POLICY,
            html,
        }
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.html)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        for (name, value) in [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CACHE_CONTROL, "no-store"),
            (REFERRER_POLICY, "no-referrer"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (CONTENT_SECURITY_POLICY, self.policy),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

const RETRY: &str = "Return to the application and sign in again. If this happens again, show the details to whoever \
                     supports the application.";

fn of_authority(refused: &AuthorityError) -> (Option<&str>, &'static str, Option<String>) {
    let advice = match refused.code() {
        "access_denied" => {
            "The sign-in was declined. If that was not what you wanted, return to the application and sign in again; where \
             an organisation decides, ask its administrator."
        }
        "login_required" | "interaction_required" | "account_selection_required" => {
            "Your provider wants to ask you something first. Return to the application, which can now let you sign in."
        }
        "consent_required" => {
            "The application has no permission yet. Return to it and sign in again; where an organisation decides, ask \
             its administrator."
        }
        "temporarily_unavailable" | "server_error" => {
            "Your provider has a problem at the moment. Wait a minute, return to the application and sign in again."
        }
        "invalid_request"
        | "invalid_scope"
        | "unauthorized_client"
        | "unsupported_response_type"
        | "invalid_client" => {
            "Your provider does not accept what the application asked for. Show the details to whoever supports the \
             application."
        }
        _ => RETRY,
    };
    (
        Some(refused.code()),
        advice,
        refused.refusal().description.clone(),
    )
}

/// Makes text safe inside an element.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use cache_core::schema::AuthorityKind;
    use cache_core::secret::Secret;

    use super::*;
    use crate::response::by_redirect;

    #[test]
    fn the_policy_lets_our_own_style_and_script_in_and_nothing_else() {
        let hash = STANDARD.encode(Secret::new(STYLE).sha256());
        assert!(
            OWN_POLICY.contains(&format!("'sha256-{hash}'")),
            "the style's hash is now {hash}"
        );
        let hash = STANDARD.encode(Secret::new(SCRIPT).sha256());
        assert!(
            OWN_POLICY.contains(&format!("script-src 'sha256-{hash}';")),
            "the script's hash is now {hash}"
        );
        let page = Pages::default().success();
        assert!(page.html.contains(&format!("<style>{STYLE}</style>")));
        for page in [page, Page::late(), Page::stray(StatusCode::NOT_FOUND)] {
            for loaded in ["http:", "https:", "<script", "url(", "@import", " style=", " on"] {
                let body = page.html.split_once("</script>").map_or("", |(_, body)| body);
                assert!(!body.contains(loaded) || loaded == " on", "{loaded}");
                assert!(!STYLE.contains(loaded) || loaded == " on", "{loaded}");
            }
        }
    }

    #[test]
    fn text_of_the_server_is_escaped() {
        let hostile = "<script>alert('1')</script>&\"";
        let refused = by_redirect(AuthorityKind::Oidc, hostile, Some("<img src=x onerror=alert(1)>"));
        let page = Pages::default().error(&refused.into());
        let (_, body) = page.html.split_once("</script>").unwrap();
        assert!(
            !body.contains("<script") && !body.contains("<img"),
            "{}",
            page.html
        );
        assert!(
            page.html
                .contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;")
        );
        assert!(page.html.contains("&lt;img src=x onerror=alert(1)&gt;"));
    }

    #[test]
    fn every_error_says_what_to_do() {
        for (code, advice) in [
            ("access_denied", "declined"),
            ("login_required", "Return to the application"),
            ("consent_required", "administrator"),
            ("server_error", "Wait a minute"),
            ("invalid_scope", "does not accept"),
            ("something_new", "sign in again"),
        ] {
            let page = Pages::default().error(&by_redirect(AuthorityKind::Oidc, code, None).into());
            assert!(page.html.contains(advice) && page.html.contains(code), "{code}");
        }
        let account = Pages::default().error(&crate::error::ReplyError::AnotherAccount.into());
        assert!(account.html.contains("expected another account"));
        let nonce = Pages::default().error(&crate::error::IdTokenError::Nonce.into());
        assert!(nonce.html.contains("Details") && nonce.html.contains("sign in again"));
    }

    #[test]
    fn an_application_shows_its_own_pages() {
        let pages = Pages {
            success: Some("<h1>Fine</h1>".to_owned()),
            error: Some("<h1>Bad</h1>".to_owned()),
        };
        assert_eq!(pages.success().html, "<h1>Fine</h1>");
        let refused = by_redirect(AuthorityKind::Oidc, "access_denied", None);
        let response = pages.error(&refused.into()).into_response();
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src"));
    }
}
