#!/usr/bin/env bash
# claim: no secret that a test reveals is in anything that the test suite says or logs, with every crate logging at `TRACE`, and no control character of the input is in a log line
#
# The tests write down every token that they reveal, and all that is logged: tests/support/overheard.rs. The
# search knows of those, in plain, base64, hexadecimal digits and lists of numbers.
#
# `full` runs the whole suite. `quick` searches what tests/all.sh overheard of it before, if that is newer
# than the sources, and otherwise runs the tests that drive secrets and hostile texts through everything.
set -euo pipefail
cd "$(dirname "$0")/../../.."

CARGO_TARGET_DIR=target/overheard_tool cargo build --quiet --release --locked \
    --manifest-path tests/assurance/overheard/Cargo.toml

# Runs tests with all that they say and log in a folder.
overhear() {
    rm -rf "$folder" && mkdir -p "$folder"
    if ! KEYWAY_OVERHEARD=$PWD/$folder cargo test -p keyway --all-features "$@" -- --show-output \
        >"$folder/output" 2>&1; then
        tail -n 60 "$folder/output"
        exit 1
    fi
}

folder=target/overheard
least=2000
if [ "${MODE:-quick}" = full ]; then
    folder=target/overheard_full
    overhear
elif [ ! -f $folder/output ] ||
    [ -n "$(find src tests Cargo.lock -name '*.sh' -prune -o -type f -newer $folder/output -print -quit)" ]; then
    folder=target/overheard_part
    least=200
    tests=(canary log_lines observe console leaks own_key hostile_text actix)
    overhear "${tests[@]/#/--test=}"
fi
target/overheard_tool/release/overheard $folder $least
