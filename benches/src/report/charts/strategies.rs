//! The strategies beside each other, by what the rule compares.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Area, CHOSEN, Chart, Drawn, INK, MUTED, OTHER, Size, both, pixel, real, small, text};
use crate::report::units::{duration, three_digits};
use crate::workload::explore::Exploration;
use crate::workload::{BenchError, Figures};

/// How many are shown; the table has them all.
const MOST: usize = 8;

const ROW: f64 = 44.0;
const HEAD: f64 = 34.0;

struct Bar {
    number: usize,
    label: String,
    figures: Figures,
    is_chosen: bool,
}

struct Panel {
    title: &'static str,
    value: fn(&Figures) -> f64,
    shown: fn(f64) -> String,
}

const PANELS: [Panel; 3] = [
    Panel {
        title: "mean of the slowest hundredth of waits",
        value: |figures| figures.slowest_nanoseconds,
        shown: duration,
    },
    Panel {
        title: "requests at the authority per second",
        value: |figures| figures.requests_per_second,
        shown: three_digits,
    },
    Panel {
        title: "processor time for each wait",
        value: |figures| figures.cpu_nanoseconds,
        shown: duration,
    },
];

/// The contenders in the order in which the rule leaves them, which the table and the chart number alike: the recommended one first,
/// then those that were left beside it the longest.
pub(in crate::report) fn shown(exploration: &Exploration) -> Vec<usize> {
    let mut order: Vec<_> = (0..exploration.contenders.len()).collect();
    let place = |index: &usize| {
        let step = exploration.choice.out_at.get(*index).copied().flatten();
        let figures = exploration.contenders[*index].median();
        let value = step
            .zip(figures)
            .and_then(|(step, figures)| step.figure(&figures));
        (step, value.unwrap_or(0.0))
    };
    order.sort_by(|a, b| {
        let ((this, less), (that, more)) = (place(a), place(b));
        // No step is the recommended one's; a later step is nearer to it.
        let is_out = (this.is_some(), that.is_some());
        is_out
            .0
            .cmp(&is_out.1)
            .then(that.cmp(&this))
            .then(less.total_cmp(&more))
    });
    order
}

/// Three bars for each of the best, and for what the workload itself says; `None` where there is nothing to compare.
pub(in crate::report) fn strategies(exploration: &Exploration) -> Result<Option<Chart>, BenchError> {
    let Some(chosen) = exploration.recommended() else {
        return Ok(None);
    };
    let order = shown(exploration);
    let place_of_default = order.iter().position(|index| *index == 0).unwrap_or(0);
    let bars: Vec<_> = order
        .iter()
        .enumerate()
        .filter(|(place, _)| {
            let is_among_the_first = *place < MOST;
            // The last place is for what the workload itself says, where that is further down.
            let gives_way = place_of_default >= MOST && *place == MOST - 1;
            (is_among_the_first && !gives_way) || *place == place_of_default
        })
        .filter_map(|(place, index)| {
            let contender = &exploration.contenders[*index];
            let difference = contender.candidate.difference(&chosen.candidate).join(", ");
            let is_chosen = *index == exploration.choice.chosen;
            Some(Bar {
                number: place + 1,
                label: if is_chosen {
                    "recommended".to_owned()
                } else {
                    difference
                },
                figures: contender.median()?,
                is_chosen,
            })
        })
        .collect();
    if bars.len() < 2 {
        return Ok(None);
    }
    let panel = HEAD + ROW * real(bars.len()) + 12.0;
    let height = |panels: f64| u32::try_from(pixel(panel * panels)).unwrap_or(0);
    both("strategies", (height(1.0), height(3.0)), |area, size| {
        for (place, which) in PANELS.iter().enumerate() {
            let (left, top, width) = if size.is_narrow {
                (4.0, panel * real(place), f64::from(size.width) - 8.0)
            } else {
                let third = f64::from(size.width) / 3.0;
                (third * real(place) + 4.0, 0.0, third - 20.0)
            };
            draw(area, which, &bars, (left, top, width), size)?;
        }
        Ok(())
    })
    .map(Some)
}

fn draw(area: &Area<'_>, panel: &Panel, bars: &[Bar], (left, top, width): (f64, f64, f64), _: Size) -> Drawn {
    area.draw(&Text::new(panel.title, (pixel(left), pixel(top) + 4), text(INK)))?;
    let most = bars
        .iter()
        .map(|bar| (panel.value)(&bar.figures))
        .fold(f64::MIN_POSITIVE, f64::max);
    for (place, bar) in bars.iter().enumerate() {
        let y = top + HEAD + ROW * real(place);
        let value = (panel.value)(&bar.figures);
        let colour = if bar.is_chosen { CHOSEN } else { OTHER };
        let label = fitted(&format!("{}  {}", bar.number, bar.label), width);
        let ink = if bar.is_chosen { INK } else { MUTED };
        area.draw(&Text::new(label, (pixel(left), pixel(y)), small(ink)))?;
        // Room for the number beside the longest bar.
        let length = ((width - 70.0) * value / most).max(2.0);
        let corners = [
            (pixel(left), pixel(y) + 17),
            (pixel(left + length), pixel(y) + 31),
        ];
        area.draw(&Rectangle::new(corners, colour.filled()))?;
        let style = small(INK).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(
            (panel.shown)(value),
            (pixel(left + length) + 6, pixel(y) + 24),
            style,
        ))?;
    }
    Ok(())
}

/// As much of `label` as has room.
fn fitted(label: &str, width: f64) -> String {
    let most = super::index(width / 6.0);
    if label.chars().count() <= most {
        return label.to_owned();
    }
    let cut: String = label.chars().take(most.saturating_sub(1)).collect();
    let whole = cut.rfind(", ").map_or(cut.as_str(), |comma| &cut[..comma]);
    format!("{whole}, …")
}

#[cfg(test)]
mod tests {
    use super::fitted;

    #[test]
    fn a_label_is_cut_between_words() {
        assert_eq!(fitted("2  refresh ahead", 200.0), "2  refresh ahead");
        assert_eq!(
            fitted("2  refresh ahead, write behind, Redis", 200.0),
            "2  refresh ahead, write behind, …"
        );
    }
}
