//! Invalid uses of the API do not compile. The compiler must reject each file of `fail` with the errors
//! beside it. Each file of `pass` shows the valid way.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

/// The compiler version whose error texts are recorded. Other versions have other texts.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn invalid_uses_of_the_api_do_not_compile() {
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
