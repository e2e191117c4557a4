#!/usr/bin/env bash
# Checks every feature alone and every pair of features, which finds a missing `#[cfg]`. All 65,536 sets would
# take days. The conditions in the sources combine at most two features.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
source tests/assurance/clean/copy.sh
cargo_tool cargo-hack || not_here "no cargo-hack"

log=target/clean/features.log
# checked DIRECTORY: checks without dev-dependencies, which enable features.
checked() {
    CARGO_TARGET_DIR=$root/target/clean cargo hack check --manifest-path "$1/Cargo.toml" --feature-powerset \
        --depth 2 --no-dev-deps --keep-going >"$log" 2>&1
}
sets() { grep -c '^info: running `cargo check' "$log" || true; }
failures() { grep -c '^error: could not compile' "$log" || true; }

copy target/clean/features
status=0
RUSTFLAGS="-D warnings" checked "$root/target/clean/features" || status=$?
[ $status = 0 ] || tail -50 "$log"
echo "figure $(failures) = 0 of $(sets) sets of features do not compile, or with warnings"
checked "$root/tests/assurance/clean/planted" && exit 1
echo "control $(failures) = 1 of $(sets) sets does not compile: a planted pair, of features that do alone"
exit $status
