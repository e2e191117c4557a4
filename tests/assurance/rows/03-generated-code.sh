#!/usr/bin/env bash
# claim: compiled for aarch64, the functions that look at a secret have no conditional branch without a known reason
#
# Their machine code is looked at, function by function and down to what they call, against
# tests/assurance/generated_code/aarch64, which has the reason of each branch. Nothing is run, and addresses
# are not looked at: whether a load depends on a secret, row 1 tells for x86-64.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh

has c++filt || debian c++filt binutils || not_here "no c++filt"
target aarch64-unknown-linux-gnu || not_here "no target aarch64-unknown-linux-gnu"

directory=target/assurance/generated
# Of what was compiled before, nothing is to be read.
rm -rf "$directory"
RUSTFLAGS=--emit=asm CARGO_TARGET_DIR=$directory cargo build --quiet --release --locked \
    --manifest-path tests/assurance/generated_code/Cargo.toml --target aarch64-unknown-linux-gnu
cat "$directory"/aarch64-unknown-linux-gnu/release/deps/*.s | c++filt >"$directory/assembly"
awk -f tests/assurance/generated_code/branches.awk tests/assurance/generated_code/aarch64 "$directory/assembly"
