#!/usr/bin/env bash
# claim: no branch or index depends on a secret byte, from the bytes of the header to the decision
#
# At every level of optimization, since each compiles comparisons differently. Valgrind's processor has no
# SHA extensions, so what runs is the portable SHA-256.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
    not_here "the requests to valgrind are written for Linux on x86-64"
debian valgrind || not_here "no valgrind"

export CARGO_TARGET_DIR=target/constant_time
mkdir -p "$CARGO_TARGET_DIR"
failed=()
for level in ${LEVELS:-3 2 1 s z 0}; do
    echo "-- opt-level $level"
    CARGO_PROFILE_RELEASE_OPT_LEVEL=$level cargo build --quiet --release --locked \
        --manifest-path tests/assurance/constant_time/Cargo.toml
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
