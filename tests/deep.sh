#!/usr/bin/env bash
# What takes longer than every change can wait for: more random cases, longer fuzzing, thousands of
# killed processes, all figures.
set -euo pipefail
cd "$(dirname "$0")/.."

tests/all.sh
cargo test -p keyway --no-default-features --lib
PROPTEST_CASES="${PROPTEST_CASES:-5000}" cargo test --release --all-features
FUZZ_SECONDS="${FUZZ_SECONDS:-300}"
for target in $(cargo +nightly fuzz list); do
    mkdir -p "target/fuzz-corpus/$target"
    cargo +nightly fuzz run "$target" -s none "target/fuzz-corpus/$target" "fuzz/corpus/$target" \
        -- -max_total_time="$FUZZ_SECONDS" -verbosity=0
done
cargo bench -p keyway --bench ratios
cargo run --release --manifest-path benches/peers/Cargo.toml
KEYWAY_LONG=1 cargo test -p keyway --release --all-features --test processes -- --nocapture --test-threads=1
cargo bench -p keyway --all-features --bench stores
# As most hosts build it, and with everything that observes and counts.
cargo bench -p keyway --features axum,actix --bench http
cargo bench -p keyway --features console,sqlite --bench console
cargo bench -p keyway --all-features --bench http -- tower
KEYWAY_LONG=1 cargo test -p keyway --release --all-features --test revocation -- --nocapture
# How soon the page is there, with few keys and with many.
KEYWAY_MEASURE=1 tests/console.sh
