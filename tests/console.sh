#!/usr/bin/env bash
# The console in a real browser, and its API against its own description. It installs what is missing: the
# browser and its driver with apt-get, axe-core with npm and schemathesis with pip, both into target/.
# Exits with 77 if something of that could not be installed, and says what.
set -euo pipefail
cd "$(dirname "$0")/.."

axe=4.14.1
schemathesis=4.32.5

tools=$PWD/${CARGO_TARGET_DIR:-target}/console
[[ ${CARGO_TARGET_DIR:-} != /* ]] || tools=$CARGO_TARGET_DIR/console
mkdir -p "$tools"
has() { command -v "$1" >/dev/null 2>&1; }
missing() { printf 'console.sh: %s\n' "$1" >&2 && exit 77; }
install() { [ "$(id -u)" = 0 ] && has apt-get && apt-get install -y --no-install-recommends "$@"; }

if ! has chromium || ! has chromedriver; then
    { install chromium chromium-driver || { apt-get update && install chromium chromium-driver; }; } \
        >"$tools/apt.log" 2>&1 || missing "no chromium and chromedriver"
fi
export KEYWAY_AXE=$tools/node_modules/axe-core
if ! grep -qs "\"version\": \"$axe\"" "$KEYWAY_AXE/package.json"; then
    has npm || missing "no npm, for axe-core"
    npm install --prefix "$tools" --no-save --ignore-scripts --no-audit --no-fund "axe-core@$axe" \
        >"$tools/npm.log" 2>&1 || missing "no axe-core $axe"
fi
st=$tools/venv/bin/schemathesis
if ! "$st" --version 2>/dev/null | grep -q "$schemathesis"; then
    { python3 -m venv "$tools/venv" && "$tools/venv/bin/pip" install --quiet "schemathesis==$schemathesis"; } \
        >"$tools/pip.log" 2>&1 || missing "no schemathesis $schemathesis"
fi

# With the features of all tests, so that what they have built is built.
cargo test -p keyway -p keyway-examples -p keyway-browser-tests --all-features --test browser

# The service ends when nobody holds its standard input any more, however this ends.
coproc service { exec "${tools%/console}/debug/console-host"; }
# Bash forgets the descriptors of a process that has ended.
exec {held}>&"${service[1]}"
read -r -t 60 address <&"${service[0]}" || { echo "console.sh: the service does not start" >&2; exit 1; }

# Every check of the answers, on requests that its description allows and on those that it does not.
check() {
    local who=$1 operations=$2
    "$st" --config-file tests/browser/schemathesis.toml run "$address/openapi.json" --url "$address" --header "cookie: signed-in=$who" \
        --include-path-regex "$operations" --max-examples "${CONSOLE_EXAMPLES:-50}" \
        --generation-database none --no-color \
        >"$tools/schemathesis.log" 2>&1 ||
        { cat "$tools/schemathesis.log" >&2; echo "console.sh: the API is not as described, for $who" >&2; exit 1; }
    tail -n 20 "$tools/schemathesis.log"
}
check tenant/acme/anna@acme.example '^/api/(session|keys)'
check operator/olga@mm.example '^/api/(session|tenants|leaks)'

exec {held}>&-
wait "$service_PID"
