//! How the demonstration writes: to standard error, with colour only where somebody looks at it.

use std::io::IsTerminal;

use crate::answer::say;

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";

pub(super) struct Pen {
    is_coloured: bool,
    steps: u32,
}

impl Pen {
    /// Colours for a terminal, unless `NO_COLOR` (no-color.org) or `TERM=dumb` asks for none.
    pub(super) fn new() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            is_coloured: std::io::stderr().is_terminal() && !unwanted,
            steps: 0,
        }
    }

    pub(super) fn title(&self, text: &str) {
        say(&format!("\n{}", self.in_style(BOLD, text)));
    }

    pub(super) fn step(&mut self, text: &str) {
        self.steps += 1;
        say(&format!(
            "\n{}",
            self.in_style(BOLD, &format!("{}  {text}", self.steps))
        ));
    }

    pub(super) fn line(&self, text: &str) {
        say(&format!("   {text}"));
    }

    pub(super) fn quiet(&self, text: &str) {
        say(&format!("   {}", self.in_style(DIM, text)));
    }

    pub(super) fn good(&self, text: &str) {
        say(&format!("   {} {text}", self.in_style(GREEN, "✓")));
    }

    fn in_style(&self, style: &str, text: &str) -> String {
        if self.is_coloured {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
