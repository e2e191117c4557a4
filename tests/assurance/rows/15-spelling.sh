#!/usr/bin/env bash
# claim: a token and a child have one spelling: no edit and no encoding of them is accepted, and malformed headers are answered as the shipped corpus says
# depends: src :!src/console* :!src/store/postgres* :!src/store/sqlite* :!src/store/sql* :!src/store/conformance* :!src/cache/fence_tests* tests/assurance/edges tests/guards/headers.rs tests/core/child_parent.rs tests/core/child_signatures.rs tests/core/child_spelling.rs tests/vectors
# figure: = 0 of * other spellings of * tokens accepted as tokens
# figure: = 0 of them accepted in the value of a field, in process
# figure: = 0 of them accepted by a guard behind `Authorization: Bearer`
# figure: = 0 of them accepted by a guard in a field of its own
# figure: = 0 of * cases otherwise than they say
# figure: >= 500 cases in tests/vectors/headers.txt
# figure: = 0 of * other spellings of * children accepted
# figure: = 0 of these accepted by a guard behind `Authorization: Bearer`
# figure: = 0 of these accepted by a guard in a field of its own
# figure: = 0 of * caveats of children read otherwise than they say
# figure: >= 300 refused cases in tests/vectors/children-spelling.txt
# control: > 0 accepted by a check that trims white space
# control: > 0 accepted by a check that ignores the high bit of a byte
# control: > 0 accepted by a check that ignores the case of the prefix
# control: > 0 accepted by a check that reads no more than it needs
# control: > 0 accepted by a check that finds the token in what surrounds it
# control: = * noticed where each says something else
# control: > 0 accepted by a check of children that trims white space
# control: > 0 accepted by a check of children that ignores the high bit of a byte
# control: > 0 accepted by a check of children that ignores padding and the standard alphabet
# control: > 0 accepted by a check of children that ignores the bits that encode nothing
#
# tests/assurance/edges/src/bin/spelling.rs tries every edit. The caveats of children that are read or refused are
# in tests/vectors/children-spelling.txt, and tests/core/child_spelling.rs signs them. The corpus,
# tests/vectors/headers.txt, was made with a separate implementation of the format. Its head describes how it is read.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh

case $MODE in
    full) tokens=100 children=5 ;;
    *) tokens=2 children=1 ;;
esac

CARGO_TARGET_DIR=target/assurance_edges \
    cargo build --quiet --release --locked --manifest-path tests/assurance/edges/Cargo.toml
target/assurance_edges/release/spelling "$tokens" "$children"

tested "${whole[@]}" --test guards -- --show-output headers::
tested "${whole[@]}" --test core -- --show-output child_spelling:: child_signatures::
