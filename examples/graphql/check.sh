#!/usr/bin/env bash
# Runs the GraphQL example, and calls its service with clients of other projects: `gql` of Python, and `graphql-request` and
# `graphql-ws` of Node.
#
#   examples/graphql/check.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/tools.sh

has python3 || debian python3 || not_here "graphql: python3 is missing"
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)
work=$(mktemp -d)
service=
stop() {
    if [ -n "$service" ]; then
        kill -INT "$service" 2>/dev/null || true
        wait "$service" 2>/dev/null || true
        service=
    fi
}
trap 'stop; rm -rf "$work"' EXIT
fail() { printf 'graphql: %s\n' "$1" >&2 && exit 1; }

cargo build --quiet -p graphql
"$target/debug/graphql" >"$work/shown" || { cat "$work/shown"; fail "the demonstration fails"; }
grep -q 'Each outcome is as expected' "$work/shown" || fail "the demonstration ends early"
echo "demonstration: $(grep -c -- '->' "$work/shown") outcomes"

# Starts the service, and sets `url` and one variable for each key.
start() {
    stop
    : >"$work/out"
    "$target/debug/graphql" serve >"$work/out" 2>"$work/err" &
    service=$!
    until grep -q READY "$work/out"; do
        kill -0 "$service" 2>/dev/null || { cat "$work/err" >&2; fail "the service does not start"; }
        sleep 0.1
    done
    url=$(awk '$1 == "URL" { print $2 }' "$work/out")
    reader=$(awk '$2 == "reader" { print $3 }' "$work/out")
    manager=$(awk '$2 == "manager" { print $3 }' "$work/out")
    display=$(awk '$2 == "display" { print $3 }' "$work/out")
}

# Each client must notice if the keys are exchanged.
clients() {
    local name=$1
    shift
    start
    "$@" "$url" "$reader" "$manager" "$display" || fail "$name fails"
    start
    if "$@" "$url" "$manager" "$reader" "$display" >"$work/control" 2>&1; then
        fail "$name does not notice exchanged keys"
    fi
    echo "$name notices exchanged keys"
}

venv="$target/graphql-venv"
if ! "$venv/bin/python" -c 'import gql, websockets' 2>/dev/null; then
    if ! python3 -m venv "$venv" 2>/dev/null; then
        apt-get install -y --no-install-recommends python3-venv >/dev/null 2>&1 || true
        python3 -m venv "$venv" || not_here "graphql: python3 has no venv"
    fi
    "$venv/bin/pip" install --quiet 'gql[aiohttp,websockets]==4.*' || not_here "graphql: gql cannot be installed"
fi
clients gql "$venv/bin/python" examples/graphql/clients/client.py

if ! has node && ! debian node nodejs; then
    not_here "graphql: node is missing, and gql agrees"
fi
modules="$target/graphql-node"
if ! [ -d "$modules/node_modules/graphql-ws" ]; then
    has npm || debian npm || not_here "graphql: npm is missing, and gql agrees"
    mkdir -p "$modules"
    npm install --silent --no-audit --no-fund --prefix "$modules" graphql@16 graphql-request@7 graphql-ws@6 ws@8 ||
        not_here "graphql: graphql-ws cannot be installed, and gql agrees"
fi
client="$PWD/examples/graphql/clients/client.mjs"
in_modules() { (cd "$modules" && node "$@"); }
clients graphql-ws in_modules "$client"
