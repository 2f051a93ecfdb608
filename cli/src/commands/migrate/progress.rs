//! How far a migration is: a bar at a terminal, a few lines elsewhere. And an interrupt, which ends it between two records.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cache_core::cache::migration::{MigrationObserver, MigrationProgress};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::AbortHandle;

use crate::answer::say;
use crate::failure::Failure;
use crate::stopping;

/// From how many records on lines are worth their place.
const MANY: u64 = 50;

/// Shows the progress.
pub(super) struct Shown {
    form: Form,
    is_stopped: Arc<AtomicBool>,
    listening: AbortHandle,
}

enum Form {
    Bar(ProgressBar),
    /// The tenth that was told last.
    Lines(AtomicU64),
    Nothing,
}

impl Shown {
    /// From now on an interrupt is heeded here.
    pub(super) fn new(json: bool) -> Result<Self, Failure> {
        let form = if json {
            Form::Nothing
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:32} {pos} of {len} records, {msg}");
            Form::Bar(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
        } else {
            Form::Lines(AtomicU64::new(0))
        };
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (mut stop, flag) = (stopping::signals()?, Arc::clone(&is_stopped));
        let listening = tokio::spawn(async move {
            stop.requested().await;
            flag.store(true, Ordering::Relaxed);
        });
        Ok(Self {
            form,
            is_stopped,
            listening: listening.abort_handle(),
        })
    }

    /// Takes the bar away, before the last word.
    pub(super) fn finish(&self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}

impl MigrationObserver for Shown {
    fn progress(&self, progress: &MigrationProgress) -> ControlFlow<()> {
        match &self.form {
            Form::Bar(bar) => {
                bar.set_length(progress.total);
                bar.set_position(progress.done);
                bar.set_message(HumanBytes(progress.bytes).to_string());
            }
            Form::Lines(told) => {
                let tenth = progress.done.saturating_mul(10) / progress.total.max(1);
                if progress.total >= MANY && told.swap(tenth, Ordering::Relaxed) < tenth {
                    say(&format!("{} of {} records", progress.done, progress.total));
                }
            }
            Form::Nothing => {}
        }
        if self.is_stopped.load(Ordering::Relaxed) && progress.done < progress.total {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.listening.abort();
    }
}
