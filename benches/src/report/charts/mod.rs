//! The charts, drawn twice: for wide windows and for phones. Their colours are names that the page's style resolves, so that they
//! follow light and dark.

mod hits;
mod latency;
mod partitions;
mod strategies;

use plotters::prelude::*;

pub(super) use hits::hits;
pub(super) use latency::latency;
pub(super) use partitions::partitions;
pub(super) use strategies::{shown, strategies};

use crate::workload::BenchError;

/// A chart in both sizes. Neither has anything from outside in it.
pub(super) struct Chart {
    pub(super) wide: String,
    pub(super) narrow: String,
}

/// How large a drawing is, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    width: u32,
    height: u32,
    is_narrow: bool,
}

const WIDE: u32 = 920;
/// As wide as it is shown on a phone, so that letters keep their size.
const NARROW: u32 = 345;
const TEXT: u32 = 13;

/// The colours, which stand for the variables of the page's style: nothing else is drawn in them.
const INK: RGBColor = RGBColor(1, 1, 1);
const MUTED: RGBColor = RGBColor(2, 2, 2);
const LINES: RGBColor = RGBColor(3, 3, 3);
const MEMORY: RGBColor = RGBColor(4, 4, 4);
const STORE: RGBColor = RGBColor(5, 5, 5);
const AUTHORITY: RGBColor = RGBColor(6, 6, 6);
const LIFE: RGBColor = RGBColor(7, 7, 7);
const CHOSEN: RGBColor = RGBColor(8, 8, 8);
const OTHER: RGBColor = RGBColor(9, 9, 9);

const NAMES: [&str; 9] = [
    "ink",
    "muted",
    "lines",
    "memory",
    "store",
    "authority",
    "life",
    "chosen",
    "other",
];

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Draws a chart in both sizes.
fn both(
    chart: &'static str,
    heights: (u32, u32),
    draw: impl Fn(&Area<'_>, Size) -> Drawn,
) -> Result<Chart, BenchError> {
    let one = |width, height, is_narrow| {
        let size = Size {
            width,
            height,
            is_narrow,
        };
        let mut text = String::new();
        {
            let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
            draw(&area, size).and_then(|()| Ok(area.present()?))
        }
        .map_err(|error| BenchError::Chart {
            chart,
            reason: error.to_string(),
        })?;
        Ok(styled(&text, size))
    };
    Ok(Chart {
        wide: one(WIDE, heights.0, false)?,
        narrow: one(NARROW, heights.1, true)?,
    })
}

/// Names the colours, and lets the page decide how large it is. It is decoration for who cannot see it: the text beside it says the
/// same.
fn styled(svg: &str, size: Size) -> String {
    let mut text = svg.to_owned();
    for (index, name) in NAMES.iter().enumerate() {
        let colour = format!("#{0:02X}{0:02X}{0:02X}", index + 1);
        for property in ["fill", "stroke"] {
            let plain = format!("{property}=\"{colour}\"");
            text = text.replace(&plain, &format!("style=\"{property}:var(--{name})\""));
        }
    }
    let head = format!(
        "<svg width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" xmlns=\"http://www.w3.org/2000/svg\">",
        size.width, size.height
    );
    let ours = format!(
        "<svg viewBox=\"0 0 {} {}\" aria-hidden=\"true\" focusable=\"false\">",
        size.width, size.height
    );
    text.replacen(&head, &ours, 1)
}

fn text(colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", TEXT).into_font().color(&colour)
}

fn small(colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", TEXT - 1).into_font().color(&colour)
}

/// The decades around `values`, at least two.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        low = low.min(value.log10().floor());
        high = high.max(value.log10().ceil());
    }
    if !low.is_finite() || !high.is_finite() {
        return (0.0, 2.0);
    }
    (low, high.max(low + 2.0))
}

/// Each whole decade from `low` to `high`.
fn each_decade((low, high): (f64, f64)) -> Vec<f64> {
    let mut all = Vec::new();
    let mut at = low;
    while at <= high + 0.01 {
        all.push(at);
        at += 1.0;
    }
    all
}

/// The label of a decade of nanoseconds: `10 µs`.
fn decade_of_time(exponent: f64) -> String {
    const UNITS: [&str; 4] = ["ns", "µs", "ms", "s"];
    let whole = exponent.round().max(0.0);
    let unit = (whole / 3.0).floor().min(3.0);
    let number = 10_f64.powf(whole - unit * 3.0);
    let name = UNITS.into_iter().nth(index(unit)).unwrap_or("s");
    format!("{number:.0} {name}")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small whole number that is not negative"
)]
fn index(value: f64) -> usize {
    value.max(0.0) as usize
}

#[expect(clippy::cast_possible_truncation, reason = "a position within a drawing")]
fn pixel(value: f64) -> i32 {
    value.round() as i32
}

#[expect(clippy::cast_precision_loss, reason = "a small number of things in a drawing")]
fn real(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decades_of_time_are_labelled_with_their_unit() {
        let labels = [0.0, 1.0, 2.0, 3.0, 5.0, 6.0, 8.0, 9.0, 10.0].map(decade_of_time);
        assert_eq!(
            labels,
            [
                "1 ns", "10 ns", "100 ns", "1 µs", "100 µs", "1 ms", "100 ms", "1 s", "10 s"
            ]
        );
        assert_eq!(decades([250.0, 70_000.0].into_iter()), (2.0, 5.0));
        assert_eq!(decades(std::iter::empty()), (0.0, 2.0));
        assert_eq!(each_decade((2.0, 4.0)), [2.0, 3.0, 4.0]);
    }
}
