#!/usr/bin/env bash
# claim: no secret outlives its use in memory that is keyway's: minted, presented and imported tokens, in the console too, the private keys that are derived from tokens and the children that these sign, and peppers once their keyring is dropped
# depends: src :!src/store/postgres* :!src/cache/fence_tests* tests/assurance/residue
# figure: = 0 windows of eight bytes of a token in * runs of a life in SQLite
# figure: = 0 windows of eight bytes of a token in * runs of cancelling
# figure: = 0 windows of eight bytes of a token in * runs of changing peppers
# figure: = 0 windows of eight bytes of a token in * runs of importing
# figure: = 0 windows of eight bytes of a token in * runs of managing keys in the console
# figure: = 0 windows of eight bytes of a token in * runs of minting
# figure: = 0 windows of eight bytes of a token in * runs of minting children
# figure: = 0 windows of eight bytes of a token in * runs of panicking
# figure: = 0 windows of eight bytes of a token in * runs of refusing
# figure: = 0 windows of eight bytes of a token in * runs of rotating
# figure: = 0 windows of eight bytes of a token in * runs of verifying
# figure: = 0 windows of eight bytes of a token in * runs of verifying children
# figure: = 0 windows of a pepper or derived key in * runs that ended keyrings
# full figure: = 0 windows of a token where `sha2` is optimized for size
# full figure: = 0 bytes left of the token in a server that has issued it
# control: > 0 windows left of a line that was made with `format!` and dropped
# control: > 0 windows left of a line that a log kept
# control: > 0 windows left of an array that was moved and wiped where it came to
# control: > 0 windows left of a text that grew and was wiped then
# control: > 0 windows left of random bytes that were not wiped
# control: > 0 windows left of a pepper that was copied
# control: > 0 windows left of a private key that has signed, where nothing overwrites the stack
# control: > 0 windows left of a line with a child that was made with `format!` and dropped
# control: > 0 windows left of a body that a handler took as a `String`
# control: > 0 windows left of an error of `serde_json` that repeats a value
# control: > 0 windows left of a text that `serde_json` unescaped
#
# Another process handles the secrets, and this one searches its writable memory right after everything was
# dropped. The search looks for every eight bytes in a row of every form that a secret takes. With a token these
# are also the private key that follows from it, each step from one to the other, and each step from the private
# key to the signature of a child. A child counts as a token: its signature is looked for. The copies of a
# request in the HTTP stack are not keyway's, and are only measured. Requests to the console therefore come in
# memory that their sender wipes. `full` adds builds with other settings: for size, less optimized, and with
# the portable SHA-2. If `sha2` is optimized for size as well, its compression leaves its initial state on the
# stack, which is measured too.
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
