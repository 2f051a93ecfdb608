//! The page.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::charts::{self, Chart};
use super::units::{count, duration, percent, three_digits};
use super::{Findings, tables};
use crate::workload::explore::{Contender, Exploration, LEAST_RUNS, Step, Told, sentences, waits_of};
use crate::workload::{BenchError, Chosen, Division, Refresh, Tier, Write, lossy};

const STYLE: &str = include_str!("style.css");

/// A colour of a chart and what it is.
type Legend = &'static [(&'static str, &'static str)];

pub(super) fn page(findings: &Findings) -> Result<String, BenchError> {
    let workload = &findings.workload;
    let headline = headline(findings);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Nothing is fetched, whatever somebody puts into a title.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (workload.title) ": " (headline) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kicker { (workload.title) }
                    h1 { (headline) }
                    @for paragraph in findings.told() { p.lead { (paragraph) } }
                    pre { code { (findings.expression()) } }
                    (cards(findings))
                }
                main { (rule(findings)) (charts(findings)?) (comparison(findings)) (details(findings)) (how(findings)) }
                footer { p { "Made by " code { "tokenkeep bench" } ". The page needs nothing but itself; its numbers lie beside it as JSON." } }
            }
        }
    };
    Ok(page.into_string())
}

impl Findings {
    /// The recommendation, or what was measured, in one paragraph.
    #[must_use]
    pub fn summary(&self) -> String {
        if let Some(exploration) = &self.exploration {
            return exploration.paragraph.clone();
        }
        let figures = self.measurement.figures();
        let hits = 1.0 - self.measurement.calls.share(Tier::Authority);
        format!(
            "With {}, {} of {} calls were answered without the authority. The slowest hundredth of {} took {} on average (median {}), the \
             authority was asked {} times a second, and each cost {} of processor time. To compare it with other strategies, add --explore.",
            self.candidate.title(&self.workload),
            percent(hits),
            count(figures.calls),
            waits_of(&self.workload),
            duration(figures.slowest_nanoseconds),
            duration(figures.median_nanoseconds),
            three_digits(figures.requests_per_second),
            duration(figures.cpu_nanoseconds),
        )
    }

    /// The same in two paragraphs: what to do, and why.
    fn told(&self) -> Vec<String> {
        let Some(exploration) = &self.exploration else {
            return vec![self.summary()];
        };
        let sentences = sentences(&Told {
            workload: &self.workload,
            contenders: &exploration.contenders,
            finalists: &exploration.finalists,
            choice: &exploration.choice,
            needs: &exploration.needs,
            confirmation: exploration.confirmation.as_ref(),
        });
        let (what, why) = sentences.split_at(sentences.len().min(2));
        vec![what.join(" "), why.join(" ")]
    }

    fn expression(&self) -> String {
        self.candidate.strategy.expression()
    }
}

/// The strategy in plain words.
fn headline(findings: &Findings) -> String {
    let Chosen {
        memory_bytes,
        max_staleness_seconds,
        refresh,
        partitioning,
        write,
        ..
    } = findings.candidate.strategy;
    let has_applications = findings.workload.subjects.tenants > 0;
    let mut parts = vec![match (memory_bytes, max_staleness_seconds) {
        (0, _) => "Read the store each time",
        (_, 0) => "Keep tokens in memory, but ask the store each time",
        _ => "Keep tokens in memory",
    }];
    parts.push(match refresh {
        Refresh::OnDemand => "refresh on demand",
        Refresh::Ahead => "refresh ahead",
    });
    if has_applications {
        parts.push(match partitioning {
            Division::ByTenant => "a partition for each tenant",
            Division::AppByResource => "a partition for each resource",
        });
        if write == Write::Behind {
            parts.push("write behind");
        }
    }
    format!("{}, with {}", parts.join(", "), findings.candidate.store.title())
}

fn cards(findings: &Findings) -> Markup {
    // The numbers of the paragraph, where strategies were compared: those of several runs.
    let compared = findings.exploration.as_ref().and_then(Exploration::recommended);
    let figures = compared
        .and_then(Contender::median)
        .unwrap_or_else(|| findings.measurement.figures());
    let calls = &findings.measurement.calls;
    let what = if findings.measurement.lives.is_some() {
        "of a whole process"
    } else {
        "of a call"
    };
    let cards = [
        (duration(figures.median_nanoseconds), format!("median {what}")),
        (
            duration(figures.slowest_nanoseconds),
            "mean of the slowest hundredth".to_owned(),
        ),
        (
            percent(1.0 - calls.share(Tier::Authority)),
            "of calls answered without the authority".to_owned(),
        ),
        (
            three_digits(figures.requests_per_second),
            "requests at the authority a second".to_owned(),
        ),
    ];
    html! {
        dl.cards { @for (value, label) in cards { div { dt { (label) } dd { (value) } } } }
    }
}

