#!/usr/bin/env bash
# Checks that no line of keyway is unsafe and that the compiler rejects one.
set -euo pipefail
cd "$(dirname "$0")/../../.."

# The word `unsafe` in code, except in comments, strings and the name of the lint.
unsafe_words() { find "$1" -name '*.rs' -exec sed 's|"[^"]*"||g; s|//.*||' {} + | grep -cw unsafe || true; }
forbidden() { grep -c '^unsafe_code = "forbid"$' Cargo.toml || true; }
refused() {
    rustc --edition 2024 --crate-type lib --test --emit metadata -o "$scratch/planted" -F unsafe_code \
        tests/assurance/clean/planted/src/lib.rs 2>&1 | grep -c '^error: .*unsafe' || true
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
echo "figure $(unsafe_words src) = 0 times \`unsafe\` in the sources"
echo "figure $(forbidden) = 1 lint that forbids it"
echo "control $(unsafe_words tests/assurance/clean/planted/src) > 0 times \`unsafe\` in the planted faults"
echo "control $(refused) > 0 refused by the compiler there, under that lint"
