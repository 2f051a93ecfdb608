//! The authorization endpoint: signs a user in without asking and sends a code back.

use url::Url;

use super::claims_request::ClaimsRequest;
use super::directory::{Client, User};
use super::html::{escape, page};
use super::pushed;
use super::refusal::Refusal;
use super::reply::Reply;
use super::request::IncomingRequest;
use super::scopes::RequestedScopes;
use super::state::Core;
use super::tenant::TenantPath;
use super::tokens::client_info;

/// What an authorization code stands for.
pub(super) struct AuthorizationCode {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    /// The S256 challenge (RFC 7636), if the request had one.
    pub(super) challenge: Option<String>,
    pub(super) username: String,
    pub(super) scopes: Vec<String>,
    pub(super) nonce: Option<String>,
    pub(super) claims: ClaimsRequest,
    pub(super) expires_at: u64,
    /// The family of the first redemption: a second one revokes it (RFC 6749 section 4.1.2).
    pub(super) redeemed: Option<super::families::FamilyId>,
}

/// How the answer travels.
#[derive(Clone, Copy)]
enum ResponseMode {
    Query,
    Fragment,
    FormPost,
}

/// `/{tenant}/oauth2/v2.0/authorize`. An unknown client or redirect address ends on a page of the authority:
/// sending anything there would make it an open redirector.
pub(super) fn authorize(core: &Core, request: &IncomingRequest) -> Reply {
    let shown = |refusal: &Refusal| {
        let text = format!("<p>{}</p>", escape(&refusal.described()));
        Reply::html(400, page("Sorry, but we cannot sign you in", &text))
    };
    let pushed = match pushed::resolve(core, request) {
        Ok(pushed) => pushed,
        Err(refusal) => return shown(&refusal),
    };
    let request = pushed.as_ref().unwrap_or(request);
    let (client, redirect_uri) = match destination(core, request) {
        Ok(destination) => destination,
        Err(refusal) => return shown(&refusal),
    };
    let mut answer: Vec<(&str, String)> = match code(core, request, client, &redirect_uri) {
        Ok((code, user)) => {
            let mut answer = vec![("code", code), ("session_state", core.state().opaque.guid())];
            if request.parameters.get("client_info") == Some("1") {
                answer.push(("client_info", client_info(user)));
            }
            answer
        }
        Err(refusal) => {
            let mut answer = vec![
                ("error", refusal.error.clone()),
                ("error_description", refusal.described()),
            ];
            answer.extend(refusal.suberror.map(|suberror| ("error_subcode", suberror)));
            answer
        }
    };
    answer.extend(
        request
            .parameters
            .get("state")
            .map(|state| ("state", state.to_owned())),
    );
    if core.response_iss {
        let tenant = TenantPath::parse(&request.tenant, &core.directory);
        answer.extend(tenant.map(|tenant| {
            let issuer = tenant.kind().issuer(core, tenant.issuer_segment());
            ("iss", issuer)
        }));
    }
    deliver(response_mode(request), redirect_uri, &answer)
}

fn destination<'a>(core: &'a Core, request: &IncomingRequest) -> Result<(&'a Client, Url), Refusal> {
    let client = &core
        .directory
        .client(request.parameters.required("client_id")?)?
        .client;
    let redirect_uri = request.parameters.required("redirect_uri")?;
    let mismatch = || {
        let text = "The redirect URI specified in the request does not match the redirect URIs configured \
                    for the application.";
        Refusal::invalid_request(50_011, text)
    };
    if !client.allows_redirect(redirect_uri) {
        return Err(mismatch());
    }
    Ok((client, Url::parse(redirect_uri).map_err(|_| mismatch())?))
}

fn response_mode(request: &IncomingRequest) -> ResponseMode {
    match request.parameters.get("response_mode") {
        Some("form_post") => ResponseMode::FormPost,
        Some("fragment") => ResponseMode::Fragment,
        _ => ResponseMode::Query,
    }
}

