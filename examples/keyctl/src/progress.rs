//! A progress bar on stderr.

use std::io::{IsTerminal as _, Write as _, stderr};

use clap::ValueEnum;

use crate::hidden::complain;

/// When a progress bar is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shown {
    /// If stderr is a terminal.
    Auto,
    /// Always. Without a terminal each state is a line of its own.
    Always,
    /// Never.
    Never,
}

/// A progress bar.
#[derive(Debug)]
pub struct Bar {
    what: &'static str,
    all: u64,
    is_shown: bool,
    is_terminal: bool,
}

impl Bar {
    /// The width of a full bar, in characters.
    const WIDTH: u64 = 40;

    /// Creates a bar for `all` steps.
    pub fn new(what: &'static str, all: u64, shown: Shown) -> Self {
        let is_terminal = stderr().is_terminal();
        let is_shown = match shown {
            Shown::Auto => is_terminal,
            Shown::Always => true,
            Shown::Never => false,
        };
        Self { what, all, is_shown, is_terminal }
    }

    /// Shows that `done` steps are done. More steps than announced count as all of them.
    pub fn show(&self, done: u64, note: &str) {
        if !self.is_shown {
            return;
        }
        let filled = done.saturating_mul(Self::WIDTH) / self.all.max(done).max(1);
        let filled = usize::try_from(filled).unwrap_or_default();
        let bar = "#".repeat(filled);
        let all = self.all.max(done);
        let line = format!("{} [{bar:<40}] {done} of {all} {note}", self.what);
        let mut out = stderr().lock();
        // A closed stderr does not end the work.
        let written =
            if self.is_terminal { write!(out, "\r{line}") } else { writeln!(out, "{line}") };
        _ = written.and_then(|()| out.flush());
    }

    /// Ends the line of the bar.
    pub fn end(&self) {
        if self.is_shown && self.is_terminal {
            complain("\n");
        }
    }
}
