#!/usr/bin/env bash
# Checks that the oldest versions that Cargo.toml allows are enough: keyway compiles with them and its tests
# pass.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
source tests/assurance/clean/copy.sh
nightly || not_here "no nightly toolchain"
cargo_tool cargo-hack || not_here "no cargo-hack"

# The oldest compiler is not part of this check, since actix-web needs a newer one than the core.
export CARGO_TARGET_DIR=$root/target/clean CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS=allow
copy="target/clean/minimal"
copy "$copy"
cd "$copy"
log=$CARGO_TARGET_DIR/minimal.log
cp Cargo.toml whole.toml
# Dev-dependencies may be as new as they like.
cargo hack check --remove-dev-deps --print-command-list >"$log" 2>&1

oldest() { cargo +nightly update --quiet -Z direct-minimal-versions --manifest-path "$1" >"$log" 2>&1; }
compiles() { cargo check --quiet --locked --all-features >"$log" 2>&1; }

status=0
oldest Cargo.toml || status=$?
# The actix-server of these versions needs features that a later actix-rt no longer enables by default.
[ $status != 0 ] || cargo update --quiet actix-rt --precise 2.10.0
dependencies=$(cargo tree --quiet --depth 1 --all-features --edges normal --target all --prefix none | tail -n +2 | sort -u | wc -l)
[ $status != 0 ] || compiles || status=$?
[ $status = 0 ] || tail -30 "$log"
echo "figure $((status != 0)) = 0 failures to compile all features with the oldest version of each of $dependencies dependencies"

failures=0
cp whole.toml Cargo.toml
oldest Cargo.toml && cargo test --locked --tests --features sqlite,conformance >"$log" 2>&1 || failures=$?
[ $failures = 0 ] || tail -30 "$log"
echo "figure $((failures != 0)) = 0 failures of $(awk '/^test result:/ { sum += $4 } END { print sum + 0 }' "$log") tests of core and SQLite store with them"

# Planted: a lower bound that is too low, for a function that was added later.
sed -i 's/^pin-project-lite = { version = "[^"]*"/pin-project-lite = { version = "0.1.0"/' Cargo.toml
refused=0
oldest Cargo.toml && compiles || refused=1
echo "control $refused = 1 bound that is planted too low is noticed"
[ $status = 0 ] && [ $failures = 0 ]
