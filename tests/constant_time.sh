#!/usr/bin/env bash
# Whether the time of a verification depends on the secret: at every level of optimization, since each
# compiles comparisons differently. Ends with 77 where it cannot be run.
#
# Valgrind's processor has no SHA extensions, so what runs is the portable SHA-256.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
    echo "not run: constant time (the requests to valgrind are written for Linux on x86-64)"
    exit 77
fi
if ! command -v valgrind >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get install -y valgrind >/dev/null 2>&1 || true
fi
if ! command -v valgrind >/dev/null 2>&1; then
    echo "not run: constant time (no valgrind)"
    exit 77
fi

export CARGO_TARGET_DIR=target/constant_time
mkdir -p "$CARGO_TARGET_DIR"
failed=()
for level in ${LEVELS:-3 2 1 s z 0}; do
    echo "-- opt-level $level"
    CARGO_PROFILE_RELEASE_OPT_LEVEL=$level cargo build --quiet --release --locked \
        --manifest-path tests/constant_time/Cargo.toml
    log=$CARGO_TARGET_DIR/valgrind-$level.log
    if ! valgrind -q --error-limit=no --log-file="$log" \
        "$CARGO_TARGET_DIR/release/constant-time"; then
        echo "what valgrind reported is in $log"
        failed+=("$level")
    fi
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed at opt-level ${failed[*]}"
    exit 1
fi
