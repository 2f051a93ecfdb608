//! The tables of the page.

use maud::{Markup, html};

use super::Findings;
use super::charts::shown;
use super::units::{bytes, count, duration, percent, three_digits, times};
use crate::workload::explore::{Exploration, WEIGHTS, median_figures, ratios};
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
            let figures = median_figures(&contender.runs)?;
            let is_chosen = index == exploration.choice.chosen;
            let score = exploration
                .choice
                .scores
                .get(index)
                .map_or(f64::NAN, |score| score.median);
            Some(html! {
                tr.chosen[is_chosen] {
                    td { (place + 1) }
                    th scope="row" {
                        (contender.candidate.title(&findings.workload))
                        @if is_chosen { " (recommended)" }
                        @if index == 0 { " (the workload’s own)" }
                    }
                    td { (three_digits(score)) }
                    td { (duration(figures.slowest_nanoseconds)) }
                    td { (duration(figures.p99_nanoseconds)) }
                    td { (duration(figures.median_nanoseconds)) }
                    td { (three_digits(figures.requests_per_second)) }
                    td { (duration(figures.cpu_nanoseconds)) }
                    td { (contender.runs.len()) }
                }
            })
        });
    let head = [
        "",
        "strategy",
        "cost",
        "slowest 1 %",
        "p99",
        "median",
        "requests/s",
        "processor",
        "runs",
    ];
    scrolling(
        "Every strategy that was tried: cost is weighed, 1 is the workload’s own, less is better",
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
            let figures = median_figures(&contender.runs)?;
            Some(html! {
                tr.chosen[place == 0] {
                    th scope="row" { (contender.candidate.title(&findings.workload)) }
                    (cells(&figures))
                }
            })
        });
    scrolling(
        &format!("The rerun, in turn, with seed {}", confirmation.seed),
        &html! { table { (head("strategy")) tbody { @for row in rows { (row) } } } },
    )
}

/// What is not recommended, and what it would cost or save.
pub(super) fn prices(exploration: &Exploration) -> Markup {
    if exploration.prices.is_empty() {
        return html! {};
    }
    let rows = exploration.prices.iter().map(|price| {
        let [slowest, median, requests, processor] = ratios(&price.beside, &price.figures).map(times);
        html! {
            tr {
                th scope="row" { (price.title) }
                td { (slowest) } td { (median) } td { (requests) } td { (processor) }
            }
        }
    });
    scrolling(
        "What is never recommended, as a multiple of the recommended strategy run in turn with it",
        &html! { table { (head("")) tbody { @for row in rows { (row) } } } },
    )
}

/// How much each figure weighs.
pub(super) fn weights() -> Markup {
    html! {
        @for (index, (name, weight)) in WEIGHTS.into_iter().enumerate() {
            @if index > 0 { ", " }
            (name) " " (percent(weight))
        }
    }
}

fn head(first: &str) -> Markup {
    html! { thead { tr { th { (first) } th { "slowest 1 %" } th { "median" } th { "requests/s" } th { "processor" } } } }
}

fn cells(figures: &Figures) -> Markup {
    html! {
        td { (duration(figures.slowest_nanoseconds)) }
        td { (duration(figures.median_nanoseconds)) }
        td { (three_digits(figures.requests_per_second)) }
        td { (duration(figures.cpu_nanoseconds)) }
    }
}
