//! Everything that the running authority knows, shared by its connections and its handle.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::AuthorityError;
use super::authorize::AuthorizationCode;
use super::clock::ServerClock;
use super::config::{AliasGroup, Config, DeviceApproval, Dpop, Lifetimes, PushedRequests, Rotation};
use super::device::DeviceCodes;
use super::directory::{Client, User};
use super::dpop::ProofState;
use super::families::Families;
use super::opaque::OpaqueValues;
use super::pushed::PushedRequest;
use super::refusal::Refusal;
use super::script::Script;
use super::signing::{ClientKey, SigningKeys};
use super::statistics::Record;

/// The authority without its listener. Requests are answered synchronously: no lock is held across a wait.
pub(super) struct Core {
    /// `https://host:port`, without a final slash.
    pub(super) base_url: String,
    pub(super) directory: Directory,
    pub(super) signing: SigningKeys,
    pub(super) clock: ServerClock,
    pub(super) pushed_requests: PushedRequests,
    pub(super) response_iss: bool,
    /// What is made of proofs.
    pub(super) dpop: Dpop,
    pub(super) alias_groups: Vec<AliasGroup>,
    /// Whether there is a revocation endpoint.
    pub(super) revocation: bool,
    state: Mutex<State>,
}

impl Core {
    pub(super) fn new(config: Config, base_url: String) -> Result<Self, AuthorityError> {
        let state = State {
            opaque: OpaqueValues::new()?,
            codes: HashMap::new(),
            pushed: HashMap::new(),
            used_assertions: HashSet::new(),
            devices: DeviceCodes::default(),
            families: Families::default(),
            proofs: ProofState::default(),
            scripts: VecDeque::new(),
            record: Record::default(),
            lifetimes: config.lifetimes,
            rotation: config.rotation,
            device_approval: config.device_approval,
            signed_in_user: config.signed_in_user,
            access_events: HashMap::new(),
        };
        Ok(Self {
            base_url,
            directory: Directory::new(config.users, config.clients)?,
            signing: SigningKeys::generate()?,
            clock: ServerClock::default(),
            pushed_requests: config.pushed_requests,
            response_iss: config.response_iss,
            dpop: config.dpop,
            alias_groups: config.alias_groups,
            revocation: config.revocation,
            state: Mutex::new(state),
        })
    }

    /// A panic in one request must not take the authority from all others.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What changes from request to request.
pub(super) struct State {
    pub(super) opaque: OpaqueValues,
    pub(super) codes: HashMap<String, AuthorizationCode>,
    /// Authorization requests that were pushed and not used yet, by their `request_uri`.
    pub(super) pushed: HashMap<String, PushedRequest>,
    /// Clients and the `jti` of their assertions.
    pub(super) used_assertions: HashSet<(String, String)>,
    pub(super) devices: DeviceCodes,
    pub(super) families: Families,
    pub(super) proofs: ProofState,
    pub(super) scripts: VecDeque<Script>,
    pub(super) record: Record,
    pub(super) lifetimes: Lifetimes,
    pub(super) rotation: Rotation,
    pub(super) device_approval: DeviceApproval,
    pub(super) signed_in_user: Option<String>,
    /// What overtook the access tokens of a user, by the user's name: the number grows with each event.
    pub(super) access_events: HashMap<String, u64>,
}

/// Users and clients, fixed at the start.
pub(super) struct Directory {
    pub(super) users: Vec<User>,
    clients: Vec<RegisteredClient>,
}

/// A client and its public keys, parsed.
pub(super) struct RegisteredClient {
    pub(super) client: Client,
    pub(super) keys: Vec<ClientKey>,
}

impl Directory {
    fn new(users: Vec<User>, clients: Vec<Client>) -> Result<Self, AuthorityError> {
        let clients = clients.into_iter().map(|client| {
            let certificates = client
                .assertion_certificates
                .iter()
                .map(ClientKey::of_certificate);
            let keys = client.assertion_keys.iter().map(|pem| ClientKey::from_pem(pem));
            let keys = certificates.chain(keys).map(|key| {
                key.ok_or_else(|| AuthorityError::PublicKey {
                    client_id: client.client_id.clone(),
                })
            });
            Ok(RegisteredClient {
                keys: keys.collect::<Result<_, _>>()?,
                client,
            })
        });
        Ok(Self {
            users,
            clients: clients.collect::<Result<_, AuthorityError>>()?,
        })
    }

    pub(super) fn user(&self, username: &str) -> Option<&User> {
        self.users
            .iter()
            .find(|user| user.username.eq_ignore_ascii_case(username))
    }

    pub(super) fn client(&self, client_id: &str) -> Result<&RegisteredClient, Refusal> {
        let found = self
            .clients
            .iter()
            .find(|registered| registered.client.client_id.eq_ignore_ascii_case(client_id));
        found.ok_or_else(|| {
            let text = format!("Application with identifier '{client_id}' was not found in the directory.");
            Refusal::new("unauthorized_client", 700_016, text)
        })
    }
}
