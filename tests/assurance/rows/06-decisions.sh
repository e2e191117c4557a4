#!/usr/bin/env bash
# claim: who may do what is decided as a naive model decides it, which shares no code with the library
#
# tests/assurance/model says what is compared. Histories of a keyring with its store and cache are held
# against a model of their own in tests/model.rs, with every `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/../../.."

case $MODE in
    full) decisions=100000000 ;;
    *) decisions=1000000 ;;
esac

export CARGO_TARGET_DIR=target/assurance_model
cargo build --quiet --release --locked --manifest-path tests/assurance/model/Cargo.toml
"$CARGO_TARGET_DIR/release/model" "$decisions" "$MODE"
