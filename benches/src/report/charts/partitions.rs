//! What a hit costs as partitions become many.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{
    Area, Chart, Drawn, LINES, MEMORY, MUTED, STORE, Size, both, decade_of_time, decades, each_decade, pixel,
    small,
};
use crate::report::units::{count, duration};
use crate::workload::{BenchError, SweepPoint, lossy};

/// Points over two logarithmic axes; `None` where there are less than two.
pub(in crate::report) fn partitions(
    points: &[SweepPoint],
    subjects: &str,
) -> Result<Option<Chart>, BenchError> {
    if points.len() < 2 {
        return Ok(None);
    }
    both("partitions", (320, 300), |area, size| {
        draw(area, size, points, subjects)
    })
    .map(Some)
}

fn draw(area: &Area<'_>, size: Size, points: &[SweepPoint], subjects: &str) -> Drawn {
    let lines = [
        (
            MEMORY,
            points
                .iter()
                .map(|point| point.memory_nanoseconds)
                .collect::<Vec<_>>(),
            VPos::Top,
        ),
        (
            STORE,
            points.iter().map(|point| point.store_nanoseconds).collect(),
            VPos::Bottom,
        ),
    ];
    let values = lines
        .iter()
        .flat_map(|(_, values, _)| values.iter().flatten())
        .map(|value| lossy(*value));
    let range = decades(values);
    let numbers = decades(points.iter().map(|point| f64::from(point.subjects)));
    let (left, right) = (64.0, f64::from(size.width) - 34.0);
    let (top, bottom) = (16.0, f64::from(size.height) - 48.0);
    let last = points
        .iter()
        .map(|point| f64::from(point.subjects).log10())
        .fold(1.0, f64::max);
    let x = |number: f64| pixel(left + (number.log10() - numbers.0) / (last - numbers.0) * (right - left));
    let y = |value: f64| pixel(bottom - (value.log10() - range.0) / (range.1 - range.0) * (bottom - top));
    for decade in each_decade(range) {
        let at = y(10_f64.powf(decade));
        area.draw(&PathElement::new(
            vec![(pixel(left), at), (pixel(right), at)],
            LINES,
        ))?;
        let style = small(MUTED).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw(&Text::new(decade_of_time(decade), (pixel(left) - 8, at), style))?;
    }
    for point in points {
        let at = x(f64::from(point.subjects));
        let style = small(MUTED).pos(Pos::new(HPos::Center, VPos::Top));
        area.draw(&Text::new(
            count(point.subjects.into()),
            (at, pixel(bottom) + 6),
            style,
        ))?;
    }
    let style = small(MUTED).pos(Pos::new(HPos::Center, VPos::Top));
    let middle = pixel(f64::midpoint(left, right));
    area.draw(&Text::new(
        format!("{subjects} (logarithmic)"),
        (middle, pixel(bottom) + 26),
        style,
    ))?;
    for (colour, values, side) in lines {
        let places: Vec<_> = points
            .iter()
            .zip(values)
            .filter_map(|(point, value)| {
                let value = lossy(value?);
                Some((x(f64::from(point.subjects)), y(value), value))
            })
            .collect();
        let line: Vec<_> = places.iter().map(|(x, y, _)| (*x, *y)).collect();
        area.draw(&PathElement::new(line, colour.stroke_width(2)))?;
        let mut before = None;
        for (place, (x, y, value)) in places.into_iter().enumerate() {
            area.draw(&Circle::new((x, y), 4, colour.filled()))?;
            // A number below a point to which the line rises would lie on the line.
            let rises = before.replace(y).is_some_and(|before| before > y + 12);
            // Nor may it lie on the numbers of the axis.
            let is_low = y > pixel(bottom) - 26;
            let above = matches!(side, VPos::Bottom) || rises || is_low;
            let side = if above { VPos::Bottom } else { VPos::Top };
            // The first must not lie over the labels of the axis.
            let anchor = if place == 0 { HPos::Left } else { HPos::Center };
            let style = small(colour).pos(Pos::new(anchor, side));
            area.draw(&Text::new(
                duration(value),
                (
                    x,
                    if above {
                        y - if place == 0 { 14 } else { 8 }
                    } else {
                        y + 9
                    },
                ),
                style,
            ))?;
        }
    }
    Ok(())
}
