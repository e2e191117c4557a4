#!/usr/bin/env bash
# claim: no branch or index depends on a byte of a secret, from the header fields of a request to the answer, nor while the private key of children is derived from a token and signs, beside the branches that tell what is answered
# with: valgrind
# depends: src :!src/console* :!src/store/postgres* :!src/store/sqlite* :!src/store/sql* :!src/store/conformance* :!src/cache/fence_tests* tests/assurance/constant_time
# full figure: = 0 reports beside the declared branches, at the worst of opt-levels 3 2 1 s z 0
# quick figure: = 0 reports beside the declared branches, at the worst of opt-levels 3 0
# figure: = 0 answers or declared branches that are not as expected
# figure: >= 16 functions, among them the whole path through a guard and that to a child, in * cases
# control: > 0 reports of the planted leak that makes the fewest, at opt-level 3
# full control: > 0 reports of the planted leak that makes the fewest, at opt-level 2
# full control: > 0 reports of the planted leak that makes the fewest, at opt-level 1
# full control: > 0 reports of the planted leak that makes the fewest, at opt-level s
# full control: > 0 reports of the planted leak that makes the fewest, at opt-level z
# control: > 0 reports of the planted leak that makes the fewest, at opt-level 0
#
# Memcheck reports every branch and every address that depends on bytes that the program marks as undefined:
# see tests/assurance/constant_time. All levels of optimization are measured, since each compiles comparisons
# differently. Valgrind's processor has no SHA extensions, so the portable SHA-256 runs.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
    not_here "the requests to valgrind are written for Linux on x86-64"
debian valgrind || not_here "no valgrind"

export CARGO_TARGET_DIR=target/constant_time
mkdir -p "$CARGO_TARGET_DIR"

# Compiles the program. All crates that handle a secret are compiled at this level of optimization.
compile() {
    local level=$1 crate settings=()
    [[ $level = [0-9] ]] || level="\"$level\""
    for crate in base64ct block-buffer cmov crypto-common ctutils curve25519-dalek digest ed25519 \
        ed25519-dalek hmac hybrid-array keyway sha2 subtle zeroize; do
        settings+=(--config "profile.release.package.$crate.opt-level=$level")
    done
    cargo build --quiet --release --locked --config "profile.release.opt-level=$level" "${settings[@]}" \
        --manifest-path tests/assurance/constant_time/Cargo.toml
}

levels=(3 0)
[ "$MODE" = quick ] || levels=(3 2 1 s z 0)
undeclared=0 failures=0 functions=0 subjects=0 controls=()
for level in "${levels[@]}"; do
    echo "-- opt-level $level"
    compile "$level"
    log=$CARGO_TARGET_DIR/valgrind-$level.log
    out=$CARGO_TARGET_DIR/reports-$level
    valgrind -q --error-limit=no --log-file="$log" "$CARGO_TARGET_DIR/release/constant-time" >"$out" || true
    grep '^not as expected' "$out" && echo "every subject is in $out, and what valgrind reported in $log"
    # Without this line the program did not finish.
    read -r _ found failed functions subjects control < <(grep '^summary ' "$out")
    undeclared=$((undeclared > found ? undeclared : found))
    failures=$((failures + failed))
    controls+=("control $control > 0 reports of the planted leak that makes the fewest, at opt-level $level")
done
echo "figure $undeclared = 0 reports beside the declared branches, at the worst of opt-levels ${levels[*]}"
echo "figure $failures = 0 answers or declared branches that are not as expected"
echo "figure $functions >= 16 functions, among them the whole path through a guard and that to a child, in $subjects cases"
printf '%s\n' "${controls[@]}"
