//! The table of targets, with what was measured.

use super::numbers::number;
use super::report::{Report, Row, Target, Verdict};

/// A row of the table and what was measured for it.
pub(super) struct Judged<'a> {
    pub(super) row: &'a Row,
    pub(super) targets: Vec<&'a Target>,
}

/// Every row of the table, in its order, with the targets of all reports.
pub(super) fn judge<'a>(rows: &'a [Row], reports: &'a [Report]) -> Vec<Judged<'a>> {
    let measured = |row: &Row| {
        let targets = reports.iter().flat_map(|report| &report.targets);
        targets.filter(|target| target.row == row.id).collect()
    };
    rows.iter()
        .map(|row| Judged {
            row,
            targets: measured(row),
        })
        .collect()
}

/// For people at a terminal.
pub(super) fn as_text(table: &[Judged<'_>]) -> String {
    let mut text = "\nThe targets\n".to_owned();
    for Judged { row, targets } in table {
        text.push_str(&format!("\n  {}\n    target: {}\n", row.what, row.target));
        if targets.is_empty() {
            text.push_str("    not measured\n");
        }
        for target in targets {
            let verdict = match target.verdict {
                Verdict::Met => "met   ",
                Verdict::Missed => "MISSED",
            };
            let measured = number(target.measured.median);
            text.push_str(&format!(
                "    {verdict} {measured:>10}  ({})  {}\n",
                target.criterion, target.name
            ));
        }
    }
    let all: Vec<&Target> = table.iter().flat_map(|judged| &judged.targets).copied().collect();
    let met = all.iter().filter(|target| target.verdict == Verdict::Met).count();
    text.push_str(&format!("\n  {met} of {} are met.\n", all.len()));
    text
}

/// For the document.
pub(super) fn as_markdown(table: &[Judged<'_>]) -> String {
    let mut text = "| what | target | measured | | |\n|---|---|---|--:|---|\n".to_owned();
    for Judged { row, targets } in table {
        let (mut what, mut wanted) = (row.what.as_str(), row.target.as_str());
        if targets.is_empty() {
            text.push_str(&format!("| {what} | {wanted} | not measured | | |\n"));
        }
        for target in targets {
            let verdict = match target.verdict {
                Verdict::Met => "met",
                Verdict::Missed => "**missed**",
            };
            text.push_str(&format!(
                "| {what} | {wanted} | {} ({}) | {} | {verdict} |\n",
                target.name,
                target.criterion,
                number(target.measured.median)
            ));
            (what, wanted) = ("", "");
        }
    }
    text.push_str(&misses(table));
    text
}

fn misses(table: &[Judged<'_>]) -> String {
    let mut text = String::new();
    for Judged { row, targets } in table {
        for target in targets.iter().filter(|target| target.verdict == Verdict::Missed) {
            let reason = target.reason.as_deref().unwrap_or("not known yet");
            let next = target.next_idea.as_deref().unwrap_or("none yet");
            text.push_str(&format!(
                "- **{}, {}**: {} instead of {}. Reason: {reason}. Next idea: {next}.\n",
                row.what,
                target.name,
                number(target.measured.median),
                target.criterion
            ));
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("\n### What is missed, why, and what could be tried next\n\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |id: &str| Row {
            id: id.into(),
            what: format!("what {id}"),
            target: "≤ 2 ×".into(),
        };
        vec![row("a"), row("b")]
    }

    fn reports() -> Vec<Report> {
        let json = r#"[{"question": "q", "title": "?", "date": "d", "command": "c",
            "machine": {"processor": "p", "processors": 2, "memory_mib": 1024, "system": "s", "rustc": "r"},
            "targets": [
                {"row": "a", "name": "one", "criterion": {"at_most": 2.0}, "verdict": "met",
                 "measured": {"median": 1.5, "lower": 1.4, "upper": 1.6}},
                {"row": "a", "name": "two", "criterion": {"at_least": 1.8}, "verdict": "missed",
                 "measured": {"median": 1.2, "lower": 1.1, "upper": 1.3}, "reason": "it waits", "next_idea": "wait less"}
            ]}]"#;
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn each_row_shows_its_targets_and_a_miss_its_reason() {
        let (rows, reports) = (rows(), reports());
        let table = judge(&rows, &reports);
        let text = as_text(&table);
        assert!(text.contains("met          1.50  (≤ 2)  one"), "{text}");
        assert!(text.contains("MISSED       1.20  (≥ 1.8)  two"), "{text}");
        assert!(
            text.contains("not measured") && text.contains("1 of 2 are met"),
            "{text}"
        );
        let markdown = as_markdown(&table);
        assert!(
            markdown.contains("| what a | ≤ 2 × | one (≤ 2) | 1.50 | met |\n|  |  | two"),
            "{markdown}"
        );
        assert!(
            markdown.contains("1.20 instead of ≥ 1.8. Reason: it waits. Next idea: wait less."),
            "{markdown}"
        );
    }
}
