//! The recommendation in plain words, with its numbers. Pure, as the choice is.

use super::choice::{Choice, Contender, measures, median_figures, ratios};
use super::{Confirmation, Outcome};
use crate::report::units::{count, duration, rate, times};
use crate::workload::file::{StoreKind, Workload};
use crate::workload::measured::Figures;

/// The recommendation in one paragraph.
#[must_use]
pub fn paragraph(
    workload: &Workload,
    contenders: &[Contender],
    choice: &Choice,
    confirmation: Option<&Confirmation>,
) -> String {
    let Some((contender, figures)) = contenders
        .get(choice.chosen)
        .and_then(|contender| Some((contender, median_figures(&contender.runs)?)))
    else {
        return String::new();
    };
    let waits = waits_of(workload);
    let mut sentences = vec![format!(
        "Take {}. The slowest hundredth of {waits} took {} on average (median {}), the authority was asked {} a second, and each cost {} \
         of processor time.",
        contender.candidate.title(workload),
        duration(figures.slowest_nanoseconds),
        duration(figures.median_nanoseconds),
        rate(figures.requests_per_second),
        duration(figures.cpu_nanoseconds),
    )];
    sentences.extend(reasons(contenders, choice.chosen).into_iter().take(3));
    if choice.alike.len() > 1 {
        let others = choice.alike.len() - 1;
        sentences.push(format!(
            "{others} other{} measured the same within noise; this is the safest and simplest of them.",
            if others == 1 { "" } else { "s" }
        ));
    }
    sentences.extend(confirmation.map(confirmed));
    if contender.candidate.store == StoreKind::Memory {
        sentences.push(format!(
            "Nothing survives a restart then, which costs {} requests in each process: if that is too much, take the best of the other stores \
             in the table.",
            count(workload.tokens())
        ));
    }
    sentences.extend(beyond_one_machine(workload, contenders, choice.chosen));
    sentences.join(" ")
}

/// What people wait for.
#[must_use]
pub fn waits_of(workload: &Workload) -> &'static str {
    if workload.is_short_lived() {
        "the processes"
    } else {
        "the calls"
    }
}

/// Why it is this one: what each choice would be worth that differs in one thing, the most telling first.
#[must_use]
pub fn reasons(contenders: &[Contender], chosen: usize) -> Vec<String> {
    const NAMES: [&str; 4] = [
        "the slowest waits",
        "the median wait",
        "requests at the authority",
        "processor time",
    ];
    let Some((ours, mine)) = contenders
        .get(chosen)
        .and_then(|contender| Some((contender, median_figures(&contender.runs)?)))
    else {
        return Vec::new();
    };
    let mut told: Vec<(f64, String)> = Vec::new();
    for contender in contenders {
        let difference = contender.candidate.difference(&ours.candidate);
        let ([only], Some(theirs)) = (&difference[..], median_figures(&contender.runs)) else {
            continue;
        };
        let ratios = ratios(&mine, &theirs);
        let Some((most, ratio)) = ratios
            .into_iter()
            .enumerate()
            .filter(|(_, ratio)| *ratio >= 1.15)
            .max_by(|a, b| a.1.total_cmp(&b.1))
        else {
            continue;
        };
        let sentence = format!(
            "With {only} instead, {} would be {} ({} against {}).",
            NAMES[most],
            times(ratio),
            shown(most, &theirs),
            shown(most, &mine)
        );
        told.push((ratio, sentence));
    }
    told.sort_by(|a, b| b.0.total_cmp(&a.0));
    told.into_iter().map(|(_, sentence)| sentence).collect()
}

fn shown(which: usize, figures: &Figures) -> String {
    let value = measures(figures)[which];
    if which == 2 {
        format!("{} a second", rate(value))
    } else {
        duration(value)
    }
}

fn confirmed(confirmation: &Confirmation) -> String {
    let beside = match confirmation.contenders.len() {
        0 | 1 => "nothing else".to_owned(),
        2 => "the runner-up".to_owned(),
        _ => "the runner-up and the workload's own strategy".to_owned(),
    };
    match confirmation.outcome {
        Outcome::First => format!(
            "A rerun with seed {} beside {beside} put it first again.",
            confirmation.seed
        ),
        Outcome::Alike => format!(
            "A rerun with seed {} beside {beside} found it as good as the best of them within noise.",
            confirmation.seed
        ),
        Outcome::Contradicted => format!(
            "A rerun with seed {} beside {beside} did not confirm it: treat them as equal, or measure longer (--budget).",
            confirmation.seed
        ),
    }
}

/// A file serves one machine only, which no measurement on one machine can show.
fn beyond_one_machine(workload: &Workload, contenders: &[Contender], chosen: usize) -> Option<String> {
    let ours = contenders.get(chosen)?;
    if ours.candidate.store != StoreKind::Sqlite || workload.load.processes == 1 || workload.is_short_lived()
    {
        return None;
    }
    let same = contenders.iter().find(|contender| {
        contender.candidate.store == StoreKind::Redis
            && contender.candidate.strategy == ours.candidate.strategy
    })?;
    let (mine, theirs) = (median_figures(&ours.runs)?, median_figures(&same.runs)?);
    Some(format!(
        "SQLite serves the processes of one machine; for several machines take Redis with the same strategy, at {} of processor time against \
         {} here.",
        duration(theirs.cpu_nanoseconds),
        duration(mine.cpu_nanoseconds)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::choice::choose;
    use super::super::matrix::Candidate;
    use super::*;
    use crate::workload::presets;
    use crate::workload::strategy::Refresh;

    fn figures(milliseconds: f64, requests: f64) -> Figures {
        Figures {
            median_nanoseconds: 2_000.0,
            p99_nanoseconds: milliseconds * 1e6,
            slowest_nanoseconds: milliseconds * 1e6,
            requests_per_second: requests,
            cpu_nanoseconds: 9_000.0,
            failed: 0,
            calls: 5000,
        }
    }

    #[test]
    fn a_recommendation_has_its_numbers_its_reasons_and_its_confirmation() {
        let workload = presets::workload("web-front-end").unwrap();
        let ahead = Candidate::of(&workload);
        let mut on_demand = ahead;
        on_demand.strategy.refresh = Refresh::OnDemand;
        let contenders = [
            Contender {
                candidate: ahead,
                runs: vec![figures(2.0, 40.0), figures(2.1, 41.0)],
            },
            Contender {
                candidate: on_demand,
                runs: vec![figures(60.0, 30.0)],
            },
        ];
        let choice = choose(&contenders, 0).unwrap();
        let confirmation = Confirmation {
            seed: 8,
            contenders: contenders.to_vec(),
            outcome: Outcome::First,
        };
        let text = paragraph(&workload, &contenders, &choice, Some(&confirmation));
        assert!(
            text.starts_with("Take SQLite, 64 MiB trusted 30 s, refresh ahead."),
            "{text}"
        );
        assert!(
            text.contains("took 2.05 ms on average (median 2.00 µs)"),
            "{text}"
        );
        assert!(
            text.contains(
                "With refresh on demand instead, the slowest waits would be 29 × (60.0 ms against 2.05 ms)."
            ),
            "{text}"
        );
        assert!(
            text.contains("rerun with seed 8 beside the runner-up put it first again."),
            "{text}"
        );
    }
}
