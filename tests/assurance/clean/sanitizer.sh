#!/usr/bin/env bash
# Runs the core and its SQLite store with AddressSanitizer, which also checks the memory that keyway and
# SQLite share.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || not_here "the sanitizer is set up for Linux on x86-64"
nightly || not_here "no nightly toolchain"

# With `--target`, build scripts and macros are built without the sanitizer. SQLite itself is compiled with it
# as well.
target=x86_64-unknown-linux-gnu
export CARGO_TARGET_DIR=target/clean/sanitizer RUST_BACKTRACE=0 PROPTEST_CASES=32
export CARGO_PROFILE_DEV_DEBUG=line-tables-only CARGO_INCREMENTAL=0
export RUSTFLAGS=-Zsanitizer=address CFLAGS_x86_64_unknown_linux_gnu=-fsanitize=address
mkdir -p "$CARGO_TARGET_DIR"
planted=tests/assurance/clean/planted/Cargo.toml
# sanitized LOG MANIFEST [ARGUMENT...]
sanitized() {
    local log=$CARGO_TARGET_DIR/$1.log manifest=$2
    shift 2
    cargo +nightly test --quiet --locked --no-fail-fast --target "$target" --manifest-path "$manifest" "$@" \
        >"$log" 2>&1
}
reports() { grep -c 'ERROR: \(Address\|Leak\)Sanitizer' "$CARGO_TARGET_DIR/$1.log" || true; }
results() { awk -v field="$2" '/^test result:/ { sum += $field } END { print sum + 0 }' "$CARGO_TARGET_DIR/$1.log"; }

status=0
sanitized core Cargo.toml --features sqlite,conformance --lib --test sqlite || status=$?
[ $status = 0 ] || tail -60 "$CARGO_TARGET_DIR/core.log"
echo "figure $(($(reports core) + $(results core 6))) = 0 reports or failures of AddressSanitizer in $(results core 4) tests of core and SQLite store"
sum=0
for fault in reads_behind_the_end writes_behind_the_end; do
    sanitized "$fault" "$planted" "$fault" && exit 1
    sum=$((sum + $(grep -c 'AddressSanitizer: heap-buffer-overflow' "$CARGO_TARGET_DIR/$fault.log" || true) / 2))
done
echo "control $sum >= 2 planted accesses behind the end of a heap allocation reported"
exit $status
