//! Scripted misbehaviour: what a test makes of the next matching request.

use std::time::Duration;

use serde_json::{Value, json};

use super::statistics::{Endpoint, Grant};

/// What becomes of the next request that matches. Queue it with [`super::FakeAuthority::script`]; scripts are
/// used up in order, each by the first request that it matches.
///
/// ```
/// use std::time::Duration;
/// use cache_testkit::authority::{Grant, Script};
///
/// let lost = Script::lost_reply().grant(Grant::RefreshToken);
/// let slow = Script::pass().delayed(Duration::from_millis(300)).times(2);
/// # let _ = (lost, slow);
/// ```
#[derive(Clone, Debug)]
pub struct Script {
    pub(super) endpoint: Endpoint,
    pub(super) grant: Option<Grant>,
    pub(super) remaining: u32,
    pub(super) delay: Duration,
    pub(super) reply_delay: Duration,
    pub(super) action: Action,
}

impl Script {
    /// Answers as usual. Useful with [`Script::delayed`].
    pub fn pass() -> Self {
        Self::new(Action::Process {
            delivery: Delivery::Whole,
            alterations: Vec::new(),
        })
    }

    /// Answers with an error in Entra's form, without processing the request.
    pub fn error(error: ScriptedError) -> Self {
        Self::new(Action::Refuse(error))
    }

    /// Answers 400 with no body at all, as one real provider does.
    pub fn empty_bad_request() -> Self {
        Self::status(400)
    }

    /// Answers with this HTTP status and no body, without processing the request.
    pub fn status(status: u16) -> Self {
        Self::new(Action::Status {
            status,
            retry_after: None,
            location: None,
        })
    }

    /// Answers 429 without processing the request.
    pub fn too_many_requests(retry_after: Option<RetryAfter>) -> Self {
        Self::new(Action::Status {
            status: 429,
            retry_after,
            location: None,
        })
    }

    /// Answers 307 with this `Location`: a client that follows it reposts its secrets.
    pub fn redirect(location: &str) -> Self {
        Self::new(Action::Status {
            status: 307,
            retry_after: None,
            location: Some(location.to_owned()),
        })
    }

    /// Answers 200 with a body that never ends, without processing the request.
    pub fn endless_body() -> Self {
        Self::new(Action::Endless)
    }

    /// Processes the request in full (a refresh token is spent and rotated), then closes the connection
    /// without a byte of an answer.
    pub fn lost_reply() -> Self {
        Self::new(Action::Process {
            delivery: Delivery::Lost,
            alterations: Vec::new(),
        })
    }

    /// Processes the request in full, then closes the connection in the middle of the body.
    pub fn half_reply() -> Self {
        Self::new(Action::Process {
            delivery: Delivery::Half,
            alterations: Vec::new(),
        })
    }

    /// Closes the connection without processing the request.
    pub fn drop_before_processing() -> Self {
        Self::new(Action::Drop)
    }

    /// Processes the request and alters the answer, if it is a success.
    pub fn alter(alterations: impl IntoIterator<Item = Alteration>) -> Self {
        let alterations = alterations.into_iter().collect();
        Self::new(Action::Process {
            delivery: Delivery::Whole,
            alterations,
        })
    }

    /// Only requests to this endpoint match. Every script is for the token endpoint until told otherwise.
    #[must_use]
    pub fn on(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// Only requests with this grant match.
    #[must_use]
    pub fn grant(mut self, grant: Grant) -> Self {
        self.grant = Some(grant);
        self
    }

    /// Uses the script up after this many requests instead of one.
    #[must_use]
    pub fn times(mut self, requests: u32) -> Self {
        self.remaining = requests;
        self
    }

    /// Waits before the request is processed. It is processed even if the client gives up meanwhile.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits after the request is processed, before the answer is sent. A client that gives up meanwhile
    /// has spent its refresh token all the same.
    #[must_use]
    pub fn reply_delayed(mut self, delay: Duration) -> Self {
        self.reply_delay = delay;
        self
    }

    fn new(action: Action) -> Self {
        Self {
            endpoint: Endpoint::Token,
            grant: None,
            remaining: 1,
            delay: Duration::ZERO,
            reply_delay: Duration::ZERO,
            action,
        }
    }

    pub(super) fn matches(&self, endpoint: Endpoint, grant: Option<Grant>) -> bool {
        self.remaining > 0
            && self.endpoint == endpoint
            && self.grant.is_none_or(|wanted| Some(wanted) == grant)
    }
}

/// What a script does once it matches.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Process {
        delivery: Delivery,
        alterations: Vec<Alteration>,
    },
    Refuse(ScriptedError),
    Status {
        status: u16,
        retry_after: Option<RetryAfter>,
        location: Option<String>,
    },
    Endless,
    Drop,
}

/// How much of an answer reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    Half,
    Lost,
}

/// An error to answer with, in Entra's form.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScriptedError {
    /// The HTTP status.
    pub status: u16,
    /// The OAuth error, such as `invalid_grant`.
    pub error: String,
    /// The number after `AADSTS`, also in `error_codes`.
    pub code: u32,
    /// The text after the number.
    pub description: String,
    /// Entra's finer classification, such as `bad_token` or `consent_required`.
    pub suberror: Option<String>,
    /// A claims challenge (JSON), to be sent back in the next request.
    pub claims: Option<String>,
}

impl ScriptedError {
    /// An error with HTTP status 400.
    pub fn new(error: &str, code: u32) -> Self {
        Self {
            status: 400,
            error: error.to_owned(),
            code,
            description: "The test asked for this error.".to_owned(),
            suberror: None,
            claims: None,
        }
    }

    /// `invalid_grant`: the refresh token or code is no good any more.
    pub fn invalid_grant() -> Self {
        Self::new("invalid_grant", 700_082)
    }

    /// `interaction_required` with a claims challenge, as conditional access answers.
    pub fn claims_challenge(claims: &str) -> Self {
        Self {
            claims: Some(claims.to_owned()),
            ..Self::new("interaction_required", 50_079)
        }
    }

    /// Sets the HTTP status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Sets the suberror.
    #[must_use]
    pub fn suberror(mut self, suberror: &str) -> Self {
        self.suberror = Some(suberror.to_owned());
        self
    }

    /// Sets the text after the number.
    #[must_use]
    pub fn description(mut self, description: &str) -> Self {
        self.description = description.to_owned();
        self
    }
}

/// The `Retry-After` of a scripted refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryAfter {
    /// This many seconds.
    Seconds(u64),
    /// An HTTP date this far from now.
    Date(Duration),
}

/// A change to a successful answer of the token endpoint.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Alteration {
    /// Sets a field of the answer.
    Set(String, Value),
    /// Leaves a field of the answer out.
    Omit(String),
    /// Writes a number of the answer as a string, as some issuers do with `expires_in`.
    AsString(String),
    /// Sets a claim of the ID token, which is signed anew; null leaves the claim out.
    IdTokenClaim(String, Value),
    /// Spoils the signature of the ID token.
    IdTokenSignature,
    /// Sends the `client_info` of this user instead of the one who signed in.
    ClientInfoOf(String),
}

impl Alteration {
    /// Leaves a field of the answer out.
    pub fn omit(field: &str) -> Self {
        Self::Omit(field.to_owned())
    }

    /// `expires_in` as a string.
    pub fn expires_in_as_string() -> Self {
        Self::AsString("expires_in".to_owned())
    }

    /// An ID token of another issuer.
    pub fn wrong_issuer() -> Self {
        Self::IdTokenClaim("iss".to_owned(), json!("https://issuer.invalid/v2.0"))
    }
}
