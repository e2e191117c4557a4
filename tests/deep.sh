#!/usr/bin/env bash
# Runs the checks that take too long for every change: the whole assurance table, more random cases, all
# benchmarks.
set -euo pipefail
cd "$(dirname "$0")/.."

tests/all.sh
tests/assurance.sh full
source tests/tools.sh
tested --release "${whole[@]}" --test large_tenants --test large_usage --test statements -- --nocapture
cargo test -p keyway --no-default-features --lib
PROPTEST_CASES="${PROPTEST_CASES:-5000}" cargo test --release "${whole[@]}" -- --include-ignored
cargo bench -p keyway --bench ratios
cargo run --release --manifest-path benches/peers/Cargo.toml
cargo bench -p keyway-tests --bench stores
# With the features of most applications, and with all that observe and count.
cargo bench -p keyway-tests --no-default-features --bench http
cargo bench -p keyway-tests --no-default-features --features stores --bench console
cargo bench -p keyway-tests --bench http -- tower
cargo bench -p keyway-neighbor-tests --bench grpc
examples/gateway/check.sh measure
# Every test of the console in every browser, and how soon the page is usable, with few keys and with many.
tests/console.sh full
