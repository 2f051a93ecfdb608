//! What a server shall be like.

use cache_core::random::{OsRandom, random_bytes};
use cache_core::secret::Secret;

use super::cli::{ADMINISTRATOR, Administrator};
use super::process::{Process, base_configuration};
use super::server::{Endpoint, RedisServer};
use super::tls::Certificates;
use super::{ClientCertificates, Error, Program, port};

/// How often another port is tried when somebody took the one that was free.
const ATTEMPTS: usize = 5;

/// Describes a [`RedisServer`]. Without more it listens on a port of 127.0.0.1, keeps nothing on disk and asks nobody
/// for a password.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct RedisServerBuilder {
    program: Program,
    socket: bool,
    tls: Option<ClientCertificates>,
    users: Vec<User>,
    append_only: bool,
    primary: Option<Primary>,
    directives: Vec<String>,
}

#[derive(Clone, Debug)]
struct User {
    name: String,
    password: Secret,
    rules: String,
}

#[derive(Clone, Debug)]
struct Primary {
    port: u16,
    /// Of its administrator, where its default user is off.
    password: Option<Secret>,
}

impl RedisServerBuilder {
    /// Runs this program; Redis if nothing is said.
    pub fn program(mut self, program: Program) -> Self {
        self.program = program;
        self
    }

    /// Adds a line to the configuration, such as `("maxmemory-policy", "noeviction")`.
    pub fn directive(mut self, name: &str, value: &str) -> Self {
        self.directives.push(format!("{name} {value}"));
        self
    }

    /// Listens on a unix socket and on no port.
    pub fn unix_socket(mut self) -> Self {
        self.socket = true;
        self
    }

    /// Speaks TLS only, with a certificate for `localhost` and 127.0.0.1 of an authority of its own.
    pub fn tls(mut self, clients: ClientCertificates) -> Self {
        self.tls = Some(clients);
        self
    }

    /// Adds a user with these ACL rules, such as `~tk:* &tk:* +@all`, and turns the default user off.
    pub fn acl_user(mut self, name: &str, password: &str, rules: &str) -> Self {
        self.users.push(User {
            name: name.to_owned(),
            password: Secret::new(password),
            rules: rules.to_owned(),
        });
        self
    }

    /// Writes every command to disk before it is acknowledged, so that [`RedisServer::restart`] finds what there was.
    pub fn append_only(mut self, append_only: bool) -> Self {
        self.append_only = append_only;
        self
    }

    /// Copies this server, which must speak plain TCP.
    pub fn replica_of(mut self, primary: &RedisServer) -> Self {
        self.primary = Some(Primary {
            port: primary.port(),
            password: primary.replication_password(),
        });
        self
    }

    /// Uses at most this much memory, such as `"2mb"`.
    pub fn max_memory(self, bytes: &str) -> Self {
        self.directive("maxmemory", bytes)
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] and [`Error::Start`] when it is not there; [`Error::NotReady`] when it ended, for example
    /// because it does not know a directive.
    pub async fn start(self) -> Result<RedisServer, Error> {
        let mut attempt = 1;
        loop {
            match self.attempt().await {
                Err(Error::NotReady { log, .. }) if is_taken(&log) && attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn attempt(&self) -> Result<RedisServer, Error> {
        let mut process = Process::new(self.program)?;
        let port = port::free()?;
        let path = process.folder().join("server.sock");
        let password = random_password()?;
        let certificates = match self.tls {
            Some(_) => Some(Certificates::write(process.folder())?),
            None => None,
        };
        let configuration = self.configuration(&process, port, &password);
        process.configure(&configuration, &[])?;
        let endpoint = match (self.socket, self.tls) {
            (true, _) => Endpoint::Socket,
            (false, Some(_)) => Endpoint::Tls,
            (false, None) => Endpoint::Tcp,
        };
        let administrator = Administrator::Socket { path, password };
        let is_protected = !self.users.is_empty();
        let mut server = RedisServer::new(process, endpoint, port, administrator, is_protected, certificates);
        server.restart().await?;
        Ok(server)
    }

    fn configuration(&self, process: &Process, port: u16, password: &Secret) -> String {
        let (tcp, tls) = match (self.socket, self.tls) {
            (true, _) => (0, 0),
            (false, Some(_)) => (0, port),
            (false, None) => (port, 0),
        };
        let mut lines = base_configuration(process.folder());
        let mut line = |text: &str| {
            lines.push_str(text);
            lines.push('\n');
        };
        line("bind 127.0.0.1\nprotected-mode no\nsave \"\"\nenable-debug-command local");
        line("unixsocket server.sock\nunixsocketperm 700");
        // Else a replica's first copy waits five seconds for other replicas that may come, and it is known only after
        // ten that it has arrived.
        line("repl-diskless-sync-delay 0\nrepl-ping-replica-period 1");
        line(&format!("port {tcp}"));
        if let Some(clients) = self.tls {
            line(&format!("tls-port {tls}"));
            line(&Certificates::configuration(clients));
        }
        line(&format!(
            "user {ADMINISTRATOR} on >{} ~* &* +@all",
            password.expose()
        ));
        if !self.users.is_empty() {
            line("user default off");
        }
        for user in &self.users {
            let User {
                name,
                password,
                rules,
            } = user;
            line(&format!("user {name} on >{} {rules}", password.expose()));
        }
        if self.append_only {
            line("appendonly yes\nappendfsync always");
        }
        if let Some(Primary { port, password }) = &self.primary {
            line(&format!("replicaof 127.0.0.1 {port}"));
            if let Some(password) = password {
                line(&format!(
                    "masteruser {ADMINISTRATOR}\nmasterauth {}",
                    password.expose()
                ));
            }
        }
        for directive in &self.directives {
            line(directive);
        }
        lines
    }
}

fn is_taken(log: &str) -> bool {
    log.contains("Address already in use")
}

fn random_password() -> Result<Secret, Error> {
    let bytes: [u8; 16] =
        random_bytes(&OsRandom).map_err(|error| Error::start("random numbers")(error.to_string()))?;
    let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Secret::new(hexadecimal))
}
