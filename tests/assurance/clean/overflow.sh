#!/usr/bin/env bash
# Runs the core and its SQLite store optimized and with overflow checks. An addition that would wrap in a
# release panics here.
set -euo pipefail
cd "$(dirname "$0")/../../.."

export CARGO_TARGET_DIR=target/clean RUST_BACKTRACE=0
logs=$CARGO_TARGET_DIR/overflow
planted=tests/assurance/clean/planted/Cargo.toml
mkdir -p "$logs"
# tested LOG CHECKS MANIFEST [ARGUMENT...]
tested() {
    local log=$logs/$1 checks=$2 manifest=$3
    shift 3
    CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=$checks cargo test --quiet --locked --release --no-fail-fast \
        --manifest-path "$manifest" "$@" >"$log" 2>&1
}
passed() { awk '/^test result:/ { sum += $4 } END { print sum + 0 }' "$logs/$1"; }
failed() { awk '/^test result:/ { sum += $6 } END { print sum + 0 }' "$logs/$1"; }

status=0
tested core true Cargo.toml --tests --features sqlite,conformance || status=$?
[ $status = 0 ] || tail -50 "$logs/core"
echo "figure $(failed core) = 0 of $(passed core) tests fail in a release with overflow checks"
tested planted true "$planted" overflows && exit 1
echo "control $(grep -c 'attempt to add with overflow' "$logs/planted") > 0 planted overflow is noticed"
# Without the checks the planted fault is not noticed.
tested unchecked false "$planted" overflows
exit $status
