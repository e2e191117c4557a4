#!/usr/bin/env bash
# Checks licenses, bans and sources of all dependencies with cargo-deny. The rules are in deny.toml. Full runs
# also check the RustSec advisories and the age of the newest one. KEYWAY_ADVISORIES names a clone of the
# advisory database, for machines that cannot reach the public one.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
cargo_tool cargo-deny || not_here "no cargo-deny"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Fetches missing crates. Nothing else uses the network.
cargo fetch --quiet --locked

# deny CONFIG CHECK...: prints the number of errors. Each is a license, ban, source or duplicate that is not
# allowed.
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
# planted CHECK OLD NEW: prints the number of errors after a change of one line of deny.toml.
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

if [ "${MODE:-quick}" = full ]; then
    # The path has the name that cargo-deny looks for. The timestamp makes the clone look freshly fetched.
    database=$scratch/databases/advisory-db-3157b0e258782691
    git clone --quiet "${KEYWAY_ADVISORIES:-https://github.com/RustSec/advisory-db}" "$database"
    touch "$database/.git/FETCH_HEAD"
    day=$(git -C "$database" log -1 --format=%cs)
    printf '[advisories]\ndb-path = "%s"\n' "$scratch/databases" |
        cat - tests/assurance/clean/deny.toml >"$scratch/advisories.toml"
    errors=$(deny "$scratch/advisories.toml" advisories)
    [ "$errors" = 0 ] || cat "$scratch/log"
    echo "figure $errors = 0 advisories, of those that were known on $day"
    age=$((($(date +%s) - $(git -C "$database" log -1 --format=%ct)) / 86400))
    echo "figure $age <= 90 days since the newest of these advisories"
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
fi