fn charts(findings: &Findings) -> Result<Markup, BenchError> {
    let measurement = &findings.measurement;
    let calls = &measurement.calls;
    let strategies = match &findings.exploration {
        Some(exploration) => charts::strategies(exploration)?,
        None => None,
    };
    let median = |tier: Tier| duration(lossy(calls.tiers[tier as usize].quantile(0.5)));
    let nearest = Tier::ALL
        .into_iter()
        .find(|tier| calls.tiers[*tier as usize].count() > 0);
    let latency = match nearest {
        Some(near) if near != Tier::Authority && calls.share(Tier::Authority) > 0.0 => format!(
            "A token from {} is there after {}, one from the authority after {}: what matters is how few calls have to wait for that.",
            article(near),
            median(near),
            median(Tier::Authority)
        ),
        _ => {
            "Each hill is where the waits of one tier lie; its height is relative to its own top.".to_owned()
        }
    };
    let hits = format!(
        "{} of the calls were answered from memory, {} from the store; {} had to wait for the authority.",
        percent(calls.share(Tier::Memory)),
        percent(calls.share(Tier::Store)),
        percent(calls.share(Tier::Authority))
    );
    let subjects = if findings.workload.subjects.users > 0 {
        "users"
    } else {
        "tenants"
    };
    let store = findings.candidate.store.title();
    let growth = growth(findings, subjects);
    let legend: Legend = &[
        ("memory", "answered from memory"),
        ("store", "answered without the authority"),
    ];
    let tiers: Legend = &[
        ("memory", "hit in memory"),
        ("store", "hit in the store, no memory tier"),
    ];
    Ok(html! {
        (section("Strategies compared", "What the rule compares, in its order; shorter is better. Labels say in what a strategy differs from the recommended one.", strategies.as_ref(), &[]))
        (section("How long tokens took", &latency, charts::latency(measurement)?.as_ref(), &[]))
        (section("Who answered, as time went on", &hits, charts::hits(measurement)?.as_ref(), legend))
        (section(&format!("One process and many {subjects}, on {store}"), &growth, charts::partitions(&findings.sweep, subjects)?.as_ref(), tiers))
    })
}

fn article(tier: Tier) -> &'static str {
    match tier {
        Tier::Memory => "memory",
        Tier::Store => "the store",
        Tier::Authority => "the authority",
    }
}

fn growth(findings: &Findings, subjects: &str) -> String {
    let (Some(first), Some(last)) = (findings.sweep.first(), findings.sweep.last()) else {
        return String::new();
    };
    let range = |one: Option<u64>, other: Option<u64>| {
        Some(format!(
            "{} to {}",
            duration(lossy(one?)),
            duration(lossy(other?))
        ))
    };
    let mut parts = Vec::new();
    parts.extend(
        range(first.memory_nanoseconds, last.memory_nanoseconds)
            .map(|range| format!("a hit in memory goes from {range}")),
    );
    parts.extend(
        range(first.store_nanoseconds, last.store_nanoseconds)
            .map(|range| format!("one in the store from {range}")),
    );
    format!(
        "From {} to {} {subjects}, {}.",
        count(first.subjects.into()),
        count(last.subjects.into()),
        parts.join(", ")
    )
}

fn section(title: &str, see: &str, chart: Option<&Chart>, legend: Legend) -> Markup {
    let Some(chart) = chart else { return html! {} };
    html! {
        section {
            h2 { (title) }
            p { (see) }
            figure.chart role="img" aria-label={ (title) ". " (see) } {
                @if !legend.is_empty() {
                    ul.legend aria-hidden="true" {
                        @for (colour, name) in legend { li { span.swatch style={ "background:var(--" (colour) ")" } {} (name) } }
                    }
                }
                div.wide { (PreEscaped(&chart.wide)) }
                div.narrow { (PreEscaped(&chart.narrow)) }
            }
        }
    }
}

