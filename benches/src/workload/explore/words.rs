//! The recommendation in plain words, with its numbers. Pure, as the rule is.

use super::contender::{Contender, median_figures};
use super::rule::{Choice, LEAST_RUNS, Needs, Step};
use super::{Confirmation, Outcome};
use crate::report::units::{count, duration, rate, times};
use crate::workload::file::{StoreKind, Workload};
use crate::workload::measured::Figures;

/// What the words are about.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The load.
    pub workload: &'a Workload,
    /// Every candidate; the first is what the workload itself says.
    pub contenders: &'a [Contender],
    /// Those that were chosen from.
    pub finalists: &'a [usize],
    /// The choice.
    pub choice: &'a Choice,
    /// What the workload asks of every strategy.
    pub needs: &'a Needs,
    /// The rerun.
    pub confirmation: Option<&'a Confirmation>,
}

/// The recommendation in one paragraph.
#[must_use]
pub fn paragraph(told: &Told<'_>) -> String {
    sentences(told).join(" ")
}

/// The sentences of the recommendation: what it is, its numbers, and then why.
#[must_use]
pub fn sentences(told: &Told<'_>) -> Vec<String> {
    let workload = told.workload;
    let Some((contender, figures)) = told
        .contenders
        .get(told.choice.chosen)
        .and_then(|contender| Some((contender, contender.median()?)))
    else {
        return Vec::new();
    };
    let mut sentences = vec![
        format!(
            "Take {}{}.",
            contender.candidate.title(workload),
            if told.choice.chosen == 0 {
                ", as the workload has it"
            } else {
                ""
            }
        ),
        format!(
            "The slowest hundredth of {} took {} on average (median {}), the authority was asked {} a second, and each cost {} of \
             processor time.",
            waits_of(workload),
            duration(figures.slowest_nanoseconds),
            duration(figures.median_nanoseconds),
            rate(figures.requests_per_second),
            duration(figures.cpu_nanoseconds),
        ),
    ];
    sentences.extend(told.needs.unmet(contender).map(|why| {
        format!("None of the strategies meets the workload’s needs, and this one does not either: {why}.")
    }));
    sentences.push(decided(told));
    sentences.extend(reasons(told).into_iter().take(3));
    sentences.push(confirmed(told));
    if contender.candidate.store == StoreKind::Memory {
        sentences.push(format!(
            "Nothing survives a restart then, which costs {} requests in each process: if that is too much, take the best of the other stores \
             in the table.",
            count(workload.tokens())
        ));
    }
    sentences.extend(beyond_one_machine(workload, told.contenders, told.choice.chosen));
    sentences
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

/// How many were out at each step, in the order of the steps.
#[must_use]
pub fn fates(choice: &Choice) -> Vec<(Step, usize)> {
    Step::ALL
        .into_iter()
        .map(|step| {
            (
                step,
                choice.out_at.iter().filter(|out| **out == Some(step)).count(),
            )
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Which step decided, and what the others did.
fn decided(told: &Told<'_>) -> String {
    let runs = told
        .finalists
        .iter()
        .filter_map(|index| told.contenders.get(*index))
        .map(|contender| contender.runs.len())
        .min()
        .unwrap_or(0);
    if runs < LEAST_RUNS {
        return format!(
            "There was no time to run the most promising ones {LEAST_RUNS} times, and fewer tell no difference from chance: give it a \
             greater --budget."
        );
    }
    let (rest, out): (Vec<_>, Vec<_>) = fates(told.choice)
        .into_iter()
        .partition(|(step, _)| *step == Step::Settings);
    let last = match rest.first() {
        Some((_, 1)) => {
            "of the two that no step tells apart it changes less of the workload’s own settings".to_owned()
        }
        Some((_, others)) => format!(
            "of the {} that no step tells apart it changes least of the workload’s own settings",
            others + 1
        ),
        None => "this one was left".to_owned(),
    };
    let of = format!("Of {} strategies", told.contenders.len());
    match out.split_first() {
        None if rest.is_empty() => "There was no other strategy to compare it with.".to_owned(),
        None => format!("{of} none was ruled out: {last}."),
        Some(((step, count), more)) => {
            let mut steps = vec![format!("{} ruled out {count}", step.title())];
            steps.extend(
                more.iter()
                    .map(|(step, count)| format!("{} {count}", step.title())),
            );
            format!("{of}, {}; {last}.", steps.join(", "))
        }
    }
}

/// Why it is this one: what each choice would cost that differs in one thing and is behind, the most telling first.
#[must_use]
pub fn reasons(told: &Told<'_>) -> Vec<String> {
    let Some((ours, mine)) = told
        .contenders
        .get(told.choice.chosen)
        .and_then(|contender| Some((contender, contender.median()?)))
    else {
        return Vec::new();
    };
    let mut reasons: Vec<(Step, f64, String)> = Vec::new();
    for (contender, out_at) in told.contenders.iter().zip(&told.choice.out_at) {
        let difference = contender.candidate.difference(&ours.candidate);
        let ([only], Some(theirs), Some(step)) = (&difference[..], contender.median(), *out_at) else {
            continue;
        };
        let (Some(this), Some(that)) = (step.figure(&mine), step.figure(&theirs)) else {
            continue;
        };
        // It may be behind the best at this step and not behind the chosen one.
        if that <= this {
            continue;
        }
        let sentence = format!(
            "With {only} instead, {} would be {} ({} against {}{}).",
            step.title(),
            times(that / this.max(f64::MIN_POSITIVE)),
            shown(step, that),
            shown(step, this),
            if contender.runs.len() < LEAST_RUNS {
                ", in the one run that it was given"
            } else {
                ""
            }
        );
        reasons.push((step, that / this.max(f64::MIN_POSITIVE), sentence));
    }
    reasons.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.total_cmp(&a.1)));
    reasons.into_iter().map(|(_, _, sentence)| sentence).collect()
}

fn shown(step: Step, value: f64) -> String {
    if step == Step::Requests {
        format!("{} a second", rate(value))
    } else {
        duration(value)
    }
}

/// What the rerun showed, either way.
fn confirmed(told: &Told<'_>) -> String {
    let Some(confirmation) = told.confirmation else {
        return "It was not run again: there was no time, or no rival.".to_owned();
    };
    let Some((ours, rivals)) = confirmation.contenders.split_first() else {
        return String::new();
    };
    let against: Vec<_> = rivals
        .iter()
        .zip(confirmation.choice.out_at.iter().skip(1))
        .map(|(rival, out_at)| {
            let step = out_at.or(confirmation.choice.out_at[0]).unwrap_or(Step::Waits);
            format!("{}: {}", named(told, rival), beside(step, ours, rival))
        })
        .collect();
    let laps = ours.runs.len();
    let verdict = match confirmation.outcome {
        Outcome::First => "confirmed it",
        Outcome::Alike => "found it no worse, and not the only one",
        Outcome::Contradicted => "did not confirm it: treat them as equal, or measure longer (--budget)",
    };
    format!(
        "A rerun of {laps} laps with other requests {verdict} ({}).",
        against.join("; ")
    )
}

fn named(told: &Told<'_>, rival: &Contender) -> String {
    let is_own = told
        .contenders
        .first()
        .is_some_and(|own| own.candidate == rival.candidate);
    if is_own {
        return "beside the workload’s own".to_owned();
    }
    let ours = told.contenders.get(told.choice.chosen);
    let difference = ours.map(|ours| rival.candidate.difference(&ours.candidate));
    format!("beside {}", difference.unwrap_or_default().join(", "))
}

/// What decided between two, in numbers.
fn beside(step: Step, ours: &Contender, rival: &Contender) -> String {
    let figures = |contender: &Contender| median_figures(&contender.runs);
    let (Some(mine), Some(theirs)) = (figures(ours), figures(rival)) else {
        return String::new();
    };
    let pair = |step: Step, mine: &Figures, theirs: &Figures| {
        let (this, that) = (step.figure(mine)?, step.figure(theirs)?);
        Some(format!(
            "{} {} against {}",
            step.title(),
            shown(step, this),
            shown(step, that)
        ))
    };
    match pair(step, &mine, &theirs) {
        Some(text) => text,
        None => Step::MEASURED
            .into_iter()
            .filter_map(|step| pair(step, &mine, &theirs))
            .collect::<Vec<_>>()
            .join(", "),
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
    let (mine, theirs) = (ours.median()?, same.median()?);
    Some(format!(
        "SQLite serves the processes of one machine; for several machines take Redis with the same strategy, at {} of processor time against \
         {} here.",
        duration(theirs.cpu_nanoseconds),
        duration(mine.cpu_nanoseconds)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::matrix::Candidate;
    use super::super::rule::choose;
    use super::*;
    use crate::workload::presets;
    use crate::workload::strategy::Refresh;

    fn figures(milliseconds: f64, requests: f64) -> Figures {
        Figures {
            median_nanoseconds: 2_000.0,
            p99_nanoseconds: milliseconds * 1e6,
            slowest_nanoseconds: milliseconds * 1e6,
            requests_per_second: requests,
            requests: 40,
            cpu_nanoseconds: 9_000.0,
            waits_per_second: 2000.0,
            grown_bytes: None,
            failed: 0,
            calls: 5000,
        }
    }

    fn told(laps: usize) -> String {
        let workload = presets::workload("web-front-end").unwrap();
        let ahead = Candidate::of(&workload);
        let mut on_demand = ahead;
        on_demand.strategy.refresh = Refresh::OnDemand;
        let contender = |candidate, milliseconds, requests| Contender {
            candidate,
            runs: vec![figures(milliseconds, requests); laps],
        };
        let contenders = [contender(ahead, 2.05, 40.0), contender(on_demand, 60.0, 30.0)];
        let needs = Needs::of(&workload);
        let choice = choose(&contenders, &[0, 1], &ahead, &needs).unwrap();
        let confirmation = Confirmation {
            seed: 8,
            contenders: contenders.to_vec(),
            choice: choice.clone(),
            outcome: Outcome::of(&choice),
        };
        paragraph(&Told {
            workload: &workload,
            contenders: &contenders,
            finalists: &[0, 1],
            choice: &choice,
            needs: &needs,
            confirmation: Some(&confirmation),
        })
    }

    #[test]
    fn a_recommendation_has_its_numbers_its_reasons_and_its_confirmation() {
        let text = told(3);
        for part in [
            "Take SQLite, 64 MiB of memory trusted for 30 s, refresh ahead, as the workload has it.",
            "took 2.05 ms on average (median 2.00 µs)",
            "Of 2 strategies, the slowest waits ruled out 1; this one was left.",
            "With refresh on demand instead, the slowest waits would be 29 × (60.0 ms against 2.05 ms).",
            "A rerun of 3 laps with other requests confirmed it (beside refresh on demand: the slowest waits 2.05 ms against 60.0 ms).",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn too_few_runs_tell_nothing_and_say_so() {
        let text = told(2);
        assert!(text.contains("There was no time to run"), "{text}");
        assert!(text.contains("found it no worse, and not the only one"), "{text}");
    }
}
