//! Sign-in on another device (RFC 8628).
//!
//! [`request`] begins: it asks for a code, which the user enters elsewhere. [`DeviceAuthorization`] is what to show.
//! [`Polling`] then decides, reply by reply, whether to ask again and when.

use std::fmt;
use std::time::Duration;

use cache_core::cache::RefusedBecause;
use cache_core::schema::{AuthorityKind, ScopeSet, TokenContext, TokenResponse};
use cache_core::secret::Secret;
use cache_core::time::UnixMillis;
use url::Url;

use super::{TokenRequest, user_scopes};
use crate::authority::Authority;
use crate::display_text::display_text;
use crate::error::{DeviceCodeError, Error, ReplyError};
use crate::http::{Form, is_allowed_url};
use crate::response::{Fields, Subject};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A request for a device code, complete but for the client's authentication.
///
/// ```
/// use cache_core::schema::ScopeSet;
/// use flows::request::device_code;
///
/// let request = device_code::request(ScopeSet::parse("User.Read")).claims(r#"{"id_token":{"acr":null}}"#);
/// # let _ = request;
/// ```
#[must_use = "it does nothing until it is sent"]
pub struct DeviceCodeRequest {
    pub(crate) form: Form,
    scopes: ScopeSet,
    pub(crate) claims: Option<String>,
    context: TokenContext,
}

/// Asks for a device code (RFC 8628 section 3.1) that will bring `scopes` and an account.
pub fn request(scopes: ScopeSet) -> DeviceCodeRequest {
    let mut form = Form::new();
    form.push("scope", user_scopes(&scopes).as_str());
    DeviceCodeRequest {
        form,
        scopes,
        claims: None,
        context: TokenContext::default(),
    }
}

impl DeviceCodeRequest {
    /// Sets a claims request: a JSON object. None where it is empty.
    pub fn claims(mut self, claims: &str) -> Self {
        self.claims = Some(claims)
            .filter(|claims| !claims.is_empty())
            .map(str::to_owned);
        self
    }

    /// Says what else sets the tokens of this request apart in the cache.
    pub fn context(mut self, context: TokenContext) -> Self {
        self.context = context;
        self
    }

    /// What was asked for.
    pub(crate) fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// Reads the reply (RFC 8628 section 3.2); `sent_at` is when the request was.
    pub(crate) fn accept(
        &self,
        mut fields: Fields,
        sent_at: UnixMillis,
    ) -> Result<DeviceAuthorization, ReplyError> {
        // Google and older Azure endpoints say `verification_url`.
        let verification_uri = ["verification_uri", "verification_url"]
            .into_iter()
            .find_map(|name| fields.text(name))
            .filter(|uri| Url::parse(uri).is_ok_and(|uri| is_allowed_url(&uri).is_ok()))
            .map(display_text)
            .ok_or(ReplyError::Missing("verification_uri"))?;
        let complete = fields
            .text("verification_uri_complete")
            .filter(|uri| Url::parse(uri).is_ok_and(|uri| is_allowed_url(&uri).is_ok()))
            .map(|uri| Secret::new(display_text(uri)));
        let user_code = fields
            .text("user_code")
            .map(display_text)
            .ok_or(ReplyError::Missing("user_code"))?;
        let lifetime = fields
            .duration("expires_in")
            .ok_or(ReplyError::Missing("expires_in"))?;
        let interval = fields.duration("interval").unwrap_or(Polling::INTERVAL);
        Ok(DeviceAuthorization {
            message: fields.text("message").map(display_text),
            verification_uri,
            verification_uri_complete: complete,
            user_code,
            expires_at: sent_at.saturating_add(lifetime),
            // An interval of zero would make a loop without a pause.
            interval: interval.clamp(Duration::from_secs(1), Duration::from_secs(300)),
            device_code: fields
                .take_secret("device_code")
                .ok_or(ReplyError::Missing("device_code"))?,
            scopes: self.scopes.clone(),
            claims: self.claims.clone(),
            context: self.context.clone(),
        })
    }
}

/// What the user has to do, and the code that this device waits with.
///
/// Show [`verification_uri`](Self::verification_uri) and [`user_code`](Self::user_code). Whoever enters the code
/// signs *this* program in, so show it to nobody else.
#[derive(Clone)]
pub struct DeviceAuthorization {
    device_code: Secret,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<Secret>,
    message: Option<String>,
    expires_at: UnixMillis,
    interval: Duration,
    scopes: ScopeSet,
    claims: Option<String>,
    context: TokenContext,
}

impl DeviceAuthorization {
    /// The code that the user enters.
    #[must_use]
    pub fn user_code(&self) -> &str {
        &self.user_code
    }

    /// Where the user enters it.
    #[must_use]
    pub fn verification_uri(&self) -> &str {
        &self.verification_uri
    }

    /// The same with the code filled in, for a QR code. Never open it unasked: the user must see that the code on
    /// the page is the code on this device.
    #[must_use]
    pub fn verification_uri_complete(&self) -> Option<&Secret> {
        self.verification_uri_complete.as_ref()
    }

    /// The authority's own instruction to the user, or one in its place.
    #[must_use]
    pub fn message(&self) -> String {
        self.message.clone().unwrap_or_else(|| {
            format!(
                "To sign in, open {} in a browser and enter the code {}.",
                self.verification_uri, self.user_code
            )
        })
    }

