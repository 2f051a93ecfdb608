//! The tables of the page.

use maud::{Markup, html};

use super::Findings;
use super::charts::shown;
use super::units::{bytes, count, duration, percent, three_digits, times};
use crate::workload::explore::{Exploration, Step};
use crate::workload::{Figures, Measurement, Tier, lossy};

/// A table that scrolls by itself where it is too wide.
fn scrolling(caption: &str, table: &Markup) -> Markup {
    html! { figure.table { figcaption { (caption) } div.scroll tabindex="0" role="region" aria-label=(caption) { (table) } } }
}

/// Where tokens came from.
pub(super) fn tiers(measurement: &Measurement) -> Markup {
    let rows = Tier::ALL.map(|tier| {
        let latencies = &measurement.calls.tiers[tier as usize];
        let at = |quantile| {
            if latencies.count() == 0 {
                "–".to_owned()
            } else {
                duration(lossy(latencies.quantile(quantile)))
            }
        };
        html! {
            tr {
                th scope="row" { (tier.name()) }
                td { (count(latencies.count())) }
                td { (percent(measurement.calls.share(tier))) }
                td { (at(0.5)) } td { (at(0.9)) } td { (at(0.99)) } td { (at(1.0)) }
            }
        }
    });
    scrolling(
        "Where tokens came from, and how long callers waited",
        &html! {
            table {
                thead { tr { th {} th { "calls" } th { "share" } th { "median" } th { "p90" } th { "p99" } th { "slowest" } } }
                tbody { @for row in rows { (row) } }
            }
        },
    )
}

/// What a run took of the store, the authority and the machine.
pub(super) fn costs(findings: &Findings) -> Markup {
    let measurement = &findings.measurement;
    let (store, authority) = (&measurement.store, &measurement.authority);
    let figures = measurement.figures();
    let per_thousand =
        |number: u64| three_digits(lossy(number) * 1000.0 / lossy(measurement.calls.count().max(1)));
    let mut rows = vec![
        (
            "store: records read".to_owned(),
            count(store.get),
            per_thousand(store.get),
        ),
        (
            "store: versions compared".to_owned(),
            count(store.head),
            per_thousand(store.head),
        ),
        (
            "store: records written".to_owned(),
            count(store.put),
            per_thousand(store.put),
        ),
        (
            "store: writes that came too late and were made again".to_owned(),
            count(store.conflicts),
            per_thousand(store.conflicts),
        ),
        (
            "authority: refresh tokens redeemed".to_owned(),
            count(authority.redeemed),
            per_thousand(authority.redeemed),
        ),
        (
            "authority: tokens of the application obtained".to_owned(),
            count(authority.obtained),
            per_thousand(authority.obtained),
        ),
        (
            "users signed out by a refresh token that came twice".to_owned(),
            count(authority.signed_out),
            per_thousand(authority.signed_out),
        ),
        (
            "calls that failed".to_owned(),
            count(measurement.calls.failed()),
            per_thousand(measurement.calls.failed()),
        ),
    ];
    if measurement.cpu_nanoseconds.is_some() {
        let of = if measurement.lives.is_some() {
            "processor time of a process"
        } else {
            "processor time of a call"
        };
        rows.push((of.to_owned(), duration(figures.cpu_nanoseconds), "–".to_owned()));
    }
    if let Some(grown) = measurement.grown_bytes {
        let label = "memory that a process took beside the program itself";
        rows.push((label.to_owned(), bytes(lossy(grown)), "–".to_owned()));
    }
    scrolling(
        "What the run took",
        &html! {
            table {
                thead { tr { th {} th { "in all" } th { "per 1,000 calls" } } }
                tbody { @for (label, all, part) in rows { tr { th scope="row" { (label) } td { (all) } td { (part) } } } }
            }
        },
    )
}

/// Every strategy that was tried.
pub(super) fn contenders(findings: &Findings, exploration: &Exploration) -> Markup {
    let rows = shown(exploration)
        .into_iter()
        .enumerate()
        .filter_map(|(place, index)| {
            let contender = exploration.contenders.get(index)?;
            let figures = contender.median()?;
            let is_chosen = index == exploration.choice.chosen;
            let out_at = exploration.choice.out_at.get(index).copied().flatten();
            Some(html! {
                tr.chosen[is_chosen] {
                    td { (place + 1) }
                    th scope="row" {
                        (contender.candidate.title(&findings.workload))
                        @if is_chosen { span.tag { "recommended" } }
                        @if index == 0 { span.tag { "the workload’s own" } }
                    }
                    td { (duration(figures.slowest_nanoseconds)) }
                    td { (three_digits(figures.requests_per_second)) }
                    td { (duration(figures.cpu_nanoseconds)) }
                    td { (duration(figures.median_nanoseconds)) }
                    td { (duration(figures.p99_nanoseconds)) }
                    td { (contender.runs.len()) }
                    td { (out_at.map_or("–", Step::name)) }
                }
            })
        });
    let head = [
        "",
        "strategy",
        "slowest 1 %",
        "requests/s",
        "processor",
        "median",
        "p99",
        "runs",
        "out by",
    ];
    scrolling(
        "Every strategy that was tried, in the order in which the rule left them: medians of all their runs",
        &html! {
            table.wide {
                thead { tr { @for title in head { th { (title) } } } }
                tbody { @for row in rows { (row) } }
            }
        },
    )
}

/// The rerun with another seed.
pub(super) fn confirmation(findings: &Findings, exploration: &Exploration) -> Markup {
    let Some(confirmation) = &exploration.confirmation else {
        return html! {};
    };
    let rows = confirmation
        .contenders
        .iter()
        .enumerate()
        .filter_map(|(place, contender)| {
            let figures = contender.median()?;
            Some(html! {
                tr.chosen[place == 0] {
                    th scope="row" { (contender.candidate.title(&findings.workload)) }
                    (cells(&figures))
                }
            })
        });
    scrolling(
        &format!(
            "The rerun in turn, with other requests (seeds from {})",
            confirmation.seed
        ),
        &html! { table { (head("strategy")) tbody { @for row in rows { (row) } } } },
    )
}

/// What is not recommended, and what it would cost or save.
pub(super) fn prices(exploration: &Exploration) -> Markup {
    if exploration.prices.is_empty() {
        return html! {};
    }
    let rows = exploration.prices.iter().map(|price| {
        let times = |step: Step| {
            let (theirs, ours) = (step.figure(&price.figures), step.figure(&price.beside));
            let ratio = theirs.zip(ours).filter(|(_, ours)| *ours > 0.0);
            ratio.map_or_else(|| "–".to_owned(), |(theirs, ours)| times(theirs / ours))
        };
        html! {
            tr {
                th scope="row" { (price.title) }
                @for step in Step::MEASURED { td { (times(step)) } }
            }
        }
    });
    scrolling(
        "What is never recommended, as a multiple of what the recommended strategy took in the same laps",
        &html! { table { thead { tr { th {} th { "slowest 1 %" } th { "requests/s" } th { "processor" } } } tbody { @for row in rows { (row) } } } },
    )
}

fn head(first: &str) -> Markup {
    html! { thead { tr { th { (first) } th { "slowest 1 %" } th { "requests/s" } th { "processor" } th { "median" } } } }
}

fn cells(figures: &Figures) -> Markup {
    html! {
        td { (duration(figures.slowest_nanoseconds)) }
        td { (three_digits(figures.requests_per_second)) }
        td { (duration(figures.cpu_nanoseconds)) }
        td { (duration(figures.median_nanoseconds)) }
    }
}
