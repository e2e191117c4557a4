#!/usr/bin/env bash
# claim: a token has one spelling: no edit and no encoding of it is accepted, and malformed headers are answered as the shipped corpus says
# depends: src :!src/console* :!src/store/postgres* :!src/store/sqlite* :!src/store/sql* :!src/store/conformance* :!src/cache/fence_tests* tests/assurance/edges tests/guards/headers.rs tests/vectors
# figure: = 0 of * other spellings of * tokens accepted as tokens
# figure: = 0 of them accepted in the value of a field, in process
# figure: = 0 of them accepted by a guard behind `Authorization: Bearer`
# figure: = 0 of them accepted by a guard in a field of its own
# figure: = 0 of * cases otherwise than they say
# figure: >= 500 cases in tests/vectors/headers.txt
# control: > 0 accepted by a check that trims white space
# control: > 0 accepted by a check that ignores the high bit of a byte
# control: > 0 accepted by a check that ignores the case of the prefix
# control: > 0 accepted by a check that reads no more than it needs
# control: > 0 accepted by a check that finds the token in what surrounds it
# control: = * noticed where each says something else
#
# tests/assurance/edges/src/bin/spelling.rs tries every edit. The corpus, tests/vectors/headers.txt, was made
# with a separate implementation of the format. Its head describes how it is read.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh

case $MODE in
    full) tokens=100 ;;
    *) tokens=2 ;;
esac

CARGO_TARGET_DIR=target/assurance_edges \
    cargo build --quiet --release --locked --manifest-path tests/assurance/edges/Cargo.toml
target/assurance_edges/release/spelling "$tokens"

tested "${whole[@]}" --test guards -- --show-output headers::
