//! `demo`, which checks itself.

use crate::program::Program;

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_holds_without_a_terminal() {
    let mut program = Program::new();
    // None of these is for the demonstration.
    program.set("TOKENKEEP_AUTHORITY", "https://login.example.org/common");
    program.set("TOKENKEEP_CLIENT_ID", "somebody");
    program.set("TOKENKEEP_SCOPE", "something");
    let ran = program.run(&["--json", "demo"]).await.succeeded();
    let tokens = ran.object()["tokens"].clone();
    let sources: Vec<_> = tokens
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["source"].as_str().unwrap())
        .collect();
    for source in ["memory", "store", "authority"] {
        assert!(sources.contains(&source), "{sources:?}");
    }
    assert!(!ran.stderr.contains('\x1b'), "colours without a terminal");
    assert!(ran.stderr.contains("the authority saw one refresh"));
    assert!(
        !program.path("cache.db").exists(),
        "the demonstration keeps to its own folder"
    );
}
