//! The output of commands: tables for people, and JSON.

use std::io::{Write as _, stdout};

use serde_json::{Value, json};

use crate::{failure::Failure, hidden::complain, table::Table};

/// Writes results to stdout and notes to stderr.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Whether results are JSON.
    pub json: bool,
}

impl Output {
    /// Writes the one result of a command: `text` for people, or `value` as one document of JSON.
    pub fn result(self, value: &Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json { self.write(&format!("{value:#}\n")) } else { self.write(&text()) }
    }

    /// Writes one of many results, as one line of JSON.
    pub fn line(self, value: &Value) -> Result<(), Failure> {
        self.write(&format!("{value}\n"))
    }

    /// Writes a list: a table for people, or one line of JSON for each item.
    pub fn list(self, items: &[Value], table: impl FnOnce() -> Table) -> Result<(), Failure> {
        if self.json {
            return items.iter().try_for_each(|item| self.line(item));
        }
        self.write(&table().to_string())
    }

    /// Writes text to stdout. It is not buffered afterwards: a token that was written is not lost.
    pub fn write(self, text: &str) -> Result<(), Failure> {
        let mut out = stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }

    /// Returns a number with its noun, such as `1 problem` or `2 problems`.
    pub fn count(number: usize, noun: &str) -> String {
        if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
    }

    /// Writes a note for people to stderr. Programs that read JSON get none.
    pub fn note(self, text: &str) {
        if !self.json {
            complain(&format!("{text}\n"));
        }
    }

    /// Writes something that is wrong in an input to stderr.
    pub fn problem(self, value: &Value, text: &str) {
        let line = if self.json { value.to_string() } else { text.to_owned() };
        complain(&format!("{line}\n"));
    }

    /// Writes a warning to stderr, in every form of output.
    pub fn warn(self, text: &str) {
        if self.json {
            complain(&format!("{}\n", json!({ "warning": text })));
        } else {
            complain(&format!("warning: {text}\n"));
        }
    }
}
