//! How long tokens took, by where they came from.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{
    AUTHORITY, Area, Chart, Drawn, LIFE, LINES, MEMORY, MUTED, STORE, Size, both, decade_of_time, decades,
    each_decade, index, pixel, real, small, text,
};
use crate::report::units::{duration, percent};
use crate::workload::{BenchError, Latencies, Measurement, Tier, lossy};

/// How finely a decade is cut.
const PER_DECADE: f64 = 14.0;

const ROW: u32 = 84;
const FOOT: u32 = 44;

struct Row {
    label: String,
    colour: RGBColor,
    latencies: Latencies,
}

/// A hill for each tier over a logarithmic axis; `None` where nothing was measured.
pub(in crate::report) fn latency(measurement: &Measurement) -> Result<Option<Chart>, BenchError> {
    let mut rows: Vec<_> = Tier::ALL
        .into_iter()
        .filter(|tier| measurement.calls.tiers[*tier as usize].count() > 0)
        .map(|tier| {
            let latencies = measurement.calls.tiers[tier as usize].clone();
            Row {
                label: format!(
                    "{}, {} of the calls",
                    tier.name(),
                    percent(measurement.calls.share(tier))
                ),
                colour: match tier {
                    Tier::Memory => MEMORY,
                    Tier::Store => STORE,
                    Tier::Authority => AUTHORITY,
                },
                latencies,
            }
        })
        .collect();
    if let Some(lives) = measurement.lives.as_ref().filter(|lives| lives.count() > 0) {
        rows.push(Row {
            label: "the whole process".to_owned(),
            colour: LIFE,
            latencies: lives.clone(),
        });
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let height = ROW * u32::try_from(rows.len()).unwrap_or(1) + FOOT;
    both("latency", (height, height), |area, size| draw(area, size, &rows)).map(Some)
}

fn draw(area: &Area<'_>, size: Size, rows: &[Row]) -> Drawn {
    let range = decades(
        rows.iter()
            .flat_map(|row| row.latencies.buckets())
            .map(|(value, _)| lossy(value)),
    );
    let (left, right) = (16.0, f64::from(size.width) - 16.0);
    let x = |exponent: f64| pixel(left + (exponent - range.0) / (range.1 - range.0) * (right - left));
    let bottom = pixel(f64::from(size.height - FOOT));
    for (place, decade) in each_decade(range).into_iter().enumerate() {
        area.draw(&PathElement::new(
            vec![(x(decade), 6), (x(decade), bottom)],
            LINES,
        ))?;
        // Labels of every decade would touch on a phone.
        if size.is_narrow && place % 2 == 1 {
            continue;
        }
        let anchor = match place {
            0 => HPos::Left,
            _ if (decade - range.1).abs() < 0.01 => HPos::Right,
            _ => HPos::Center,
        };
        let style = small(MUTED).pos(Pos::new(anchor, VPos::Top));
        area.draw(&Text::new(decade_of_time(decade), (x(decade), bottom + 6), style))?;
    }
    let caption = small(MUTED).pos(Pos::new(HPos::Center, VPos::Top));
    let middle = pixel(f64::from(size.width) / 2.0);
    area.draw(&Text::new(
        "time until the token was there (logarithmic)",
        (middle, bottom + 24),
        caption,
    ))?;
    for (place, row) in rows.iter().enumerate() {
        let base = pixel((real(place) + 1.0) * f64::from(ROW));
        let hill = hill(&row.latencies, range);
        let mut points = vec![(x(range.0), base)];
        for (exponent, height) in hill {
            points.push((x(exponent), base - pixel(height * 50.0)));
        }
        points.push((x(range.1), base));
        area.draw(&Polygon::new(points.clone(), row.colour.mix(0.30).filled()))?;
        area.draw(&PathElement::new(points, row.colour.stroke_width(2)))?;
        let median = lossy(row.latencies.quantile(0.5));
        let p99 = lossy(row.latencies.quantile(0.99));
        let numbers = format!(
            "{}: median {}, p99 {}",
            row.label,
            duration(median),
            duration(p99)
        );
        area.draw(&Text::new(
            numbers,
            (pixel(left) + 2, base - i32::try_from(ROW).unwrap_or(0) + 8),
            text(row.colour),
        ))?;
    }
    Ok(())
}

/// The density over the exponent, smoothed, 1 at its top.
fn hill(latencies: &Latencies, range: (f64, f64)) -> Vec<(f64, f64)> {
    let bins = index((range.1 - range.0) * PER_DECADE) + 1;
    let mut counts = vec![0.0; bins];
    for (value, count) in latencies.buckets() {
        let bin = index((lossy(value).max(1.0).log10() - range.0) * PER_DECADE).min(bins - 1);
        counts[bin] += lossy(count);
    }
    let at = |place: usize| counts.get(place).copied().unwrap_or(0.0);
    let smooth: Vec<_> = (0..bins)
        .map(|place| {
            let before = if place == 0 { 0.0 } else { at(place - 1) };
            (before + 2.0 * at(place) + at(place + 1)) / 4.0
        })
        .collect();
    let top = smooth.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    smooth
        .into_iter()
        .enumerate()
        .map(|(place, height)| (range.0 + (real(place) + 0.5) / PER_DECADE, height / top))
        .filter(|(exponent, _)| *exponent <= range.1)
        .collect()
}
