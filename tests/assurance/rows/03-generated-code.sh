#!/usr/bin/env bash
# claim: compiled for aarch64 and for 32-bit ARM, the functions that look at a secret have no conditional branch without a known reason
#
# Their machine code is looked at, function by function and down to what they call, against the lists in
# tests/assurance/generated_code, which have the reason of each branch. Nothing is run, and addresses are not
# looked at: whether a load depends on a secret, row 1 tells for x86-64. Another compiler may make other
# branches: find the reason of a new one in the assembly before you write it down.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh

has c++filt || debian c++filt binutils || not_here "no c++filt"

directory=target/assurance/generated
# Of what was compiled before, nothing is to be read.
rm -rf "$directory"
look() {
    local name=$1 target=$2
    target "$target" || not_here "no target $target"
    RUSTFLAGS=--emit=asm CARGO_TARGET_DIR=$directory cargo build --quiet --release --locked \
        --manifest-path tests/assurance/generated_code/Cargo.toml --target "$target"
    cat "$directory/$target"/release/deps/*.s | c++filt >"$directory/$name.s"
    awk -v processor="$name" -f tests/assurance/generated_code/branches.awk \
        "tests/assurance/generated_code/$name" "$directory/$name.s"
}
look aarch64 aarch64-unknown-linux-gnu
look thumbv7em thumbv7em-none-eabi
