#!/usr/bin/env bash
# No line of keyway is unsafe, and the compiler is told to refuse one. The package that other parts build
# keyway from has the dependencies that keyway has, as far as it has them.
set -euo pipefail
cd "$(dirname "$0")/../../.."

# The word in code, not in comments and texts and not in the name of the lint.
unsafe_words() { find "$1" -name '*.rs' -exec sed 's|"[^"]*"||g; s|//.*||' {} + | grep -cw unsafe || true; }
forbidden() { grep -c '^unsafe_code = "forbid"$' Cargo.toml || true; }
refused() {
    rustc --edition 2024 --crate-type lib --test --emit metadata -o "$scratch/planted" -F unsafe_code \
        tests/assurance/clean/planted/src/lib.rs 2>&1 | grep -c '^error: .*unsafe' || true
}
# lines MANIFEST: its dependencies outside of tests, by name and version.
lines() {
    awk '/^\[/ { wanted = /^\[(target.*\.)?dependencies\]/ } wanted && /^[a-z]/' "$1" | sort
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
echo "figure $(unsafe_words src) = 0 times \`unsafe\` in the sources"
echo "figure $(forbidden) = 1 lint that forbids it"
echo "control $(unsafe_words tests/assurance/clean/planted/src) > 0 times \`unsafe\` in the planted faults"
echo "control $(refused) > 0 refused by the compiler there, under that lint"

# It has the checkers beside them.
own=$(comm -13 <(lines Cargo.toml) <(lines tests/assurance/clean/core/Cargo.toml) | grep -vE '^(loom|shuttle) ' || true)
if [ -n "$own" ]; then
    printf 'other than in Cargo.toml:\n%s\n' "$own"
    exit 1
fi
