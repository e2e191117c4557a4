#!/usr/bin/env bash
# Runs the core, its cache and its verifier with threads under Miri, which detects undefined behavior. It
# interprets them for this machine's architecture and for one with the other byte order.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
nightly miri rust-src || not_here "no Miri"

# The clock and the randomness are those of the machine. Other rows have the random cases.
export CARGO_TARGET_DIR=target/clean RUST_BACKTRACE=0 PROPTEST_CASES=2 MIRIFLAGS=-Zmiri-disable-isolation
logs=$CARGO_TARGET_DIR/interpreted
planted=tests/assurance/clean/planted/Cargo.toml
mkdir -p "$logs"
# Unit tests of the core and its cache that are left out, since they run thousands of cases.
slow=(
    cache::generations::tests::every_hash_and_id_has_a_counter
    cache::index::tests
    cache::tests::cache_holds_its_capacity
    cache::negative::tests
    cache::uses::tests::uses_above_the_limit_are_lost_and_counted
    mac::hash::tests::digests_of_all_lengths_agree_with_the_sha2_crate
    token::key_id::tests::every_derived_id_is_an_id_in_its_slot
)
# Some of the integration tests: those with threads, and those with expected bytes. Each takes minutes.
chosen=(
    verification::many_threads_verify_while_others_write
    verification::read_begun_before_a_write_is_not_served_after
    keyring::key_issued_during_a_tier_change_counts_on_the_new_tier
    keyring::second_of_two_concurrent_edits_is_a_conflict
    token::the_tag_is_the_start_of_an_hmac_over_id_and_secret
    token::a_token_made_by_the_formula_alone_is_accepted
    token::the_valid_vector_is_accepted
    records::encoding_is_the_same_on_every_machine_and_in_every_release
    records::a_seal_is_an_hmac_over_the_kind_and_the_bytes
    records::a_key_reads_back_as_it_was_written
)

# interpreted LOG TARGET MANIFEST [ARGUMENT...]
interpreted() {
    local log=$logs/$1 target=$2 manifest=$3
    shift 3
    cargo +nightly miri test --locked --no-fail-fast --manifest-path "$manifest" --target "$target" "$@" \
        >>"$log" 2>&1
}
# Undefined behavior in one test ends all tests of its program.
undefined() { grep -c 'error: Undefined Behavior' "$logs/$1" || true; }
failed() { grep -c '^test .*FAILED$' "$logs/$1" || true; }
passed() { awk '/^test result:/ { sum += $4 } END { print sum + 0 }' "$logs/$1"; }

core() {
    local target=$1 skipped=() status=0
    for test in "${slow[@]}"; do skipped+=(--skip "$test"); done
    interpreted "core-$target" "$target" Cargo.toml --lib -- "${skipped[@]}" || status=$?
    interpreted "core-$target" "$target" Cargo.toml --test core -- --exact "${chosen[@]}" || status=$?
    return $status
}

targets=(x86_64-unknown-linux-gnu s390x-unknown-linux-gnu)
runs=()
rm -f "$logs"/*
for target in "${targets[@]}"; do cargo +nightly miri setup --target "$target" >"$logs/setup" 2>&1; done
for target in "${targets[@]}"; do
    core "$target" &
    runs+=($!)
done
status=0
for run in 0 1; do
    target=${targets[run]}
    wait "${runs[run]}" || { status=$?; grep -E '^error|^test .*FAILED$' "$logs/core-$target"; }
    echo "figure $(($(undefined "core-$target") + $(failed "core-$target"))) = 0 undefined or failed of $(passed "core-$target") tests of core, cache and verifier interpreted for ${target%%-*}"
done
echo "figure $(passed "core-${targets[1]}") = $(passed "core-${targets[0]}") tests passed in the order of bytes of s390x as in that of x86_64"

# Fails if a test of the list has been renamed.
for target in "${targets[@]}"; do tests_ran "$logs/core-$target" -- "${chosen[@]}" || status=1; done

sum=0
for target in "${targets[@]}"; do
    for fault in reads_behind_the_end races; do
        interpreted "$fault-$target" "$target" "$planted" "$fault" && exit 1
        sum=$((sum + $(undefined "$fault-$target")))
    done
done
echo "control $sum = 4 planted reads behind an end and races reported, on both"
interpreted encoding-here "${targets[0]}" "$planted" encodes_alike_everywhere
interpreted encoding-there "${targets[1]}" "$planted" encodes_alike_everywhere && exit 1
echo "control $(failed encoding-there) = 1 planted encoding that fails on s390x, and passes on x86_64"
exit $status
