#!/usr/bin/env bash
# claim: no secret outlives its use in memory that is keyway's: minted, presented and imported tokens, and peppers once their keyring is dropped
#
# Another process does it and is searched by this one, right after everything was dropped: all that it can
# write to, for every eight bytes in a row of every form that a secret takes. What the HTTP stack keeps of a
# request is not keyway's, and is measured. `full` adds builds by other rules: for size, less optimized,
# and with the portable SHA-2.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh

[ "$(uname -s)" = Linux ] || not_here "memory is read through Linux's /proc"

build() {
    local name=$1
    shift
    CARGO_TARGET_DIR=target/residue/$name cargo build --quiet --release --locked \
        --manifest-path tests/assurance/residue/Cargo.toml "$@"
    programs+=("target/residue/$name/release/residue")
}

programs=()
repeats=1
build usual
if [ "${MODE:-quick}" = full ]; then
    repeats=4
    CARGO_PROFILE_RELEASE_OPT_LEVEL=2 build level-2
    CARGO_PROFILE_RELEASE_OPT_LEVEL=s build size
    RUSTFLAGS='--cfg sha2_backend="soft"' build portable
fi
"${programs[0]}" "$repeats" "${programs[@]}"
if [ "${MODE:-quick}" = full ]; then
    build stack --features stack
    target/residue/stack/release/residue stack
fi