/// The rule, and what each of its steps ruled out.
fn rule(findings: &Findings) -> Markup {
    let Some(exploration) = &findings.exploration else {
        return html! {};
    };
    let why = |step: Step| match step {
        Step::Needs => {
            "no call fails, nobody is signed out, records are encrypted, and the bounds of the workload are kept"
        }
        Step::Waits => {
            "the mean of the slowest hundredth of what callers wait: who uses the program feels it first"
        }
        Step::Requests => "the authority throttles who asks too much",
        Step::Processor => "what a token costs on this machine",
        Step::Settings => "what brings nothing is not worth a change of the workload’s own strategy",
    };
    let out = |step: Step| {
        let out = exploration.choice.out_at.iter();
        out.filter(|out_at| **out_at == Some(step)).count()
    };
    html! {
        section {
            h2 { "How it was chosen" }
            p { "Step by step, from what is noticed first. What is behind in one step is out, whatever it does in the next." }
            ol.steps {
                @for step in Step::ALL {
                    li {
                        div { strong { (capital(step.title())) } ": " (why(step)) }
                        span.out.none[out(step) == 0] { @match out(step) { 0 => "none out", number => { (number) " out" } } }
                    }
                }
            }
            p.fine {
                "Behind is what differs from the best by more than chance makes once in twenty times (by the ranks of at least "
                (LEAST_RUNS) " runs of each, made in turn), and by more than a hundredth: of a round trip to the authority for waits, "
                "of the fewest requests, of one processor. Those that ran once were not promising enough to run again."
            }
        }
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn comparison(findings: &Findings) -> Markup {
    let Some(exploration) = &findings.exploration else {
        return html! {};
    };
    html! {
        section {
            h2 { "The comparison in numbers" }
            (tables::contenders(findings, exploration))
            (tables::confirmation(findings, exploration))
            (tables::prices(exploration))
            details {
                summary { "What was not tried, and why" }
                ul { @for reason in &exploration.left_out { li { (reason) } } }
            }
        }
    }
}

fn details(findings: &Findings) -> Markup {
    let errors = &findings.measurement.calls.errors;
    html! {
        section {
            h2 { @if findings.exploration.is_some() { "The recommended strategy in numbers" } @else { "The run in numbers" } }
            (tables::tiers(&findings.measurement))
            (tables::costs(findings))
            @if !errors.is_empty() {
                p { "What failed:" }
                ul { @for (error, times) in errors { li { (count(*times)) " × " (error) } } }
            }
        }
    }
}

fn how(findings: &Findings) -> Markup {
    let (made, load, tokens) = (&findings.made, &findings.workload.load, &findings.workload.tokens);
    let mut facts = vec![
        ("When", made.date.clone()),
        ("Where", made.machine.clone()),
        ("With", made.version.clone()),
        ("Command", made.command.clone()),
        ("Seed", made.seed.to_string()),
        (
            "Load",
            format!(
                "{} processes at a time, {} tasks in each, {} ms between two calls of a task on average",
                load.processes, load.tasks, load.think_milliseconds
            ),
        ),
        (
            "Measured",
            format!(
                "{:.1} s, after a warm-up that is not in the numbers",
                findings.measurement.seconds
            ),
        ),
        (
            "Tokens",
            format!(
                "{} of them, {} bytes each, living {} s",
                count(findings.workload.tokens()),
                tokens.bytes,
                tokens.lifetime_seconds
            ),
        ),
        (
            "Authority",
            format!(
                "simulated, {} ms a request{}",
                findings.workload.authority.latency_milliseconds,
                if findings.workload.authority.rotates {
                    ", refresh tokens rotate"
                } else {
                    ""
                }
            ),
        ),
    ];
    if let Some(exploration) = &findings.exploration {
        facts.push((
            "Compared",
            format!(
                "{} strategies in {:.0} s",
                exploration.contenders.len(),
                exploration.seconds
            ),
        ));
    }
    html! {
        section {
            h2 { "How it was measured" }
            dl.facts { @for (name, fact) in facts { div { dt { (name) } dd { (fact) } } } }
            p {
                "Processes are real ones that share one store; the authority is simulated, and no account and no network is needed. "
                "Tokens live much shorter than in earnest, so that a short run sees many expire: requests and writes a second are that much "
                "more frequent here, for all strategies alike. Redis runs on this machine, so the way to it is shorter than to a server. "
                "Every task waits for its answer before it goes on."
            }
            details {
                summary { "The workload" }
                pre { code { (toml::to_string(&findings.workload).unwrap_or_default()) } }
            }
        }
    }
}
