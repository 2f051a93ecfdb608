//! How far a measurement is: a bar at a terminal, a line for each stage elsewhere.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use benches::workload::explore::Observer;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::answer::say;

/// Shows the progress.
pub(super) enum Shown {
    Bar(ProgressBar),
    /// The stage that was told last.
    Lines(Mutex<String>),
    Nothing,
}

impl Shown {
    pub(super) fn new(json: bool) -> Self {
        if json {
            return Self::Nothing;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines(Mutex::default());
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:32} {pos} of {len}, {msg} ({elapsed})");
        bar.enable_steady_tick(Duration::from_millis(200));
        Self::Bar(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    /// One run that takes `seconds`.
    pub(super) fn running(&self, seconds: f64) {
        self.progress(&format!("one run of {seconds:.1} s"), 0, 1);
    }

    /// Takes the bar away, before the last word.
    pub(super) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Shown {
    fn progress(&self, stage: &str, done: usize, total: usize) {
        match self {
            Self::Bar(bar) => {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                bar.set_message(stage.to_owned());
            }
            Self::Lines(told) => {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                if *told != stage {
                    stage.clone_into(&mut told);
                    say(&format!("measuring: {stage}, {total} runs"));
                }
            }
            Self::Nothing => {}
        }
    }
}
