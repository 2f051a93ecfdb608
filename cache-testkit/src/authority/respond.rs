//! From a request to an answer: record it, find its script, carry both out.

use std::io;
use std::sync::Arc;

use hyper::header::{HeaderName, LOCATION, RETRY_AFTER};
use hyper::{Method, Response};
use serde_json::Value;

use super::clock::{http_date, sleep};
use super::config::Dpop;
use super::html::page;
use super::refusal::Refusal;
use super::reply::{Reply, ReplyBody};
use super::request::IncomingRequest;
use super::resource::resource;
use super::script::{Action, Alteration, Delivery, RetryAfter, Script};
use super::state::Core;
use super::statistics::Endpoint;
use super::{authorize, device, discovery, pushed, revocation, token_endpoint};

const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");

/// Answers one request. An error closes the connection without a word, as a scripted loss demands.
pub(super) async fn respond(
    core: Arc<Core>,
    request: IncomingRequest,
) -> Result<Response<ReplyBody>, io::Error> {
    let script = arrive(&core, &request);
    if !script.delay.is_zero() {
        sleep(script.delay).await;
    }
    let lost = || {
        io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "scripted: the connection is dropped",
        )
    };
    let (reply, delivery) = match script.action {
        Action::Process {
            delivery,
            alterations,
        } => (process(&core, &request, &alterations), delivery),
        Action::Refuse(error) => (refuse(&core, &request, &error.into()), Delivery::Whole),
        Action::Status {
            status,
            retry_after,
            location,
        } => (
            status_reply(&core, status, retry_after, location),
            Delivery::Whole,
        ),
        Action::Endless => {
            let opening = Reply::json(200, &Value::String(String::new()));
            return Ok(opening.endless());
        }
        Action::Drop => return Err(lost()),
    };
    // With every answer of the token endpoint, so that clients need not ask twice (RFC 9449 section 8.2).
    let reply = if request.endpoint == Endpoint::Token && core.dpop == Dpop::WithNonce {
        let nonce = core.state().proofs.nonce();
        reply.header(DPOP_NONCE, nonce)
    } else {
        reply
    };
    if !script.reply_delay.is_zero() {
        sleep(script.reply_delay).await;
    }
    match delivery {
        Delivery::Whole => Ok(reply.whole()),
        Delivery::Half => Ok(reply.half()),
        Delivery::Lost => Err(lost()),
    }
}

/// Answers a request that could not even be read.
pub(super) fn unreadable(core: &Core, refusal: &Refusal) -> Response<ReplyBody> {
    let trace_id = core.state().opaque.guid();
    Reply::json(
        refusal.status,
        &refusal.body(core.clock.unix_seconds(), &trace_id, &trace_id),
    )
    .whole()
}

/// Records the request and takes the first script that matches.
fn arrive(core: &Core, request: &IncomingRequest) -> Script {
    let mut state = core.state();
    state.record.arrived(request.record());
    let grant = request.grant();
    let Some(position) = state
        .scripts
        .iter()
        .position(|script| script.matches(request.endpoint, grant))
    else {
        return Script::pass();
    };
    let Some(script) = state.scripts.get_mut(position) else {
        return Script::pass();
    };
    script.remaining -= 1;
    if script.remaining > 0 {
        return script.clone();
    }
    state.scripts.remove(position).unwrap_or_else(Script::pass)
}

fn process(core: &Core, request: &IncomingRequest, alterations: &[Alteration]) -> Reply {
    if request.endpoint.takes_secrets() && request.method != Method::POST {
        let text = "The endpoint only accepts POST requests.";
        return refuse(core, request, &Refusal::invalid_request(900_561, text));
    }
    let answer = match request.endpoint {
        Endpoint::InstanceDiscovery => discovery::instance(core, request),
        Endpoint::OpenIdConfiguration => discovery::openid_configuration(core, request),
        Endpoint::Keys => discovery::keys(core, request),
        Endpoint::UserRealm => Ok(discovery::user_realm(request)),
        Endpoint::DeviceCode => device::authorize(core, request)
            .and_then(|reply| token_endpoint::altered(core, reply, alterations))
            .map(Value::Object),
        Endpoint::Token => token_endpoint::token(core, request, alterations).map(Value::Object),
        Endpoint::PushedAuthorization => {
            return match pushed::push(core, request) {
                Ok(body) => echo(Reply::json(201, &body), request),
                Err(refusal) => refuse(core, request, &refusal),
            };
        }
        Endpoint::Authorize => return authorize::authorize(core, request),
        Endpoint::DeviceApproval => return device::approval_page(core, request),
        Endpoint::Revocation if core.revocation => match revocation::revoke(core, request) {
            Ok(()) => return Reply::empty(200),
            Err(refusal) => Err(refusal),
        },
        Endpoint::Logout => return logout(request),
        Endpoint::Resource => return resource(core, request),
        Endpoint::Revocation | Endpoint::Unknown => return Reply::html(404, page("Not found", "")),
    };
    match answer {
        Ok(body) => echo(Reply::json(200, &body), request),
        Err(refusal) => refuse(core, request, &refusal),
    }
}

fn refuse(core: &Core, request: &IncomingRequest, refusal: &Refusal) -> Reply {
    let (trace_id, correlation_id) = {
        let opaque = &mut core.state().opaque;
        (
            opaque.guid(),
            request.correlation_id.clone().unwrap_or_else(|| opaque.guid()),
        )
    };
    let body = refusal.body(core.clock.unix_seconds(), &trace_id, &correlation_id);
    echo(Reply::json(refusal.status, &body), request)
}

/// Entra repeats the client's correlation ID in a header.
fn echo(reply: Reply, request: &IncomingRequest) -> Reply {
    match &request.correlation_id {
        Some(correlation_id) => reply.header(CLIENT_REQUEST_ID, correlation_id),
        None => reply,
    }
}

fn status_reply(
    core: &Core,
    status: u16,
    retry_after: Option<RetryAfter>,
    location: Option<String>,
) -> Reply {
    let mut reply = Reply::empty(status);
    if let Some(retry_after) = retry_after {
        let value = match retry_after {
            RetryAfter::Seconds(seconds) => seconds.to_string(),
            RetryAfter::Date(from_now) => http_date(core.clock.unix_seconds() + from_now.as_secs()),
        };
        reply = reply.header(RETRY_AFTER, value);
    }
    if let Some(location) = location {
        reply = reply.header(LOCATION, location);
    }
    reply
}

/// Ends the (imaginary) browser session. Refresh tokens survive, as they do at Entra.
fn logout(request: &IncomingRequest) -> Reply {
    match request.parameters.get("post_logout_redirect_uri") {
        Some(uri) => Reply::redirect(uri),
        None => Reply::html(200, page("You are signed out", "")),
    }
}
