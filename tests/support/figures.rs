//! What a test has measured, in lines that `tests/assurance.sh` judges.

#![allow(dead_code, unreachable_pub, reason = "each test file uses some of these")]

use std::{env, fmt::Display};

/// What is claimed.
pub fn figure(value: impl Display, operator: &str, target: impl Display, name: &str) {
    tell("figure", &format!("{value} {operator} {target} {name}"));
}

/// That of something `name` there is nothing.
pub fn none(number: usize, name: &str) {
    figure(number, "=", 0, name);
}

/// What the same check finds where a fault was planted: something.
pub fn caught(number: usize, name: &str) {
    tell("control", &format!("{number} > 0 {name}"));
}

/// What is published without a target.
pub fn measured(value: impl Display, name: &str) {
    tell("measured", &format!("{value} {name}"));
}

/// The runner has begun a line.
fn tell(kind: &str, text: &str) {
    println!("\n{kind} {text}");
}

/// `short`, or `long` where the long forms are asked for.
pub fn scale(short: usize, long: usize) -> usize {
    if env::var("KEYWAY_LONG").as_deref() == Ok("1") { long } else { short }
}
