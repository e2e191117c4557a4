#!/usr/bin/env bash
# The fence of the cache under the interleavings of its threads: all of few threads by loom, random ones of
# more threads by shuttle. See src/cache/fence_tests.rs.
set -euo pipefail
cd "$(dirname "$0")/../../.."

export CARGO_TARGET_DIR=target/clean RUST_BACKTRACE=0
if [ "${MODE:-quick}" = full ]; then
    export KEYWAY_PREEMPTIONS=4 KEYWAY_SCHEDULES=35000
    # The build is that of overflow.sh.
    export CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true
    options=(--release)
else
    options=()
fi
log=$CARGO_TARGET_DIR/interleavings.log
mkdir -p "$CARGO_TARGET_DIR"
for checker in loom shuttle; do
    # The planted faults panic, many times and as they should.
    cargo test --locked "${options[@]}" --manifest-path tests/assurance/clean/core/Cargo.toml --lib \
        --features "$checker" fence_tests -- --nocapture --test-threads=3 2>"$log" ||
        { tail -50 "$log"; exit 1; }
done
