#!/usr/bin/env bash
# Licences, bans and sources of everything that keyway depends on, by cargo-deny, which is told what is
# allowed in deny.toml. Advisories where there is a copy of their database: KEYWAY_ADVISORIES names a clone
# of it.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
cargo_tool cargo-deny || not_here "no cargo-deny"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# What is missing here may be fetched, and nothing else.
cargo fetch --quiet --locked

# deny CONFIG CHECK...: the number of errors, of which all but duplicates are lists of what is not allowed.
deny() {
    local config=$1 status=0
    shift
    cargo deny --offline --log-level error --color never --config "$config" check --hide-inclusion-graph "$@" \
        >"$scratch/log" 2>&1 || status=$?
    if [ $status != 0 ] && ! grep -q '^error\[' "$scratch/log"; then
        cat "$scratch/log" >&2
        return 1
    fi
    grep -c '^error\[' "$scratch/log" || true
}
# planted CHECK OLD NEW: the errors once a line of deny.toml is another one.
planted() {
    sed "s|$2|$3|" tests/assurance/clean/deny.toml >"$scratch/deny.toml"
    ! cmp -s "$scratch/deny.toml" tests/assurance/clean/deny.toml
    deny "$scratch/deny.toml" "$1"
}

crates=$(cargo tree -p keyway --all-features --edges normal,build --target all --prefix none --format '{p}' |
    sed 's/ (\*)$//' | sort -u | wc -l)
errors=$(deny tests/assurance/clean/deny.toml licenses bans sources)
[ "$errors" = 0 ] || cat "$scratch/log"
echo "figure $errors = 0 licences, duplicates, bans or sources that are not allowed, in $crates crates"
echo "control $(planted licenses '^    "BSD-3-Clause",' '') > 0 found once a licence is off the list"
echo "control $(planted bans '"openssl-sys"' '"subtle"') > 0 found once a dependency is banned"
echo "control $(planted bans '^    "http@0.2",' '') > 0 found once a duplicate is not excused"
echo "control $(planted sources '^unknown-git' 'allow-registry = []\nunknown-git') > 0 found once no registry is allowed"

if [ -n "${KEYWAY_ADVISORIES:-}" ]; then
    # In a place with the name that cargo-deny looks for, and as if it had been fetched just now.
    database=$scratch/databases/advisory-db-3157b0e258782691
    git clone --quiet "$KEYWAY_ADVISORIES" "$database"
    touch "$database/.git/FETCH_HEAD"
    day=$(git -C "$database" log -1 --format=%cs)
    printf '[advisories]\ndb-path = "%s"\n' "$scratch/databases" |
        cat - tests/assurance/clean/deny.toml >"$scratch/advisories.toml"
    errors=$(deny "$scratch/advisories.toml" advisories)
    [ "$errors" = 0 ] || cat "$scratch/log"
    echo "figure $errors = 0 advisories, of those that were known on $day"
    mkdir -p "$scratch/planted/src"
    touch "$scratch/planted/src/lib.rs"
    cat >"$scratch/planted/Cargo.toml" <<'EOF'
[package]
name = "planted"
version = "0.0.0"
edition = "2024"

[dependencies]
totp-rs = { version = "=1.0.0", default-features = false }
EOF
    cargo fetch --quiet --manifest-path "$scratch/planted/Cargo.toml"
    echo "control $(cd "$scratch/planted" && deny "$scratch/advisories.toml" advisories) > 0 found once a crate with one is depended on"
else
    echo "measured 0 databases of advisories were at hand, so these were not looked up here"
fi