    /// The [`message`](Self::message) if it says where to go and which code to enter, else it and an instruction that does.
    pub(crate) fn instruction(&self) -> String {
        let own = Self {
            message: None,
            ..self.clone()
        };
        match &self.message {
            Some(said) if !said.contains(&self.verification_uri) || !said.contains(&self.user_code) => {
                format!("{said}\n{}", own.message())
            }
            _ => self.message(),
        }
    }

    /// When the code expires.
    #[must_use]
    pub fn expires_at(&self) -> UnixMillis {
        self.expires_at
    }

    /// The request that asks whether the user is done (RFC 8628 section 3.4). It is sent once an interval.
    pub fn token_request(&self, authority: &Authority) -> TokenRequest {
        let subject = Subject::NewUser { nonce: None };
        let mut request = TokenRequest::new(GRANT_TYPE, self.scopes.clone(), subject)
            .context(self.context.clone())
            .claims(self.claims.as_deref().unwrap_or_default());
        request.form.push_secret("device_code", &self.device_code);
        if authority.kind() == AuthorityKind::Adfs {
            // AD FS documents the older name besides.
            request.form.push_secret("code", &self.device_code);
        }
        request
    }

    /// The polling of this authorization.
    #[must_use]
    pub fn polling(&self) -> Polling {
        Polling {
            interval: self.interval,
            expires_at: self.expires_at,
        }
    }
}

/// Neither of the codes is shown: whoever has one of them can take part in the sign-in.
impl fmt::Debug for DeviceAuthorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceAuthorization")
            .field("verification_uri", &self.verification_uri)
            .field("expires_at", &self.expires_at)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// When to ask again (RFC 8628 section 3.5). It is pure: it is told replies and the time.
#[derive(Clone, Debug)]
pub struct Polling {
    interval: Duration,
    expires_at: UnixMillis,
}

/// What to do after a reply.
#[derive(Debug)]
pub enum Poll {
    /// Wait this long, then ask again.
    Wait(Duration),
    /// The user is signed in.
    Granted(Box<TokenResponse>),
}

impl Polling {
    /// The interval where the authority names none.
    const INTERVAL: Duration = Duration::from_secs(5);

    /// How long to wait before the first request.
    ///
    /// # Errors
    /// [`DeviceCodeError::Expired`] when the code has expired already.
    pub fn first(&self, now: UnixMillis) -> Result<Duration, DeviceCodeError> {
        self.wait(now)
    }

    /// Judges the reply to one request.
    ///
    /// A lost connection or a failing server is waited out with twice the interval, as the RFC asks: the code may
    /// still be good. Should the lost reply have been the grant, the next one is a refusal.
    ///
    /// # Errors
    /// [`Error::DeviceCode`] when the code expired or the user declined; any other error ends the sign-in as it is.
    pub fn judge(&mut self, reply: Result<TokenResponse, Error>, now: UnixMillis) -> Result<Poll, Error> {
        let error = match reply {
            Ok(response) => return Ok(Poll::Granted(Box::new(response))),
            Err(error) => error,
        };
        match &error {
            Error::Authority(refusal) => match refusal.code() {
                "authorization_pending" => {}
                "slow_down" => self.interval += Duration::from_secs(5),
                "expired_token" | "code_expired" => return Err(DeviceCodeError::Expired.into()),
                "access_denied" | "authorization_declined" => return Err(DeviceCodeError::Declined.into()),
                _ => match refusal.refusal().about {
                    RefusedBecause::Throttled(asked) => {
                        self.back_off();
                        self.interval = self.interval.max(asked.unwrap_or_default());
                    }
                    _ => return Err(error),
                },
            },
            Error::Http(_) | Error::Reply(ReplyError::Unavailable { .. }) => {
                tracing::warn!(%error, "the authority did not answer a poll for the device code; asking again");
                self.back_off();
                if let Error::Reply(ReplyError::Unavailable {
                    retry_after: Some(asked),
                    ..
                }) = &error
                {
                    self.interval = self.interval.max(*asked);
                }
                // When there is no time for another poll, the cause is what helps.
                return match self.wait(now) {
                    Ok(wait) => Ok(Poll::Wait(wait)),
                    Err(_) => Err(DeviceCodeError::Unanswered(Box::new(error)).into()),
                };
            }
            // Nothing was sent: the next poll waits as long as it must, and the interval stays.
            Error::Throttled(throttled) => {
                let wait = self.interval.max(throttled.retry_after());
                if now.saturating_add(wait) >= self.expires_at {
                    return Err(DeviceCodeError::Unanswered(Box::new(error)).into());
                }
                return Ok(Poll::Wait(wait));
            }
            _ => return Err(error),
        }
        Ok(Poll::Wait(self.wait(now)?))
    }

    fn back_off(&mut self) {
        // Never less than what the authority asked for, which may be more.
        let longest = self.interval.max(Duration::from_secs(300));
        self.interval = (self.interval * 2).min(longest);
    }

    /// How long a request may take at `now`: no longer than the code is good for.
    #[must_use]
    pub fn limit(&self, time_limit: Duration, now: UnixMillis) -> Duration {
        let left = self.expires_at.duration_since(now).max(Duration::from_secs(1));
        time_limit.min(left)
    }

    /// There is no point in asking after the code has expired.
    fn wait(&self, now: UnixMillis) -> Result<Duration, DeviceCodeError> {
        if now.saturating_add(self.interval) >= self.expires_at {
            return Err(DeviceCodeError::Expired);
        }
        Ok(self.interval)
    }
}

#[cfg(test)]
mod tests;
