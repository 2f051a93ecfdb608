//! How many calls were answered without the authority, as time goes on.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Area, Chart, Drawn, LINES, MEMORY, MUTED, STORE, Size, both, pixel, real, small};
use crate::workload::{BenchError, Measurement, Tier, ratio};

/// The share of calls that memory answered, and that the authority did not, in each piece of time.
struct Shares {
    memory: Vec<Option<f64>>,
    hits: Vec<Option<f64>>,
}

/// Lines over the measured time; `None` where nothing was measured.
pub(in crate::report) fn hits(measurement: &Measurement) -> Result<Option<Chart>, BenchError> {
    let pieces = &measurement.calls.over_time;
    let share = |of: fn(&[u64; 3]) -> u64| {
        pieces
            .iter()
            .map(|piece| {
                let all = piece.iter().sum::<u64>();
                (all > 0).then(|| ratio(of(piece), all))
            })
            .collect::<Vec<_>>()
    };
    let shares = Shares {
        memory: share(|piece| piece[Tier::Memory as usize]),
        hits: share(|piece| piece[Tier::Memory as usize] + piece[Tier::Store as usize]),
    };
    if shares.hits.iter().all(Option::is_none) {
        return Ok(None);
    }
    both("hits", (300, 260), |area, size| {
        draw(area, size, &shares, measurement.seconds)
    })
    .map(Some)
}

fn draw(area: &Area<'_>, size: Size, shares: &Shares, seconds: f64) -> Drawn {
    let has_memory = shares.memory.iter().flatten().any(|share| *share > 0.0);
    let lines: Vec<_> = [(has_memory, &shares.memory, MEMORY), (true, &shares.hits, STORE)]
        .into_iter()
        .filter(|(is_shown, _, _)| *is_shown)
        .collect();
    let least = lines
        .iter()
        .flat_map(|(_, values, _)| values.iter().flatten())
        .copied()
        .fold(1.0, f64::min);
    let low = axis_from(least);
    let (left, right) = (58.0, f64::from(size.width) - 16.0);
    let (top, bottom) = (14.0, f64::from(size.height) - 48.0);
    let x = |part: f64| pixel(left + part * (right - left));
    let y = |share: f64| pixel(bottom - (share - low) / (1.0 - low) * (bottom - top));
    for step in 0..=4_u8 {
        let share = low + (1.0 - low) * f64::from(step) / 4.0;
        area.draw(&PathElement::new(
            vec![(x(0.0), y(share)), (x(1.0), y(share))],
            LINES,
        ))?;
        let digits = if (1.0 - low) < 0.05 { 1 } else { 0 };
        let label = format!("{:.*} %", digits, share * 100.0);
        let style = small(MUTED).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw(&Text::new(label, (pixel(left) - 8, y(share)), style))?;
    }
    for step in 0..=4_u8 {
        let part = f64::from(step) / 4.0;
        let anchor = match step {
            0 => HPos::Left,
            4 => HPos::Right,
            _ => HPos::Center,
        };
        let style = small(MUTED).pos(Pos::new(anchor, VPos::Top));
        area.draw(&Text::new(
            format!("{:.1} s", part * seconds),
            (x(part), pixel(bottom) + 6),
            style,
        ))?;
    }
    let style = small(MUTED).pos(Pos::new(HPos::Center, VPos::Top));
    area.draw(&Text::new("measured time", (x(0.5), pixel(bottom) + 26), style))?;
    for (_, values, colour) in lines {
        let count = real(values.len());
        let points: Vec<_> = values
            .iter()
            .enumerate()
            .filter_map(|(place, share)| Some((x((real(place) + 0.5) / count), y((*share)?))))
            .collect();
        area.draw(&PathElement::new(points, colour.stroke_width(2)))?;
    }
    Ok(())
}

/// Where the axis begins, so that the lines fill it: at the step below `least`.
fn axis_from(least: f64) -> f64 {
    [0.98, 0.96, 0.9, 0.8, 0.6, 0.4, 0.2]
        .into_iter()
        .find(|start| least >= *start)
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::axis_from;

    #[test]
    fn the_axis_begins_below_the_lines() {
        assert_eq!([1.0, 0.97, 0.5, 0.1].map(axis_from), [0.98, 0.96, 0.4, 0.0]);
    }
}
