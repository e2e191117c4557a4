//! The measurements of a test, as lines that `tests/assurance.sh` judges.

use std::{env, fmt::Display};

/// Prints a measurement with its target.
pub fn figure(value: impl Display, operator: &str, target: impl Display, name: &str) {
    tell("figure", &format!("{value} {operator} {target} {name}"));
}

/// Prints a measurement with the target zero.
pub fn none(number: usize, name: &str) {
    figure(number, "=", 0, name);
}

/// Prints what the same check finds where a fault was planted: at least one finding.
pub fn caught(number: usize, name: &str) {
    tell("control", &format!("{number} > 0 {name}"));
}

/// Prints a measurement without a target.
pub fn measured(value: impl Display, name: &str) {
    tell("measured", &format!("{value} {name}"));
}

/// The test runner may have begun a line, so this starts a new one.
fn tell(kind: &str, text: &str) {
    println!("\n{kind} {text}");
}

/// Returns `short`, or `long` if the long forms are requested.
pub fn scale(short: usize, long: usize) -> usize {
    if env::var("KEYWAY_LONG").as_deref() == Ok("1") { long } else { short }
}
