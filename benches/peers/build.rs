//! Passes the compiler's version to the report.

use std::{env, process::Command};

fn main() {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .unwrap_or_else(|| "rustc of unknown version".into());
    println!("cargo::rustc-env=PEERS_RUSTC={}", version.trim());
    println!("cargo::rerun-if-changed=build.rs");
}
