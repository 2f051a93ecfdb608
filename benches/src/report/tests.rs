//! The page and its numbers, made of figures that were not measured.

use std::time::Duration;

use super::*;
use crate::workload::explore::{Confirmation, Contender, Needs, Outcome, Price, Told, choose, paragraph};
use crate::workload::{Measurement, Refresh, Tier, presets};

fn measurement() -> Measurement {
    let mut measurement = Measurement::new(7, 3.0, false);
    for number in 1..2000_u64 {
        let piece = usize::try_from(number % 48).unwrap();
        measurement
            .calls
            .note(Tier::Memory, Duration::from_nanos(400 + number), piece);
        if number % 20 == 0 {
            measurement
                .calls
                .note(Tier::Store, Duration::from_micros(40 + number % 50), piece);
        }
        if number % 100 == 0 {
            measurement
                .calls
                .note(Tier::Authority, Duration::from_millis(60), piece);
        }
    }
    measurement.authority.redeemed = 90;
    measurement.cpu_nanoseconds = Some(30_000_000);
    measurement
}

fn findings(title: &str) -> Findings {
    let mut workload = presets::workload("web-front-end").unwrap();
    title.clone_into(&mut workload.title);
    let candidate = Candidate::of(&workload);
    let measurement = measurement();
    let figures = measurement.figures();
    let mut other = candidate;
    other.strategy.refresh = Refresh::OnDemand;
    let slower = crate::workload::Figures {
        slowest_nanoseconds: figures.slowest_nanoseconds * 9.0,
        ..figures
    };
    let contenders = vec![
        Contender {
            candidate,
            runs: vec![figures; 3],
        },
        Contender {
            candidate: other,
            runs: vec![slower; 3],
        },
    ];
    let needs = Needs::of(&workload);
    let choice = choose(&contenders, &[0, 1], &candidate, &needs).unwrap();
    let confirmation = Confirmation {
        seed: 8,
        contenders: contenders.clone(),
        choice: choice.clone(),
        outcome: Outcome::First,
    };
    let told = Told {
        workload: &workload,
        contenders: &contenders,
        finalists: &[0, 1],
        choice: &choice,
        needs: &needs,
        confirmation: Some(&confirmation),
    };
    let exploration = Exploration {
        paragraph: paragraph(&told),
        finalists: vec![0, 1],
        needs,
        expression: candidate.strategy.expression(),
        prices: vec![Price {
            title: "without encryption".to_owned(),
            candidate,
            figures: slower,
            beside: figures,
        }],
        contenders,
        choice,
        confirmation: Some(confirmation),
        left_out: vec!["plaintext".to_owned()],
        seconds: 60.0,
    };
    let point = |subjects, memory, store| SweepPoint {
        subjects,
        memory_nanoseconds: Some(memory),
        store_nanoseconds: Some(store),
    };
    Findings {
        made: Made {
            date: "2026-11-21T21:40:00.000Z".to_owned(),
            command: "tokenkeep bench web-front-end --explore".to_owned(),
            machine: "a processor".to_owned(),
            version: "tokenkeep 0.1.0".to_owned(),
            seed: 7,
        },
        workload,
        candidate,
        measurement,
        sweep: vec![
            point(1, 300, 40_000),
            point(100, 350, 41_000),
            point(1000, 500, 45_000),
        ],
        exploration: Some(exploration),
    }
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = findings("Web").page().unwrap();
    for reference in [
        "src=", "href=", "url(", "@import", "http://", "https://", "<script", "<link", "<iframe",
    ] {
        assert!(!page.contains(reference), "{reference}");
    }
    assert!(page.contains("default-src &#39;none&#39;") || page.contains("default-src 'none'"));
}

#[test]
fn every_colour_of_a_chart_has_a_name() {
    let page = findings("Web").page().unwrap();
    let svgs = page
        .split("<svg")
        .skip(1)
        .map(|rest| rest.split("</svg>").next().unwrap());
    let mut count = 0;
    for svg in svgs {
        count += 1;
        assert!(
            !svg.contains("=\"#"),
            "{}",
            svg.chars().take(400).collect::<String>()
        );
    }
    assert_eq!(count, 8, "four charts in two sizes");
}

#[test]
fn titles_are_text_and_never_markup() {
    let page = findings("<img onerror=x> & \"Sons\"").page().unwrap();
    assert!(!page.contains("<img"));
    assert!(page.contains("&lt;img onerror=x&gt; &amp; "));
}

#[test]
fn a_chart_says_to_those_who_cannot_see_it_what_there_is_to_see() {
    let page = findings("Web").page().unwrap();
    assert_eq!(page.matches("role=\"img\" aria-label=\"").count(), 4);
    assert!(
        page.contains("aria-label=\"Who answered, as time went on. 94"),
        "the shares are told"
    );
}

#[test]
fn the_numbers_are_there_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::prepare(&folder.path().join("out")).unwrap();
    assert_eq!(destination.page, folder.path().join("out/report.html"));
    findings("Web").write(&destination).unwrap();
    let text = std::fs::read_to_string(&destination.numbers).unwrap();
    let numbers: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(numbers["made"]["seed"], 7);
    assert_eq!(numbers["exploration"]["confirmation"]["outcome"], "first");
    assert_eq!(numbers["measurement"]["authority"]["redeemed"], 90);
    assert_eq!(numbers["workload"]["load"]["processes"], 4);
}

#[test]
fn what_is_there_is_kept_until_there_is_something_to_replace_it() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("b.html");
    std::fs::write(&page, "earlier").unwrap();
    let destination = Destination::prepare(&page).unwrap();
    assert_eq!(destination.numbers, folder.path().join("b.json"));
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "earlier");
    assert!(!destination.numbers.exists(), "nothing is written yet");
    // A file where a folder is needed.
    assert!(Destination::prepare(&page.join("report")).is_err());
}
