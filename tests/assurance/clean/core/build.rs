//! Tells the sources which model checker takes the place of threads, and the tests where their files are.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for checker in ["loom", "shuttle"] {
        if env::var_os(format!("CARGO_FEATURE_{}", checker.to_uppercase())).is_some() {
            println!("cargo::rustc-cfg=keyway_{checker}");
        }
    }
    let package = env::var("CARGO_MANIFEST_DIR").unwrap();
    println!("cargo::rustc-env=CARGO_MANIFEST_DIR={package}/../../../..");
}
