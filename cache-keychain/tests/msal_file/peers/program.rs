//! The peers: programs that are driven line by line.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::within;

const PYTHON_PACKAGES: [&str; 2] = ["msal-extensions==1.3.1", "portalocker==3.2.0"];
const NODE_PACKAGE: &str = "@azure/msal-node-extensions@5.6.0";

/// How a peer locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// msal_extensions' `cache_lock`.
    Portalocker,
    /// msal_extensions' `filelock`.
    Existence,
    /// msal-node-extensions' `CrossPlatformLock`.
    Node,
    /// `FileChannel.tryLock`.
    Java,
    /// As MSAL Go, and .NET.
    Flock,
    /// `flock(1)` of util-linux.
    #[cfg(target_os = "linux")]
    Util,
}

/// Dropping it kills it.
pub(crate) struct Peer {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Starts a program that shares the cache file at `path`.
    pub(crate) async fn start(protocol: Protocol, path: &Path) -> Self {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/msal_file/peers");
        let (mut command, how_to_install) = match protocol {
            Protocol::Node => {
                let mut command = Command::new("node");
                command.arg(sources.join("peer.mjs")).arg(node_package());
                (command, "apt-get install nodejs npm; brew install node")
            }
            Protocol::Java => {
                let mut command = Command::new("java");
                // Of two compilers the one that starts sooner.
                command
                    .arg("-XX:TieredStopAtLevel=1")
                    .arg(sources.join("Peer.java"));
                (
                    command,
                    "apt-get install default-jdk-headless; brew install openjdk",
                )
            }
            #[cfg(target_os = "linux")]
            Protocol::Util => {
                let mut command = Command::new("sh");
                command.arg(sources.join("peer.sh"));
                (command, "apt-get install util-linux")
            }
            Protocol::Portalocker | Protocol::Existence | Protocol::Flock => {
                let mut command = Command::new("python3");
                let name = format!("{protocol:?}").to_lowercase();
                command
                    .arg("-B")
                    .arg(sources.join("peer.py"))
                    .arg(name)
                    .arg(python_packages());
                (
                    command,
                    "apt-get install python3 python3-pip; brew install python",
                )
            }
        };
        let mut child = command
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{protocol:?} does not start: {error}; {how_to_install}"));
        let mut peer = Self {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        };
        let ready = within(Duration::from_secs(60), "a peer's start", peer.stdout.next_line()).await;
        assert_eq!(
            ready.unwrap().as_deref(),
            Some("ready"),
            "{protocol:?} does not run here; {how_to_install}"
        );
        peer
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Has it do something that must succeed.
    pub(crate) async fn must(&mut self, command: &str) {
        self.send(command).await;
        let answer = within(Duration::from_secs(60), "a peer", self.answer()).await;
        assert_eq!(answer, "done", "the peer's answer to {command}");
    }

    pub(crate) async fn send(&mut self, command: &str) {
        let line = format!("{command}\n");
        self.stdin.write_all(line.as_bytes()).await.unwrap();
    }

    /// Cancellation safe.
    pub(crate) async fn answer(&mut self) -> String {
        self.stdout.next_line().await.unwrap().expect("the peer runs")
    }

    /// As by `kill -9`, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// The directory with the packages of Python.
fn python_packages() -> PathBuf {
    obtain(&format!("python-{}", PYTHON_PACKAGES.join("-")), |directory| {
        let mut command = std::process::Command::new("python3");
        command
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            // Of the one package only a module is loaded, which needs the other alone.
            .args(["--no-deps", "--target"])
            .arg(directory)
            .args(PYTHON_PACKAGES);
        run(&mut command, "install packages for Python");
    })
}

/// The directory with the package of Node.
fn node_package() -> PathBuf {
    let unpacked = obtain(&NODE_PACKAGE.replace('/', "-"), |directory| {
        let mut pack = std::process::Command::new("npm");
        pack.args(["pack", "--silent", NODE_PACKAGE])
            .current_dir(directory);
        run(&mut pack, "download a package of Node");
        let mut unpack = std::process::Command::new("sh");
        unpack.args(["-c", "tar -xzf ./*.tgz"]).current_dir(directory);
        run(&mut unpack, "unpack a package of Node");
    });
    unpacked.join("package")
}

/// A directory under the target directory that `fill` fills once.
fn obtain(name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("msal-file-peers");
    fs::create_dir_all(&parent).unwrap();
    // Tests run at once, in threads or in processes: one of them fills it.
    let lock = File::create(parent.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let (directory, filled) = (parent.join(name), parent.join(format!("{name}.filled")));
    if !filled.exists() {
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        fill(&directory);
        File::create(filled).unwrap();
    }
    directory
}

fn run(command: &mut std::process::Command, purpose: &str) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot {purpose}: {error}"));
    assert!(
        output.status.success(),
        "cannot {purpose}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
