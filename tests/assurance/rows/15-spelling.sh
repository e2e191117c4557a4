#!/usr/bin/env bash
# claim: a token has one spelling: no edit and no encoding of it is accepted, and malformed headers are answered as the shipped corpus says
#
# Every edit is tried in tests/assurance/edges/src/bin/spelling.rs. The corpus, tests/vectors/headers.txt, was
# made with an implementation of the format of its own, and says in its head how it is read.
set -euo pipefail
cd "$(dirname "$0")/../../.."

case $MODE in
    full) tokens=100 ;;
    *) tokens=2 ;;
esac

CARGO_TARGET_DIR=target/assurance_edges \
    cargo build --quiet --release --locked --manifest-path tests/assurance/edges/Cargo.toml
target/assurance_edges/release/spelling "$tokens"

cargo test --quiet --all-features --test headers -- --show-output
