//! Whose an issuer says that a token is (RFC 7662).

use std::time::Duration;

use cache_testkit::glewlwyd::SERVICE_CLIENT_SECRET;
use flows::AuthenticationResult;
use flows::http::{Form, HttpRequest};
use url::Url;

use super::Issuer;
use super::http::Hand;
use crate::gate::{Doing, GateError};

/// How long the issuer may think about whose a token is.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// What it says of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Whose it is; nobody's, where it is not good.
    pub(super) subject: Option<String>,
    /// The client that it was granted to; none, where it is not good.
    pub(super) client: Option<String>,
}

/// Asks the issuer, past all proxies.
pub(super) async fn introspect(
    issuer: &Issuer,
    http: &Hand,
    result: &AuthenticationResult,
) -> Result<Said, GateError> {
    let url = issuer.introspection.as_deref();
    let url = url.ok_or_else(|| GateError::new("the issuer does not tell whose a token is"))?;
    let mut form = Form::new();
    form.push("client_id", &issuer.client_id);
    if issuer.is_confidential {
        form.push("client_secret", SERVICE_CLIENT_SECRET);
    }
    form.push("token", result.access_token().expose());
    let request = HttpRequest::post(Url::parse(url).doing("not a URL")?, form, TIME_LIMIT);
    let reply = http.send_directly(request).await;
    let reply = reply.doing("the issuer does not answer")?;
    let said: serde_json::Value = serde_json::from_slice(reply.body.expose()).doing(format!(
        "whose a token is was answered with status {}",
        reply.status
    ))?;
    let is_good = said["active"] == true;
    let text = |name: &str| said[name].as_str().filter(|_| is_good).map(str::to_owned);
    Ok(Said {
        subject: text("sub"),
        client: text("client_id"),
    })
}
