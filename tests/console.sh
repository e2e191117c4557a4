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
if [[ $("$st" --version 2>/dev/null) != *"$schemathesis"* ]]; then
    has python3 || missing "no python3, for schemathesis"
    { python3 -m venv "$tools/venv" && "$tools/venv/bin/pip" install --quiet "schemathesis==$schemathesis"; } \
        >"$tools/pip.log" 2>&1 || missing "no schemathesis $schemathesis"
fi

# With the features of all tests, so that what they have built is built.
cargo test -p keyway -p keyway-examples -p keyway-browser-tests --all-features --test browser

# The service ends when nobody holds its standard input any more, however this ends.
coproc service { exec "${tools%/console}/debug/console-host"; }
pid=$service_PID
read -r -t 60 address <&"${service[0]}" || { echo "console.sh: the service does not start" >&2; exit 1; }

# Every check of the answers, to requests that the description allows and to those that it does not.
config=$PWD/tests/browser/schemathesis.toml
# What it keeps for its next run is in the folder where it runs.
cd "$tools"
check() {
    local log=$tools/schemathesis.log
    if ! "$st" --config-file "$config" run "$address/openapi.json" \
        --url "$address" --header "cookie: signed-in=$1" --include-path-regex "$2" \
        --max-examples "${CONSOLE_EXAMPLES:-50}" --generation-database none --no-color >"$log" 2>&1; then
        cat "$log" >&2
        echo "console.sh: the API is not as described, for $1" >&2
        exit 1
    fi
    tail -n 1 "$log"
}
check tenant/acme/anna@acme.example '^/api/(session|keys)'
check operator/olga@mm.example '^/api/(session|tenants|leaks)'

exec {service[1]}>&-
wait "$pid"
