#!/usr/bin/env bash
# Runs the MCP example: its tests, its tour, and the server with the official Python and TypeScript SDKs. Needs Python.
# The TypeScript client is left out if there is no npm.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/tools.sh

work=target/mcp
mkdir -p "$work"
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi' EXIT

fail() { printf 'mcp: %s\n' "$1" >&2 && exit 1; }

debian python3 || not_here "python3 is missing"
if [ ! -x "$work/venv/bin/pip" ]; then
    python3 -m venv "$work/venv" 2>/dev/null || {
        rm -rf "$work/venv"
        [ "$(id -u)" = 0 ] && apt-get install -y --no-install-recommends python3-venv >/dev/null 2>&1 &&
            python3 -m venv "$work/venv"
    } || not_here "python3-venv is missing"
fi
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'mcp>=2.3,<3' ||
    not_here "the package mcp of PyPI is missing"

tested --quiet -p mcp --test mcp
cargo build --quiet -p mcp
binary="${CARGO_TARGET_DIR:-target}/debug/mcp"
"$binary" || fail "the tour ends with status $?"
if "$binary" planted >/dev/null 2>&1; then fail "an unknown command is not noticed"; fi

# Starts a server, and sets the variables that the clients read.
start() {
    : >"$work/out"
    "$binary" serve >"$work/out" 2>"$work/err" &
    server=$!
    until grep -qx ready "$work/out"; do
        kill -0 "$server" 2>/dev/null || { cat "$work/err" >&2; fail "the server does not start"; }
        sleep 0.1
    done
    FACTORY_URL=$(head -n 1 "$work/out")
    READER=$(awk '$1 == "reader" { print $2 }' "$work/out")
    OPERATOR=$(awk '$1 == "operator" { print $2 }' "$work/out")
    DELETED=$(awk '$1 == "deleted" { print $2 }' "$work/out")
    export FACTORY_URL READER OPERATOR DELETED
}

stop() {
    local ended=0
    kill -INT "$server"
    wait "$server" || ended=$?
    server=
    [ "$ended" = 0 ] || fail "the server ends with status $ended"
    if grep -qF -e "$READER" -e "$OPERATOR" -e "$DELETED" "$work/err"; then
        fail "the server writes a key to stderr"
    fi
}

python() { timeout 120 "$work/venv/bin/python" examples/mcp/client.py; }

# The configuration that is printed for agents is JSON with a header, and has no key.
start
awk '/^{/, /^}/' "$work/out" >"$work/configuration.json"
"$work/venv/bin/python" - "$work/configuration.json" <<'END' || fail "the configuration is not as agents read it"
import json, os, sys
server = json.load(open(sys.argv[1]))["mcpServers"]["factory"]
assert server["url"] == os.environ["FACTORY_URL"] + "/mcp" and server["type"] == "http"
assert server["headers"] == {"Authorization": "Bearer ${FACTORY_KEY}"}
END
echo "the printed configuration is JSON, and has no key"

python || fail "the Python client"
if has npm || debian npm; then
    mkdir -p "$work/node"
    cp examples/mcp/client.mjs "$work/node"
    echo '{ "private": true, "type": "module" }' >"$work/node/package.json"
    if (cd "$work/node" && npm install --silent --no-audit --no-fund '@modelcontextprotocol/sdk@^1.32'); then
        timeout 120 node "$work/node/client.mjs" || fail "the TypeScript client"
    else
        echo "left out: the package @modelcontextprotocol/sdk of npm is missing"
    fi
else
    echo "left out: the TypeScript client, since npm is missing"
fi

# These controls show that the clients notice a key with other rights.
if READER=$OPERATOR python >"$work/control" 2>&1; then fail "a reader with more rights is not noticed"; fi
grep -q "reader lists: expected" "$work/control" || { cat "$work/control" >&2; fail "the control fails otherwise"; }
if OPERATOR=$READER python >"$work/control" 2>&1; then fail "an operator with fewer rights is not noticed"; fi
grep -q "operator lists: expected" "$work/control" || { cat "$work/control" >&2; fail "the control fails otherwise"; }
echo "keys with other rights are noticed"
stop
