#!/usr/bin/env bash
# claim: no secret outlives its use in memory that is keyway's: minted, presented and imported tokens, and peppers once their keyring is dropped
#
# Another process does it and is searched by this one, right after everything was dropped: all that it can
# write to, for every eight bytes in a row of every form that a secret takes. What the HTTP stack keeps of a
# request is not keyway's, and is measured. `full` adds builds by other rules: for size, less optimized,
# and with the portable SHA-2. Where `sha2` is optimized for size as well, its compression keeps the state
# that it begins with on the stack: that is measured too.
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
    CARGO_PROFILE_RELEASE_OPT_LEVEL=s build size --config profile.release.package.sha2.opt-level=3
    RUSTFLAGS='--cfg sha2_backend="soft"' build portable
fi
"${programs[0]}" "$repeats" "${programs[@]}"
if [ "${MODE:-quick}" = full ]; then
    CARGO_PROFILE_RELEASE_OPT_LEVEL=s build all-for-size
    "${programs[0]}" "$repeats" target/residue/all-for-size/release/residue >target/residue/all-for-size/log
    windows() { awk -v of="windows of .*$1" '$1 == "figure" && $0 ~ of { n += $2 } END { print n }' target/residue/all-for-size/log; }
    echo "figure $(windows token) = 0 windows of a token where \`sha2\` is optimized for size"
    echo "measured $(windows pepper) windows of derived keys there, which two lines of a manifest prevent"
    build stack --features stack
    target/residue/stack/release/residue stack
fi
