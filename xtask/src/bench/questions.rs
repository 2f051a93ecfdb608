//! The programs that answer questions.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{Failure, cargo, root, run};

const PACKAGE: [&str; 5] = ["--locked", "--package", "benches", "--features", "questions"];

/// The names of all questions: those of the files and folders in `benches/benches`.
pub(super) fn all() -> Result<Vec<String>, Failure> {
    let folder = root().join("benches/benches");
    let unreadable = |error| Failure::new(format!("could not read {}: {error}", folder.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        // A question of several files has a folder with its `main.rs`.
        let is_question =
            path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file();
        if let Some(name) = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .filter(|_| is_question)
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Builds them at once, so that nothing is built while something is measured.
pub(super) fn build(questions: &[&String]) -> Result<(), Failure> {
    run(bench(questions.iter().map(|question| question.as_str())).arg("--no-run"))
}

/// Answers a question; its report goes to `folder`.
pub(super) fn answer(question: &str, quick: bool, folder: &Path) -> Result<(), Failure> {
    run(bench([question].into_iter())
        .args(["--", "--output"])
        .arg(folder)
        .args(quick.then_some("--quick")))
}

/// Measures what people use today beside this project, in a package of its own.
pub(super) fn answer_peers(quick: bool, folder: &Path) -> Result<(), Failure> {
    let manifest = "benches/peers/Cargo.toml";
    run(
        cargo(["run", "--release", "--locked", "--manifest-path", manifest])
            .args(["--", "--output"])
            .arg(folder)
            .args(quick.then_some("--quick")),
    )
}

fn bench<'a>(questions: impl Iterator<Item = &'a str>) -> Command {
    let mut command = cargo(["bench"]);
    command.args(PACKAGE);
    for question in questions {
        command.args(["--bench", question]);
    }
    command
}
