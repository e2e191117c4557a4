#!/usr/bin/env bash
# Prints a hash of the files that a row depends on, from the working tree:
#
#   tests/assurance/fingerprint.sh ROW        from the root of the repository
#
# Prose does not count: the guide, Markdown, and the lines of Rust that are empty or begin with `//` are left
# out. Otherwise every correction of a comment would require hours of measurement.
set -euo pipefail

read -ra paths < <(sed -n 's/^# depends: //p' "$1")
[ ${#paths[@]} -gt 0 ] || { echo "$1 declares no sources" >&2; exit 1; }
git ls-files -coz --exclude-standard -- "$1" Cargo.toml Cargo.lock "${paths[@]}" ':!src/guide' ':!*.md' |
    sort -zu |
    while IFS= read -rd '' file; do
        # A removed file that is not committed yet has no content.
        if [ ! -f "$file" ]; then continue; fi
        if [[ $file == *.rs ]]; then
            echo "$(grep -avE '^[[:space:]]*(//|$)' "$file" | sha256sum) $file"
        else
            sha256sum "$file"
        fi
    done | sha256sum | cut -c -12
