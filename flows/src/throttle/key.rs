//! What tells requests apart for the throttle, hashed: the memory holds no secret and no user.

use cache_core::schema::{Account, AuthorityKind, ScopeSet, TokenContext};
use sha2::{Digest, Sha256};

use crate::authority::Authority;
use crate::http::Form;
use crate::response::Subject;

/// A hash of length-prefixed parts.
pub(super) type Key = [u8; 32];

/// Parameters that say for whom a request is, beside the account of a refresh.
const SUBJECT: [&[u8]; 6] = [
    b"assertion",
    b"subject_token",
    b"actor_token",
    b"username",
    b"code",
    b"device_code",
];

/// Grants that no user attends. They may be answered by a refusal that is remembered; a user at the door is asked.
const SILENT: [&str; 4] = [
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "urn:ietf:params:oauth:grant-type:saml2-bearer",
    "urn:ietf:params:oauth:grant-type:token-exchange",
];

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Grants for which a user acted.
const INTERACTIVE: [&str; 3] = ["authorization_code", "password", DEVICE_CODE];

/// What of a request goes into its keys.
pub(crate) struct KeyParts<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) authority: &'a Authority,
    pub(crate) grant: &'a str,
    pub(crate) scopes: &'a ScopeSet,
    pub(crate) context: &'a TokenContext,
    pub(crate) subject: &'a Subject,
    /// What the caller asks for besides.
    pub(crate) claims: Option<&'a str>,
    /// Before the client's authentication was added: that is fresh in each request.
    pub(crate) form: &'a Form,
}

/// The keys of one request.
#[derive(Clone, Copy)]
pub(crate) struct RequestKeys {
    /// Client, authority, grant, scopes, and account or assertion: what "not now" is about.
    pub(super) service: Key,
    /// The same with the claims and the refresh token: what "ask the user" is about. A request with other claims, or
    /// with the token of a new sign-in, may fare better.
    pub(super) silent: Option<Key>,
    /// Whose sign-in would change a refusal.
    pub(super) account: Option<Key>,
    pub(super) is_interactive: bool,
    pub(super) is_poll: bool,
}

impl RequestKeys {
    pub(crate) fn of(parts: &KeyParts<'_>) -> Self {
        let account = match parts.subject {
            Subject::KnownUser(known) => Some(account_key(&known.account)),
            _ => None,
        };
        let mut service = Parts::new();
        service.add(parts.client_id.as_bytes());
        service.add(parts.authority.url().as_bytes());
        service.add(parts.grant.as_bytes());
        service.add(scopes(parts.authority.kind(), parts.scopes).as_bytes());
        service.add(parts.context.resource.as_deref().unwrap_or_default().as_bytes());
        service.add(
            parts
                .context
                .assertion_hash
                .as_deref()
                .unwrap_or_default()
                .as_bytes(),
        );
        for (name, value) in &parts.context.components {
            service.add(name.as_bytes());
            service.add(value.as_bytes());
        }
        service.add(account.as_ref().map_or(&[], |key| &key[..]));
        service.add_parameters(parts.form, |name| SUBJECT.contains(&name));
        // An account's refresh token changes with each use and must not hide the account. Without one it is all there is.
        if account.is_none() {
            service.add_parameters(parts.form, |name| name == b"refresh_token");
        }
        let service = service.finish();
        let silent = SILENT.contains(&parts.grant).then(|| {
            let mut silent = Parts::new();
            silent.add(&service);
            silent.add(parts.claims.unwrap_or_default().as_bytes());
            silent.add_parameters(parts.form, |name| name == b"refresh_token");
            silent.finish()
        });
        Self {
            service,
            silent,
            account,
            is_interactive: INTERACTIVE.contains(&parts.grant),
            is_poll: parts.grant == DEVICE_CODE,
        }
    }

    /// The keys of a question to the platform that a program runs on: its `source`, and the identity and resource that are asked for.
    pub(crate) fn of_platform(source: &str, identity: [&str; 2], resource: &str) -> Self {
        let mut service = Parts::new();
        for part in ["platform", source, identity[0], identity[1], resource] {
            service.add(part.as_bytes());
        }
        Self {
            service: service.finish(),
            silent: None,
            account: None,
            is_interactive: false,
            is_poll: false,
        }
    }
}

/// An account, whatever client it signed in to.
pub(crate) fn account_key(account: &Account) -> Key {
    let mut key = Parts::new();
    key.add(account.environment.as_bytes());
    key.add(account.home_account_id.as_bytes());
    key.finish()
}

fn scopes(kind: AuthorityKind, scopes: &ScopeSet) -> String {
    if kind.scopes_ignore_case() {
        return scopes.normalised();
    }
    let mut words: Vec<_> = scopes.words().collect();
    words.sort_unstable();
    words.join(" ")
}

struct Parts(Sha256);

impl Parts {
    fn new() -> Self {
        Self(Sha256::new())
    }

    /// Length first, so that no two lists of parts look alike.
    fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    fn add_parameters(&mut self, form: &Form, wanted: impl Fn(&[u8]) -> bool) {
        for (name, value) in form.encoded_pairs() {
            if wanted(name) {
                self.add(name);
                self.add(value);
            }
        }
    }

    fn finish(self) -> Key {
        self.0.finalize().into()
    }
}
