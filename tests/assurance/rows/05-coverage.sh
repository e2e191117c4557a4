#!/usr/bin/env bash
# claim: the tests of the core run nearly all of it, and a full run fails where they run less of it than was kept
# with: nightly, cargo-llvm-cov
# only: full
# depends: src :!src/console* :!src/http* :!src/store/postgres* :!src/store/sqlite* :!src/store/sql* :!src/store/conformance* :!src/rate* :!src/cache/fence_tests* tests/vectors tests/core tests/support tests/assurance/coverage tests/assurance/coverage.awk
# figure: >= 98 percent of * lines of the core run by its tests
# figure: >= 95 percent of * branches of the core taken, each in both directions
# figure: <= 0.05 percent of the lines fewer than was kept (*)
# figure: <= 0.05 percent of the branches fewer than was kept (*)
# control: > 0.05 percent of the lines fewer where the tests of imports are left out
#
# The core is all of `src` that is compiled with the default features: no database but memory, no HTTP, no
# console. Its tests are tests/core and the unit tests. The lines of unit tests are not counted.
# tests/assurance/coverage has the last recorded figures, below which coverage must not fall:
#
#   tests/assurance/rows/05-coverage.sh keep     records the new figures
#   tests/assurance/rows/05-coverage.sh show     prints the lines and branches that are not covered
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
nightly llvm-tools || not_here "no nightly toolchain with llvm-tools"
cargo_tool cargo-llvm-cov || not_here "no cargo-llvm-cov"

# A separate directory, since another compiler builds everything in it.
export CARGO_TARGET_DIR=$PWD/target/coverage
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=line-tables-only
kept=tests/assurance/coverage
mkdir -p "$CARGO_TARGET_DIR"

# Runs the tests with these arguments, and writes their coverage to a file.
run() {
    local trace=$1
    shift
    cargo +nightly llvm-cov clean --profraw-only
    cargo +nightly llvm-cov --quiet --no-clean --branch --package keyway --lib --test core \
        --lcov --output-path "$trace" -- "$@" >"$trace.log" 2>&1 ||
        { tail -n 40 "$trace.log" && exit 1; }
}
totals() { awk -v output=totals -f tests/assurance/coverage.awk "$1"; }
percent() { awk -v part="$1" -v all="$2" 'BEGIN { printf "%.2f", int(10000 * part / all) / 100 }'; }
lost() { awk -v was="$1" -v is="$2" 'BEGIN { printf "%.2f", (was > is) ? was - is : 0 }'; }

run "$CARGO_TARGET_DIR/all.lcov"
read -r lines run_lines branches taken < <(totals "$CARGO_TARGET_DIR/all.lcov")
line_share=$(percent "$run_lines" "$lines")
branch_share=$(percent "$taken" "$branches")
case ${1:-} in
    keep) echo "$line_share $branch_share" >"$kept" ;;
    show) awk -v output=missing -f tests/assurance/coverage.awk "$CARGO_TARGET_DIR/all.lcov" ;;
esac
read -r kept_lines kept_branches <"$kept"

echo "figure $line_share >= 98 percent of $lines lines of the core run by its tests"
echo "figure $branch_share >= 95 percent of $branches branches of the core taken, each in both directions"
echo "figure $(lost "$kept_lines" "$line_share") <= 0.05 percent of the lines fewer than was kept ($kept_lines)"
echo "figure $(lost "$kept_branches" "$branch_share") <= 0.05 percent of the branches fewer than was kept ($kept_branches)"

# The same check, without one test file.
run "$CARGO_TARGET_DIR/control.lcov" --skip import::
read -r lines run_lines branches taken < <(totals "$CARGO_TARGET_DIR/control.lcov")
echo "control $(lost "$kept_lines" "$(percent "$run_lines" "$lines")") > 0.05 percent of the lines fewer where the tests of imports are left out"
