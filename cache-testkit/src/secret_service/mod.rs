//! A private session bus with a real Secret Service on it: GNOME Keyring, which most Linux desktops have, or KeePassXC.
//!
//! Bus, service and keyrings are in a temporary folder, and end with the value that stands for them, also when the test panics or is
//! killed. The bus starts no service by itself, so a service that the test stopped stays away.
//!
//! A process finds its bus by environment variables, which a test cannot change for itself. So it runs itself once more, inside:
//!
//! ```no_run
//! use cache_testkit::secret_service::{self, Keyrings, SecretServiceSession};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // In the test `keyring::is_there` of `tests/keyring.rs`:
//! if secret_service::is_inside() {
//!     println!("what needs the session");
//!     return Ok(());
//! }
//! let mut session = SecretServiceSession::start().await?;
//! let output = session.run_inside("keyring::is_there").output()?;
//! assert!(output.status.success());
//! assert!(String::from_utf8_lossy(&output.stdout).contains("what needs the session"));
//!
//! session.lock().await?; // as a desktop does when its user is away
//! session.pause_service()?; // it keeps its connections and answers nobody
//! session.replace_service(Keyrings::New).await?; // another one, with nothing in it
//! # Ok(())
//! # }
//! ```

mod bus;
mod call;
mod error;
mod keepassxc;
mod process;

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cache_core::time::{Clock, SystemClock};
use rustix::process::Signal;
use tempfile::TempDir;

use self::call::Calls;
pub use self::error::Error;
use self::process::Process;

const GNOME_KEYRING: &str = "gnome-keyring-daemon";

/// Of the keyring that the service opens at its start. Not empty: the service unlocks a keyring without password by itself.
const PASSWORD: &str = "the session's";

/// The test runs inside a session.
const INSIDE_VARIABLE: &str = "TOKENKEEP_TEST_INSIDE_SESSION";

/// Ready after a few milliseconds; on a loaded machine it takes longer.
const LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

/// A session bus, and a Secret Service on it. Both end when this is dropped.
#[derive(Debug)]
pub struct SecretServiceSession {
    program: Program,
    service: Option<Process>,
    bus: Option<Process>,
    // After the processes, which must not write into a folder that is being removed.
    folder: TempDir,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    GnomeKeyring,
    KeePassXc,
}

/// What a service starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyrings {
    /// What the service before it kept.
    Kept,
    /// An empty one.
    New,
}

impl SecretServiceSession {
    /// A bus with a service whose keyring is unlocked.
    ///
    /// # Errors
    /// [`Error`] when a program is missing or does not become ready.
    pub async fn start() -> Result<Self, Error> {
        let mut session = Self::start_without_service().await?;
        session.start_service(Keyrings::New).await?;
        Ok(session)
    }