/// Signs the user in and issues a code.
fn code<'a>(
    core: &'a Core,
    request: &IncomingRequest,
    client: &Client,
    redirect_uri: &Url,
) -> Result<(String, &'a User), Refusal> {
    let parameters = &request.parameters;
    let tenant = TenantPath::parse(&request.tenant, &core.directory)?;
    if parameters.required("response_type")? != "code" {
        let text = "The only response type of this authority is 'code'.";
        return Err(Refusal::new("unsupported_response_type", 700_054, text));
    }
    parameters.required("scope")?;
    let scopes = RequestedScopes::parse(parameters.words("scope"))?;
    let challenge = challenge(request)?;
    let claims = ClaimsRequest::parse(parameters.get("claims"))?;
    let user = signed_in_user(core, request)?;
    tenant.subject(user)?;

    let mut state = core.state();
    let code = state.opaque.secret("1.code-");
    let row = AuthorizationCode {
        client_id: client.client_id.clone(),
        // As it was written: redemption compares the text, not the address.
        redirect_uri: parameters
            .get("redirect_uri")
            .unwrap_or(redirect_uri.as_str())
            .to_owned(),
        challenge,
        username: user.username.clone(),
        scopes: scopes.all(),
        nonce: parameters.get("nonce").map(str::to_owned),
        claims,
        expires_at: core.clock.unix_seconds() + state.lifetimes.authorization_code.as_secs(),
        redeemed: None,
    };
    state.codes.insert(code.clone(), row);
    Ok((code, user))
}

/// S256 or nothing: `plain` would let a client be talked down to no protection at all.
fn challenge(request: &IncomingRequest) -> Result<Option<String>, Refusal> {
    let Some(challenge) = request.parameters.get("code_challenge") else {
        return Ok(None);
    };
    match request.parameters.get("code_challenge_method") {
        Some("S256") => Ok(Some(challenge.to_owned())),
        _ => Err(Refusal::invalid_request(
            50_148,
            "The code challenge method must be 'S256'.",
        )),
    }
}

/// The user that `login_hint` names, or else the one who is signed in. Without anybody signed in there is no session, so
/// that a hint is not enough for `prompt=none`.
fn signed_in_user<'a>(core: &'a Core, request: &IncomingRequest) -> Result<&'a User, Refusal> {
    let signed_in = core.state().signed_in_user.clone();
    let hint = request.parameters.get("login_hint");
    let user = hint
        .or(signed_in.as_deref())
        .and_then(|username| core.directory.user(username));
    if request.parameters.get("prompt") == Some("none") {
        let text = "A silent sign-in request was sent but no user is signed in.";
        return user
            .filter(|_| signed_in.is_some())
            .ok_or_else(|| Refusal::new("login_required", 50_058, text));
    }
    user.ok_or_else(|| {
        Refusal::new(
            "access_denied",
            65_004,
            "User declined to consent to access the app.",
        )
    })
}

fn deliver(mode: ResponseMode, mut redirect_uri: Url, answer: &[(&str, String)]) -> Reply {
    match mode {
        ResponseMode::Query => {
            redirect_uri.query_pairs_mut().extend_pairs(answer);
            Reply::redirect(redirect_uri.as_str())
        }
        ResponseMode::Fragment => {
            let mut fragment = url::form_urlencoded::Serializer::new(String::new());
            fragment.extend_pairs(answer);
            redirect_uri.set_fragment(Some(&fragment.finish()));
            Reply::redirect(redirect_uri.as_str())
        }
        ResponseMode::FormPost => {
            let fields: String = answer
                .iter()
                .map(|(name, value)| {
                    format!(
                        "<input type=\"hidden\" name=\"{name}\" value=\"{}\">",
                        escape(value)
                    )
                })
                .collect();
            let form = format!(
                "<form method=\"post\" action=\"{}\">{fields}<noscript><button>Continue</button></noscript>\
                 </form><script>document.forms[0].submit()</script>",
                escape(redirect_uri.as_str())
            );
            Reply::html(200, page("Working", &form))
        }
    }
}
