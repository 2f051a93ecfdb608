//! The shipped workloads: `tokenkeep bench --explore` on each, and what it recommends.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::command::{Failure, cargo, root, run};

/// What `tokenkeep bench` writes, as far as the document tells of it.
#[derive(Deserialize)]
struct Findings {
    made: Made,
    workload: Workload,
    #[serde(default)]
    exploration: Option<Exploration>,
}

#[derive(Deserialize)]
struct Made {
    date: String,
    command: String,
    machine: String,
}

#[derive(Deserialize)]
struct Workload {
    title: String,
    summary: String,
}

#[derive(Deserialize)]
struct Exploration {
    /// The recommendation in plain words.
    paragraph: String,
    /// The recommendation as Rust.
    expression: String,
}

/// The names of the workloads: those of the files that are shipped.
fn names() -> Result<Vec<String>, Failure> {
    let folder = root().join("benches/src/workload/presets");
    let unreadable = |error| Failure::new(format!("could not read {}: {error}", folder.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Seconds for each workload. Twice what a person gets by default: the document tells of stores
/// whose processor time differs by less than one run varies, and more laps tell them apart.
const BUDGET: &str = "240";

/// Compares the strategies on each workload; pages and numbers go to `workloads` in `folder`.
pub(super) fn explore(quick: bool, folder: &Path) -> Result<(), Failure> {
    for name in names()? {
        let program = ["run", "--release", "--locked", "--package", "tokenkeep", "--"];
        run(cargo(program)
            .args(["bench", &name, "--explore", "--out"])
            .arg(place(folder, &name))
            .args(if quick {
                &["--quick", "--budget", "15"][..]
            } else {
                &["--budget", BUDGET]
            }))?;
    }
    Ok(())
}

/// A section of the document; `None` before anything was explored.
pub(super) fn section(folder: &Path) -> Result<Option<String>, Failure> {
    let mut text = String::new();
    for name in names()? {
        let path = place(folder, &name).with_extension("json");
        let Ok(json) = fs::read(&path) else { continue };
        let findings: Findings = serde_json::from_slice(&json)
            .map_err(|error| Failure::new(format!("{} is not a report: {error}", path.display())))?;
        text.push_str(&told(&findings));
    }
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!("\n## Which strategy for which workload?\n{text}")))
}

fn told(findings: &Findings) -> String {
    let Findings {
        made,
        workload,
        exploration,
    } = findings;
    let mut text = format!("\n### {}\n\n{}\n", workload.title, workload.summary);
    if let Some(Exploration {
        paragraph,
        expression,
    }) = exploration
    {
        text.push_str(&format!("\n{paragraph}\n\n```rust\n{expression}\n```\n"));
    }
    text.push_str(&format!(
        "\n*{}, {}: `{}`*\n",
        made.date, made.machine, made.command
    ));
    text
}

fn place(folder: &Path, name: &str) -> std::path::PathBuf {
    folder.join("workloads").join(format!("{name}.html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recommendation_is_told_with_its_command() {
        let json = r#"{"made": {"date": "2026-11-21", "command": "tokenkeep bench x", "machine": "Fast", "seed": 1},
            "workload": {"title": "A tool", "summary": "One user."},
            "exploration": {"paragraph": "Choose SQLite.", "expression": "Strategy::desktop_tool()", "contenders": []}}"#;
        let text = told(&serde_json::from_str(json).unwrap());
        assert_eq!(
            text,
            "\n### A tool\n\nOne user.\n\nChoose SQLite.\n\n```rust\nStrategy::desktop_tool()\n```\n\n*2026-11-21, Fast: `tokenkeep bench x`*\n"
        );
    }

    #[test]
    fn the_shipped_workloads_are_known() {
        assert!(names().unwrap().contains(&"desktop-tool".to_owned()));
    }
}
