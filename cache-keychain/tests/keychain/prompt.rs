//! Asking the user. GNOME Keyring asks through a program of the desktop, whose place these tests take.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cache_testkit::secret_service::SecretServiceSession;
use tempfile::TempDir;
use zbus::connection::Builder;
use zbus::message::Header;
use zbus::zvariant::{ObjectPath, OwnedObjectPath, OwnedValue, Value};
use zbus::{Connection, interface};

use crate::inside::{self, Program};

const WAIT: Duration = Duration::from_secs(4);

/// The program that shows GNOME Keyring's questions: it counts them, and closes them unanswered or never.
#[derive(Clone)]
struct Desktop {
    asked: Arc<AtomicUsize>,
    closes: bool,
}

#[interface(name = "org.gnome.keyring.internal.Prompter")]
impl Desktop {
    async fn begin_prompting(
        &self,
        callback: OwnedObjectPath,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (asker, connection) = (header.sender().unwrap().to_owned(), connection.clone());
        if !self.closes {
            return;
        }
        tokio::spawn(async move {
            let interface = "org.gnome.keyring.internal.Prompter.Callback";
            let _ = connection
                .call_method(Some(asker), callback, Some(interface), "PromptDone", &())
                .await;
        });
    }

    fn stop_prompting(&self, _callback: OwnedObjectPath) {}
}

impl Desktop {
    async fn start(session: &SecretServiceSession, closes: bool) -> (Self, Connection) {
        let desktop = Self {
            asked: Arc::default(),
            closes,
        };
        let connection = Builder::address(session.address().as_str())
            .unwrap()
            .serve_at("/org/gnome/keyring/Prompter", desktop.clone())
            .unwrap()
            .name("org.gnome.keyring.SystemPrompter")
            .unwrap()
            .build()
            .await
            .unwrap();
        (desktop, connection)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A program that waits for its user.
fn start(session: &SecretServiceSession, folder: &TempDir) -> Program {
    let mut command = session.run_inside(inside::NAME);
    command.env(inside::WAIT, WAIT.as_millis().to_string());
    Program::start(command, folder.path(), "tokenkeep-prompt")
}

/// The program's answer, which comes from another process while this one serves the bus.
async fn ask(mut program: Program, line: &'static str) -> (Program, inside::Answer) {
    let asked = tokio::task::spawn_blocking(move || {
        let answer = program.ask(line);
        (program, answer)
    });
    asked.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_does_not_unlock_is_asked_once_for_all_that_wait() {
    let session = SecretServiceSession::start().await.unwrap();
    let (desktop, _connection) = Desktop::start(&session, true).await;
    session.lock().await.unwrap();
    let folder = TempDir::new().unwrap();
    let (program, answer) = ask(start(&session, &folder), "open").await;
    assert_eq!(answer.word, "Locked", "{answer:?}");
    assert!(answer.text.contains("was asked to unlock it"), "{answer:?}");
    assert_eq!(desktop.asked(), 1);
    let (program, answer) = ask(program, "together").await;
    assert_eq!(answer.text, "Locked Locked Locked Locked");
    assert_eq!(desktop.asked(), 2, "one question for the four of them");
    // Looking asks nobody.
    let (program, answer) = ask(program, "examine").await;
    assert!(answer.text.contains("locked=true"), "{answer:?}");
    assert_eq!(desktop.asked(), 2);

    session.unlock().await.unwrap();
    let (_, answer) = ask(program, "open").await;
    assert_eq!(answer.word, "ok", "{answer:?}");
    assert_eq!(desktop.asked(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_is_away_is_waited_for_so_long() {
    let session = SecretServiceSession::start().await.unwrap();
    let (desktop, _connection) = Desktop::start(&session, false).await;
    session.lock().await.unwrap();
    let folder = TempDir::new().unwrap();
    let (program, answer) = ask(start(&session, &folder), "open").await;
    assert_eq!(answer.word, "TimedOut", "{answer:?}");
    assert!(
        answer.took >= WAIT - Duration::from_millis(500),
        "the user had the time: {answer:?}"
    );
    assert_eq!(desktop.asked(), 1);
    session.unlock().await.unwrap();
    let (_, answer) = ask(program, "open").await;
    assert_eq!(answer.word, "ok", "{answer:?}");
}

#[tokio::test]
async fn nobody_is_asked_unless_it_is_allowed() {
    let session = SecretServiceSession::start().await.unwrap();
    let (desktop, _connection) = Desktop::start(&session, true).await;
    session.lock().await.unwrap();
    let folder = TempDir::new().unwrap();
    let program = Program::start(
        session.run_inside(inside::NAME),
        folder.path(),
        "tokenkeep-prompt",
    );
    let (program, answer) = ask(program, "open").await;
    assert_eq!(answer.word, "Locked", "{answer:?}");
    let (_, answer) = ask(program, "try").await;
    assert_eq!(answer.word, "Locked", "{answer:?}");
    assert_eq!(desktop.asked(), 0);
}

/// Makes another keyring, which is the default one from now on, and locks the former.
async fn put_aside_the_keyring(session: &SecretServiceSession) {
    const SERVICE: &str = "org.freedesktop.Secret.Service";
    const GNOME: &str = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface";
    session.lock().await.unwrap();
    let address = session.address();
    let bus = Builder::address(address.as_str()).unwrap().build().await.unwrap();
    let (name, path) = ("org.freedesktop.secrets", "/org/freedesktop/secrets");
    let plain = ("plain", Value::from(""));
    let reply = bus.call_method(Some(name), path, Some(SERVICE), "OpenSession", &plain);
    let reply = reply.await.unwrap();
    let (_, of_secrets): (OwnedValue, OwnedObjectPath) = reply.body().deserialize().unwrap();
    let secret: (ObjectPath<'_>, &[u8], &[u8], &str) = (of_secrets.into_inner(), &[], b"other", "text/plain");
    let label = HashMap::from([("org.freedesktop.Secret.Collection.Label", Value::from("other"))]);
    let keyring = (label, secret);
    let made = bus.call_method(
        Some(name),
        path,
        Some(GNOME),
        "CreateWithMasterPassword",
        &keyring,
    );
    let made = made.await.unwrap();
    let keyring: OwnedObjectPath = made.body().deserialize().unwrap();
    let alias = ("default", keyring);
    let aliased = bus.call_method(Some(name), path, Some(SERVICE), "SetAlias", &alias);
    aliased.await.unwrap();
}

#[tokio::test]
async fn nobody_is_asked_to_unlock_a_keyring_that_is_no_longer_the_default_one() {
    let session = SecretServiceSession::start().await.unwrap();
    let (desktop, _connection) = Desktop::start(&session, true).await;
    let folder = TempDir::new().unwrap();
    let program = Program::start(
        session.run_inside(inside::NAME),
        folder.path(),
        "tokenkeep-prompt",
    );
    let (mut program, answer) = ask(program, "open").await;
    assert_eq!(answer.word, "ok", "{answer:?}");

    put_aside_the_keyring(&session).await;
    for line in ["open", "list"] {
        let answer;
        (program, answer) = ask(program, line).await;
        assert_eq!(answer.word, "Locked", "{answer:?}");
        assert!(answer.text.contains("not the default one"), "{answer:?}");
    }
    assert_eq!(desktop.asked(), 0);
    // The default one can be used.
    let (_, answer) = ask(program, "try").await;
    assert_eq!(answer.word, "ok", "{answer:?}");
}
