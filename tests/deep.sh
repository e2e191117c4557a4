#!/usr/bin/env bash
# What takes longer than every change can wait for: the whole assurance table, more random cases, all
# figures.
set -euo pipefail
cd "$(dirname "$0")/.."

tests/all.sh
tests/assurance.sh full
cargo test -p keyway --no-default-features --lib
PROPTEST_CASES="${PROPTEST_CASES:-5000}" cargo test --release --all-features
cargo bench -p keyway --bench ratios
cargo run --release --manifest-path benches/peers/Cargo.toml
cargo bench -p keyway --all-features --bench stores
# As most hosts build it, and with everything that observes and counts.
cargo bench -p keyway --features axum,actix --bench http
cargo bench -p keyway --features console,sqlite --bench console
cargo bench -p keyway --all-features --bench http -- tower
# How soon the page is there, with few keys and with many.
KEYWAY_MEASURE=1 tests/console.sh
