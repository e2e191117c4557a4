#!/usr/bin/env bash
# The core, its cache and its verifier under threads in an interpreter that knows what undefined behaviour
# is, on this machine's kind of processor and on one with the other order of bytes.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
nightly miri rust-src || not_here "no Miri"

# The clock and the randomness are the machine's. Random cases are left to other rows.
export CARGO_TARGET_DIR=target/clean RUST_BACKTRACE=0 PROPTEST_CASES=2 MIRIFLAGS=-Zmiri-disable-isolation
logs=$CARGO_TARGET_DIR/miri
mkdir -p "$logs"
# Thousands of cases each.
slow=(
    cache::generations::tests::every_hash_and_id_has_a_counter
    cache::index::tests
    cache::tests::it_holds_what_it_has_room_for
    cache::uses::tests::what_is_above_the_limit_is_lost_and_counted
)

# interpreted LOG TARGET MANIFEST [ARGUMENT...]
interpreted() {
    local log=$logs/$1 target=$2 manifest=$3
    shift 3
    cargo +nightly miri test --quiet --locked --no-fail-fast --manifest-path "tests/assurance/clean/$manifest/Cargo.toml" \
        --target "$target" "$@" >"$log" 2>&1
}
# A test in which undefined behaviour is found ends all tests of its program.
undefined() { grep -c '^error: Undefined Behavior' "$logs/$1" || true; }
failed() { grep -c '^test .* FAILED$' "$logs/$1" || true; }
passed() { awk '/^test result:/ { sum += $4 } END { print sum + 0 }' "$logs/$1"; }

status=0
for target in x86_64-unknown-linux-gnu s390x-unknown-linux-gnu; do
    interpreted "$target" "$target" core --lib --test token --test verification -- "${tests[@]}" || status=$?
    echo "figure $(($(undefined "$target") + $(failed "$target"))) = 0 undefined or wrong in $(passed "$target") tests of core, cache and verifier interpreted for $target"
done
