//! Device authorization (RFC 8628): handing out codes, approving them, and the answer to each poll.

use std::collections::HashMap;

use hyper::Method;
use serde_json::json;

use super::AuthorityError;
use super::config::DeviceApproval;
use super::html::{escape, page};
use super::refusal::Refusal;
use super::reply::Reply;
use super::request::IncomingRequest;
use super::scopes::RequestedScopes;
use super::state::{Core, State};
use super::tenant::TenantPath;
use super::tokens::TokenReply;

/// Every device code, by the secret that the device polls with.
#[derive(Default)]
pub(super) struct DeviceCodes(HashMap<String, DeviceCode>);

struct DeviceCode {
    user_code: String,
    client_id: String,
    scopes: Vec<String>,
    expires_at: u64,
    polls: u32,
    decision: Decision,
}

enum Decision {
    Pending,
    Approved { username: String },
    Denied,
}

/// A device code that was approved and is now used up.
pub(super) struct ApprovedDevice {
    pub(super) username: String,
    pub(super) scopes: Vec<String>,
}

impl DeviceCodes {
    /// Decides a waiting code. `username` approves, none denies.
    pub(super) fn decide(
        &mut self,
        user_code: &str,
        username: Option<&str>,
        now: u64,
    ) -> Result<(), AuthorityError> {
        let typed = user_code.trim().replace('-', "");
        let waiting = self.0.values_mut().find(|code| {
            code.user_code.eq_ignore_ascii_case(&typed)
                && code.expires_at > now
                && matches!(code.decision, Decision::Pending)
        });
        let code = waiting.ok_or(AuthorityError::UnknownUserCode { user_code: typed })?;
        code.decision = match username {
            Some(username) => Decision::Approved {
                username: username.to_owned(),
            },
            None => Decision::Denied,
        };
        Ok(())
    }

    /// Answers one poll. An approved code works once.
    pub(super) fn poll(
        &mut self,
        device_code: &str,
        client_id: &str,
        approval: &DeviceApproval,
        now: u64,
    ) -> Result<ApprovedDevice, Refusal> {
        let code = self
            .0
            .get_mut(device_code)
            .filter(|code| code.client_id == client_id)
            .ok_or_else(|| Refusal::new("bad_verification_code", 70_019, "The device code is not known."))?;
        if code.expires_at <= now {
            return Err(Refusal::new(
                "expired_token",
                70_020,
                "The device code has expired.",
            ));
        }
        if let DeviceApproval::Automatic {
            pending_polls,
            username,
        } = approval
            && matches!(code.decision, Decision::Pending)
            && code.polls >= *pending_polls
        {
            code.decision = Decision::Approved {
                username: username.clone(),
            };
        }
        code.polls += 1;
        match &code.decision {
            Decision::Pending => {
                let text = "Pending end-user authorization.";
                Err(Refusal::new("authorization_pending", 70_016, text))
            }
            Decision::Denied => Err(Refusal::new(
                "authorization_declined",
                70_018,
                "The user declined to sign in.",
            )),
            Decision::Approved { username } => {
                let approved = ApprovedDevice {
                    username: username.clone(),
                    scopes: code.scopes.clone(),
                };
                self.0.remove(device_code);
                Ok(approved)
            }
        }
    }
}

/// `POST /{tenant}/oauth2/v2.0/devicecode`.
pub(super) fn authorize(core: &Core, request: &IncomingRequest) -> Result<TokenReply, Refusal> {
    TenantPath::parse(&request.tenant, &core.directory)?;
    let client_id = request
        .client_id()
        .ok_or_else(|| Refusal::missing_parameter("client_id"))?;
    let client = &core.directory.client(client_id)?.client;
    request.parameters.required("scope")?;
    let scopes = RequestedScopes::parse(request.parameters.words("scope"))?;

    let mut state = core.state();
    let state: &mut State = &mut state;
    let (device_code, user_code) = (state.opaque.secret("dc-"), state.opaque.user_code());
    let code = DeviceCode {
        user_code: user_code.clone(),
        client_id: client.client_id.clone(),
        scopes: scopes.all(),
        expires_at: core.clock.unix_seconds() + state.lifetimes.device_code.as_secs(),
        polls: 0,
        decision: Decision::Pending,
    };
    state.devices.0.insert(device_code.clone(), code);
    let verification_uri = format!("{}/devicelogin", core.base_url);
    let reply = json!({
        "message": format!(
            "To sign in, use a web browser to open the page {verification_uri} and enter the code \
             {user_code} to authenticate."
        ),
        "user_code": user_code,
        "device_code": device_code,
        "verification_uri": verification_uri,
        "expires_in": state.lifetimes.device_code.as_secs(),
        "interval": state.lifetimes.device_interval.as_secs(),
    });
    Ok(reply.as_object().cloned().unwrap_or_default())
}

/// `/devicelogin`: a form for a person, and where it is sent to. Parameters: `user_code`, `username`, and
/// `action` (`approve` or `deny`).
pub(super) fn approval_page(core: &Core, request: &IncomingRequest) -> Reply {
    let parameters = &request.parameters;
    let user_code = parameters.get("user_code").unwrap_or_default();
    if request.method != Method::POST {
        let form = format!(
            "<form method=\"post\"><p><label>Code <input name=\"user_code\" value=\"{}\"></label></p>\
             <p><label>User <input name=\"username\" value=\"{}\"></label></p>\
             <p><button name=\"action\" value=\"approve\">Sign in</button> \
             <button name=\"action\" value=\"deny\">Decline</button></p></form>",
            escape(user_code),
            escape(core.directory.users.first().map_or("", |user| &user.username)),
        );
        return Reply::html(200, page("Enter the code shown on your device", &form));
    }
    let username = match parameters.get("action") {
        Some("deny") => Ok(None),
        _ => match parameters
            .get("username")
            .and_then(|username| core.directory.user(username))
        {
            Some(user) => Ok(Some(user.username.as_str())),
            None => Err("No such user."),
        },
    };
    let decided = username.and_then(|username| {
        let now = core.clock.unix_seconds();
        core.state()
            .devices
            .decide(user_code, username, now)
            .map_err(|_| "That code is not known, was used or has expired.")
    });
    match decided {
        Ok(()) => Reply::html(
            200,
            page(
                "Done",
                "<p>You can close this page and return to your device.</p>",
            ),
        ),
        Err(problem) => Reply::html(400, page("That did not work", &format!("<p>{problem}</p>"))),
    }
}
