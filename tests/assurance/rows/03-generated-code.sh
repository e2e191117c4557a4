#!/usr/bin/env bash
# claim: compiled for aarch64 and for 32-bit ARM, the functions that look at a secret have no conditional branch without a known reason
# depends: src :!src/console* :!src/http* :!src/store/postgres* :!src/store/sqlite* :!src/store/sql* :!src/store/conformance* :!src/rate* :!src/cache/fence_tests* tests/assurance/generated_code
# figure: = 0 conditional branches for aarch64 more than the * that have a reason, in * functions
# figure: = 0 calls for aarch64 in them of what is not listed
# figure: = 0 of them not found for aarch64
# figure: = 0 conditional branches for thumbv7em more than the * that have a reason, in * functions
# figure: = 0 calls for thumbv7em in them of what is not listed
# figure: = 0 of them not found for thumbv7em
# control: > 0 conditional branches for aarch64 in a comparison that ends at the first difference
# control: > 0 calls for aarch64 in a comparison by the operator
# control: > 0 conditional branches for thumbv7em in a comparison that ends at the first difference
# control: > 0 calls for thumbv7em in a comparison by the operator
#
# Checks the machine code, function by function and down to the functions that they call, against the lists in
# tests/assurance/generated_code. The lists give the reason of each branch. Nothing is run, and addresses are
# not checked: row 1 shows for x86-64 whether a load depends on a secret. Another compiler may make other
# branches. Find the reason of a new branch in the assembly before you add it to the list.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh

has c++filt || debian c++filt binutils || not_here "no c++filt"

directory=target/assurance/generated
# Removes earlier output, which must not be read.
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
