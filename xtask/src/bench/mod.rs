//! `cargo xtask bench`: every question, beside the peers, and the document about the answers.

mod document;
mod numbers;
mod questions;
mod report;
mod targets;
mod workloads;

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Failure, root, target_folder};
use crate::prerequisites::{self, Installation};
pub(crate) use numbers::number;
pub(crate) use report::Machine;
use report::{Report, Row};

/// What is to be measured, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// A smoke run, whose values say nothing.
    pub(crate) quick: bool,
    pub(crate) installation: Installation,
    /// Only these; all of them when there are none.
    pub(crate) questions: Vec<String>,
}

impl Selection {
    /// Reads the arguments after `bench`; `None` when one is not known.
    pub(crate) fn parse(arguments: &[&str]) -> Option<Self> {
        let mut selection = Self {
            quick: false,
            installation: Installation::Allowed,
            questions: Vec::new(),
        };
        for argument in arguments {
            match *argument {
                "--quick" => selection.quick = true,
                "--no-install" => selection.installation = Installation::Forbidden,
                option if option.starts_with('-') => return None,
                question => selection.questions.push(question.to_owned()),
            }
        }
        Some(selection)
    }

    fn wants(&self, question: &str) -> bool {
        self.questions.is_empty() || self.questions.iter().any(|wanted| wanted == question)
    }
}

/// Answers the selected questions, one after the other, also after one failed; then prints the targets and writes the document from these and
/// earlier answers.
pub(crate) fn run(selection: &Selection) -> Result<(), Failure> {
    prerequisites::ensure(selection.installation)?;
    let folder = folder(selection.quick)?;
    fs::create_dir_all(&folder)
        .map_err(|error| Failure::new(format!("could not make {}: {error}", folder.display())))?;

    let known = questions::all()?;
    for wanted in &selection.questions {
        if !known.iter().any(|question| question == wanted) && wanted != PEERS && wanted != WORKLOADS {
            return Err(Failure::new(format!(
                "there is no question {wanted}; there are {}, {PEERS} and {WORKLOADS}",
                known.join(", ")
            )));
        }
    }
    let mut failed = Vec::new();
    let wanted: Vec<&String> = known
        .iter()
        .filter(|question| selection.wants(question))
        .collect();
    if !wanted.is_empty() {
        questions::build(&wanted)?;
    }
    for question in wanted {
        if let Err(failure) = questions::answer(question, selection.quick, &folder) {
            failed.push(format!("{question}: {failure}"));
        }
    }
    if selection.wants(PEERS)
        && let Err(failure) = questions::answer_peers(selection.quick, &folder)
    {
        failed.push(format!("{PEERS}: {failure}"));
    }

    if selection.wants(WORKLOADS)
        && let Err(failure) = workloads::explore(selection.quick, &folder)
    {
        failed.push(format!("{WORKLOADS}: {failure}"));
    }

    write(selection.quick, &folder)?;
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("not answered:\n  {}", failed.join("\n  "))))
}

/// The question of the package `benches/peers`.
const PEERS: &str = "peers";
/// `tokenkeep bench` on the shipped workloads.
const WORKLOADS: &str = "workloads";

fn write(quick: bool, folder: &Path) -> Result<(), Failure> {
    let rows = Row::all()?;
    let reports = Report::all(folder)?;
    println!("{}", targets::as_text(&targets::judge(&rows, &reports)));

    let document = document::write(&rows, &reports, workloads::section(folder)?.as_deref());
    // What a smoke run says is not to be read.
    let path = if quick {
        folder.join("performance.md")
    } else {
        root().join("docs/performance.md")
    };
    fs::write(&path, document)
        .map_err(|error| Failure::new(format!("could not write {}: {error}", path.display())))?;
    println!("Written: {}", path.display());
    Ok(())
}

/// Where the answers are: not in the same place for those that say nothing.
fn folder(quick: bool) -> Result<PathBuf, Failure> {
    Ok(target_folder()?.join(if quick { "bench-quick" } else { "bench" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_selected_by_name() {
        let all = Selection::parse(&[]).unwrap();
        assert!(!all.quick && all.wants("lookups") && all.wants(PEERS));
        let one = Selection::parse(&["--quick", "cold"]).unwrap();
        assert!(one.quick && one.wants("cold") && !one.wants("lookups"));
        assert_eq!(Selection::parse(&["--slow"]), None);
    }
}
