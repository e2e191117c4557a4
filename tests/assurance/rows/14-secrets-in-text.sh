#!/usr/bin/env bash
# claim: no token that a test under tests/ reveals, no pepper that these tests share, and no digest that it makes of these tokens is in anything that the test suite says or logs, with every crate logging at `TRACE`, and no control character of the input is in a log line
# depends: src tests/allocations.rs tests/console tests/core tests/guards tests/http tests/observe tests/postgres tests/sqlite tests/support tests/vectors tests/assurance/overheard
# figure: = 0 windows of eight characters of * secrets in * log lines
# full figure: >= 2000 secrets that the tests revealed
# quick figure: >= * secrets that the tests revealed
# figure: = 0 windows of eight characters of * secrets in * lines of the tests' output
# figure: = 0 windows of eight bytes of * peppers and * digests in all of these lines
# figure: = 0 places in * test files that reveal a token which the search is not told of
# figure: = 0 control characters of the input in * log lines
# control: > 0 windows where a derived `Debug` with a token was logged
# control: > 0 windows where a pepper was logged
# control: > 0 places found where such a line is planted
# control: > 0 control characters where a text was logged as it came
#
# The tests record every token that they reveal, their peppers, and all log events: see
# tests/support/overheard.rs. The search computes the digests from these. It knows each of them unchanged, in
# base64, in hexadecimal digits and as a list of numbers.
#
# `full` runs the whole suite. `quick` searches what tests/all.sh has recorded, if that is newer than the
# sources. Otherwise `quick` runs the tests that send secrets and hostile text through everything.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
# Tests that need these are ignored by default.
postgres || not_here "no PostgreSQL"
debian pgbouncer || not_here "no pgbouncer"
debian sqlite3 || not_here "no sqlite3"

CARGO_TARGET_DIR=target/overheard_tool cargo build --quiet --release --locked \
    --manifest-path tests/assurance/overheard/Cargo.toml

# Runs tests, with all output and logs in a directory. The arguments are those of `cargo test`, with `--`.
overhear() {
    if ! KEYWAY_OVERHEARD=$PWD/$folder cargo test "${whole[@]}" "$@" --show-output --include-ignored \
        >"$folder/run" 2>&1; then
        tail -n 60 "$folder/run"
        exit 1
    fi
    tests_ran "$folder/run" "$@"
    cat "$folder/run" >>"$folder/output"
    rm "$folder/run"
}

folder=target/overheard
least=2000
if [ "${MODE:-quick}" = full ]; then
    folder=target/overheard_full
    rm -rf "$folder" && mkdir -p "$folder"
    overhear --
elif [ ! -f $folder/output ] ||
    [ -n "$(find src tests Cargo.lock -name '*.sh' -prune -o -type f -newer $folder/output -print -quit)" ]; then
    folder=target/overheard_part
    least=200
    rm -rf "$folder" && mkdir -p "$folder"
    overhear --test console --test guards --test observe --
    overhear --test core -- canary::
    overhear --test postgres -- hostile_text::
fi
target/overheard_tool/release/overheard $folder $least

# No test program of the suite may reveal a token without recording it.
unrecorded() { grep -h '\.reveal()' "$@" | grep -cv 'let text = self.reveal();' || true; }
files=$(find tests/allocations.rs tests/{console,core,guards,http,observe,postgres,sqlite,support} -name '*.rs')
# shellcheck disable=SC2086  # a list of files
echo "figure $(unrecorded $files) = 0 places in $(wc -w <<<"$files") test files that reveal a token which the search is not told of"
echo "control $(unrecorded <(echo 'let token = issued.token.reveal();')) > 0 places found where such a line is planted"
