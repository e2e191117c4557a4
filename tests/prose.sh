#!/usr/bin/env bash
# Checks the prose of the sources, the guide and the pages for contributors: no sentence opens with a relative
# clause, and no word is used for which English, Rust or HTTP has another. `tests/prose.awk` has the list.
#
#   tests/prose.sh [FILE ...]
set -euo pipefail
cd "$(dirname "$0")/.."

# The control: every line of the first file is found, and no line of the second one.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cat >"$scratch/bad.planted" <<'END'
/// What a caller may do.
//! Who presents a key is admitted.
// Whose key this is. It is sealed.
/// Returns the key. That is the one.
/// Given to whoever asks.
/// The key is read anew.
/// The caller is told why.
/// It stands behind the guard.
/// The key is revoked for good.
/// The host decides.
/// It answers 503.
#[error("the catalogue is too long")]
END
cat >"$scratch/good.planted" <<'END'
/// Returns what a caller may do, and who made the key.
/// Checks that the `host` and the `answer` fit.
let host = "What is this";
/// What is a tenant?
END
found=$(awk -f tests/prose.awk "$scratch/bad.planted" | wc -l) || true
if [ "$found" != "$(wc -l <"$scratch/bad.planted")" ]; then
    awk -f tests/prose.awk "$scratch/bad.planted" || true
    echo "the check finds $found of the planted lines" && exit 1
fi
awk -f tests/prose.awk "$scratch/good.planted" || { echo "the check finds what is right" && exit 1; }

if [ $# = 0 ]; then
    mapfile -t files < <(git ls-files '*.rs' '*.md' ':!tests/vectors' ':!CHANGELOG.md')
    set -- "${files[@]}"
fi
awk -f tests/prose.awk "$@"
