//! First starts that race.

use cache_testkit::secret_service::SecretServiceSession;
use tempfile::TempDir;

use crate::inside::{self, Program};

const PROCESSES: usize = 16;
const SERVICE: &str = "tokenkeep-race";

#[tokio::test]
async fn racing_first_starts_end_with_one_ring_and_one_key() {
    let session = SecretServiceSession::start().await.unwrap();
    let folder = TempDir::new().unwrap();
    let mut programs: Vec<_> = (0..PROCESSES)
        .map(|_| Program::start(session.run_inside(inside::NAME), folder.path(), SERVICE))
        .collect();
    // They are ready, and their keychains are opened, before they are told to start.
    for program in &mut programs {
        program.expect("examine", "ok");
    }
    for program in &mut programs {
        program.tell("open");
    }
    let answers: Vec<_> = programs.iter_mut().map(Program::hear).collect();
    for answer in &answers {
        assert_eq!(answer.word, "ok", "{answer:?}");
        assert_eq!(answer.text, answers[0].text);
    }

    let items = session.items().await.unwrap();
    assert_eq!(items.len(), 1, "{items:?}");
    // What the service keeps in clear is the application's name, and chance.
    for (attribute, value) in &items[0] {
        let is_random = value
            .strip_prefix("key-")
            .is_some_and(|name| name.len() == 32 && name.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let is_schema = attribute == "xdg:schema" && value == "org.freedesktop.Secret.Generic";
        assert!(
            is_random || is_schema || value == SERVICE,
            "{attribute} is {value:?}"
        );
    }
    // All of them, and one that starts later, open it with that key.
    drop(programs);
    let mut later = Program::start(session.run_inside(inside::NAME), folder.path(), SERVICE);
    assert_eq!(later.expect("open", "ok").text, answers[0].text);
    assert_eq!(later.expect("list", "ok").text, "1");
}
