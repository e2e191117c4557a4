#!/usr/bin/env bash
# Runs the fence of the cache under interleavings of its threads. loom tries all interleavings of few threads,
# and shuttle random ones of more threads. See src/cache/fence_tests.rs.
set -euo pipefail
cd "$(dirname "$0")/../../.."

export CARGO_TARGET_DIR=target/clean RUST_BACKTRACE=0
if [ "${MODE:-quick}" = full ]; then
    export KEYWAY_PREEMPTIONS=4 KEYWAY_SCHEDULES=35000
    # The same settings as in overflow.sh, so that its build is used again.
    export CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true
    options=(--release)
else
    options=()
fi
log=$CARGO_TARGET_DIR/interleavings.log
mkdir -p "$CARGO_TARGET_DIR"
for checker in loom shuttle; do
    # The planted faults panic many times, as they should.
    RUSTFLAGS="--cfg keyway_$checker" cargo test --locked "${options[@]}" -p keyway --lib fence_tests \
        -- --nocapture --test-threads=3 2>"$log" ||
        { tail -50 "$log"; exit 1; }
done