    /// A bus with KeePassXC, whose database is unlocked. It can be locked, but not unlocked by [`unlock`](Self::unlock), nor started
    /// locked.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_keepassxc() -> Result<Self, Error> {
        let mut session = Self::start_without_service().await?;
        session.program = Program::KeePassXc;
        session.start_service(Keyrings::New).await?;
        Ok(session)
    }

    /// A bus that nobody offers secrets on, as in a minimal desktop.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_without_service() -> Result<Self, Error> {
        let mut session = Self::without_bus()?;
        session.bus = Some(bus::start(session.folder()).await?);
        Ok(session)
    }

    /// The environment of a session without its bus, as over SSH and in a container.
    ///
    /// # Errors
    /// [`Error::Start`] when the folder cannot be made.
    pub fn without_bus() -> Result<Self, Error> {
        let folder = TempDir::with_prefix("tokenkeep-session-").map_err(Error::start("a folder"))?;
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700);
        for name in ["run", "data"] {
            builder
                .create(folder.path().join(name))
                .map_err(Error::start("a folder"))?;
        }
        Ok(Self {
            program: Program::GnomeKeyring,
            service: None,
            bus: None,
            folder,
        })
    }

    /// Gives a child the environment of the session: its bus, and folders of its own for what is kept and for what runs.
    pub fn configure(&self, command: &mut Command) {
        command
            .env("DBUS_SESSION_BUS_ADDRESS", self.address())
            .env("XDG_RUNTIME_DIR", self.folder().join("run"))
            .env("XDG_DATA_HOME", self.data());
        if self.bus.is_none() {
            command.env_remove("DBUS_SESSION_BUS_ADDRESS");
        }
        // Nothing may find the keyring, or ask the person, of the desktop that the test is run on.
        for name in [
            "DISPLAY",
            "WAYLAND_DISPLAY",
            "GNOME_KEYRING_CONTROL",
            "DBUS_STARTER_ADDRESS",
        ] {
            command.env_remove(name);
        }
    }

    /// This test binary once more, inside the session, with the one test `name` (its path without the binary's name). There
    /// [`is_inside`] is true. What the test prints goes to standard output.
    #[must_use]
    pub fn run_inside(&self, name: &str) -> Command {
        // Without the program the caller's `output` fails, and says so.
        let mut command = Command::new(std::env::current_exe().unwrap_or_default());
        command
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(INSIDE_VARIABLE, "1");
        self.configure(&mut command);
        command
    }

    /// The address of the bus, also while there is none.
    #[must_use]
    pub fn address(&self) -> String {
        bus::address(self.folder())
    }

    /// The folder with everything of the session.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder where the service keeps its keyrings, and where programs keep their data (`XDG_DATA_HOME`).
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The number of the service's process, while there is one.
    #[must_use]
    pub fn service_id(&self) -> Option<u32> {
        self.service.as_ref().map(Process::id)
    }

    /// Locks the keyring, as a desktop does when its user is away.
    ///
    /// # Errors
    /// [`Error::Absent`] without a service; [`Error::Call`] when it refuses.
    pub async fn lock(&self) -> Result<(), Error> {
        let calls = self.calls().await?;
        let collection = calls.default_collection().await.ok_or(NO_COLLECTION)?;
        calls.lock(&collection).await?;
        for _ in 0..LIMIT.as_millis() / PAUSE.as_millis() {
            if !matches!(calls.is_locked(&collection).await, Ok(false)) {
                return Ok(());
            }
            SystemClock.sleep(PAUSE).await;
        }
        Err(Error::call("Lock")("the keyring stays unlocked"))
    }

    /// Unlocks the keyring, as its user does.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub async fn unlock(&self) -> Result<(), Error> {
        let calls = self.calls().await?;
        let collection = calls.default_collection().await.ok_or(NO_COLLECTION)?;
        calls.unlock(&collection, PASSWORD).await
    }

    /// Whether the keyring is locked.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub async fn is_locked(&self) -> Result<bool, Error> {
        let calls = self.calls().await?;
        let collection = calls.default_collection().await.ok_or(NO_COLLECTION)?;
        calls.is_locked(&collection).await
    }

    /// The attributes of every item, as the service keeps them in clear, each with its label under `xdg:label`.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub async fn items(&self) -> Result<Vec<HashMap<String, String>>, Error> {
        self.calls().await?.items().await
    }

    /// Stops the service (`SIGSTOP`): it keeps its connections and answers nobody.
    ///
    /// # Errors
    /// [`Error::Absent`] without a service; [`Error::Signal`] when it ended by itself.
    pub fn pause_service(&self) -> Result<(), Error> {
        self.signal(Signal::STOP, "SIGSTOP")
    }

    /// Lets a paused service go on (`SIGCONT`).
    ///
    /// # Errors
    /// As [`pause_service`](Self::pause_service).
    pub fn resume_service(&self) -> Result<(), Error> {
        self.signal(Signal::CONT, "SIGCONT")
    }

    /// Kills the service, also while it is paused. It does nothing where there is none.
    pub fn stop_service(&mut self) {
        self.service = None;
    }

    /// Starts a service, whose keyring is unlocked. Where one runs it does nothing.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_service(&mut self, keyrings: Keyrings) -> Result<(), Error> {
        self.launch(keyrings, true).await
    }

    /// Starts a service with the keyrings that were kept, locked, as after a sign-in without a password.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_locked_service(&mut self) -> Result<(), Error> {
        self.launch(Keyrings::Kept, false).await
    }

    /// Ends the service and starts another one on the same bus, unlocked.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn replace_service(&mut self, keyrings: Keyrings) -> Result<(), Error> {
        // It writes its database a moment after each change, and at its end.
        if self.program == Program::KeePassXc && keyrings == Keyrings::Kept {
            self.signal(Signal::TERM, "SIGTERM")?;
            let mut waited = Duration::ZERO;
            while self.service.as_mut().is_some_and(Process::is_running) && waited < LIMIT {
                SystemClock.sleep(PAUSE).await;
                waited += PAUSE;
            }
        }
        self.stop_service();
        self.start_service(keyrings).await
    }

    /// Has the bus deny every call of the service, as those of sandboxes do. For good.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub async fn deny_service(&self) -> Result<(), Error> {
        bus::configure(
            self.folder(),
            r#"<deny send_destination="org.freedesktop.secrets"/>"#,
        )?;
        self.calls().await?.reload_bus().await
    }

    /// Kills the bus, and with it the service. Every connection ends.
    pub fn stop_bus(&mut self) {
        self.service = None;
        self.bus = None;
    }

    async fn calls(&self) -> Result<Calls, Error> {
        if self.service.is_none() {
            return Err(Error::Absent { what: "service" });
        }
        Calls::open(&self.address()).await
    }

    fn signal(&self, signal: Signal, name: &'static str) -> Result<(), Error> {
        let service = self.service.as_ref().ok_or(Error::Absent { what: "service" })?;
        service.signal(signal, name)
    }

    async fn launch(&mut self, keyrings: Keyrings, unlock: bool) -> Result<(), Error> {
        if self.bus.is_none() {
            return Err(Error::Absent { what: "bus" });
        }
        if self.service.as_mut().is_some_and(Process::is_running) {
            return Ok(());
        }
        self.service = None;
        let kept = self.data().join("keyrings");
        if keyrings == Keyrings::New && kept.exists() {
            fs::remove_dir_all(&kept).map_err(Error::start("removing the keyrings"))?;
        }
        let (name, mut command) = self.command(unlock)?;
        let input = if unlock { Stdio::piped() } else { Stdio::null() };
        let mut process = Process::start(name, &mut command, self.folder(), input)?;
        if let Some(mut input) = process.child().stdin.take() {
            input
                .write_all(PASSWORD.as_bytes())
                .map_err(Error::start("its password"))?;
        }
        let calls = Calls::open(&self.address()).await?;
        until(name, &mut process, async || {
            match calls.default_collection().await {
                // KeePassXC offers its database before it has unlocked it.
                Some(collection) if unlock => matches!(calls.is_locked(&collection).await, Ok(false)),
                collection => collection.is_some(),
            }
        })
        .await?;
        self.service = Some(process);
        Ok(())
    }

    fn command(&self, unlock: bool) -> Result<(&'static str, Command), Error> {
        let name = match self.program {
            Program::GnomeKeyring => GNOME_KEYRING,
            Program::KeePassXc => keepassxc::PROGRAM,
        };
        let mut command = Command::new(name);
        self.configure(&mut command);
        match self.program {
            Program::KeePassXc => keepassxc::prepare(&mut command, self.folder(), &self.data())?,
            Program::GnomeKeyring => {
                command.args(["--foreground", "--components=secrets"]);
                command
                    .arg("--control-directory")
                    .arg(self.folder().join("run/keyring"));
                if unlock {
                    command.arg("--unlock");
                }
            }
        }
        Ok((name, command))
    }
}

/// Whether this process runs a test inside a session: see [`SecretServiceSession::run_inside`].
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE_VARIABLE).is_some()
}

const NO_COLLECTION: Error = Error::Absent {
    what: "default collection",
};

/// Waits until `is_ready`, while the process runs.
async fn until(
    program: &'static str,
    process: &mut Process,
    is_ready: impl AsyncFn() -> bool,
) -> Result<(), Error> {
    let start = SystemClock.monotonic();
    while process.is_running() && SystemClock.monotonic().saturating_sub(start) < LIMIT {
        if is_ready().await {
            return Ok(());
        }
        SystemClock.sleep(PAUSE).await;
    }
    Err(Error::NotReady {
        program,
        limit: LIMIT,
        output: process.output(),
    })
}
