#!/usr/bin/env bash
# Runs the example with its resource server in Python. Mistakes in the resource server must make the example fail.
# tests/examples.sh runs it from the root of the repository. Needs python3 with venv, and PyPI.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/tools.sh

debian python3 || not_here "python3 is missing"
if ! python3 -c 'import ensurepip' 2>/dev/null; then
    debian no-such-command python3-venv || python3 -c 'import ensurepip' 2>/dev/null ||
        not_here "python3 has no venv"
fi

cargo build --quiet -p introspection
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
program="${CARGO_TARGET_DIR:-target}/debug/introspection"
source_file=examples/introspection/resource_server.py

if ! "$program" >"$work/out" 2>"$work/err"; then
    cat "$work/out" "$work/err"
    [ -e target/introspection-venv/ready ] || not_here "the libraries of the resource server cannot be installed"
    exit 1
fi
cat "$work/out"
calls=$(grep -c ' ok$' "$work/out")
[ "$calls" -ge 20 ] || { echo "only $calls calls were made"; exit 1; }
if grep -q '"active":true.*mm_live_' "$work/out"; then echo "a response repeats a token"; exit 1; fi

# mistake NAME SED-SCRIPT OUTCOME: the example fails with this change of the resource server, and prints the outcome.
mistake() {
    sed "$2" "$source_file" >"$work/resource_server.py"
    if cmp -s "$source_file" "$work/resource_server.py"; then
        echo "the mistake is not planted: $1" && exit 1
    fi
    if RESOURCE_SERVER="$work/resource_server.py" "$program" >"$work/out" 2>&1; then
        echo "the mistake is not noticed: $1" && exit 1
    fi
    grep -q "$3" "$work/out" || { cat "$work/out"; echo "another failure than expected: $1"; exit 1; }
    echo "noticed: $1"
}

mistake "the address of the client is not sent" \
    '/"keyway_client_address"/d' 'only from 127.0.0.0/8 .*WRONG, should be 200'
mistake "the limits of a key are ignored" \
    's/if not may_touch(.*:/if False:/' 'dashboard of two mills .*WRONG, should be 403'
mistake "a failure of the service is an inactive key" \
    's/^    if response.status_code != 200:/    if response.status_code == 503: return type("R", (), {"json": lambda self: {"active": False}})()\n&/' \
    'the store is away .*WRONG, should be 503'
mistake "inactive keys are admitted" \
    's/return introspect(token_string, self.resource_kinds)/return introspect(token_string, self.resource_kinds) | {"active": True, "scope": "reporting operator"}/' \
    'made up .*WRONG, should be 401'
mistake "cached responses outlive the key" \
    's/end = min(.*/end = time.time() + CACHE_SECONDS/' 'expired, although it was cached .*WRONG, should be 401'
mistake "responses are cached for too long" \
    's/^CACHE_SECONDS = 3/CACHE_SECONDS = 60/' 'deleted  .*WRONG, should be 401'
