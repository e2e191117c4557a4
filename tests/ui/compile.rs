//! What must not happen cannot be written: each file of `fail` is refused by the compiler, in the
//! words beside it, and each of `pass` is the way it is meant to be written.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

/// The compiler in whose words the errors are recorded. Other versions put them differently.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn what_must_not_be_written_does_not_compile() {
    let version = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("--version")
        .output()
        .unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    if !version.starts_with(COMPILER) {
        println!("skipped: the errors are those of {COMPILER}x, and this is {version}");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.pass("pass/*.rs");
    cases.compile_fail("fail/*.rs");
}
