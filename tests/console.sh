#!/usr/bin/env bash
# Tests the console in Chromium, Firefox and WebKit, and its API against its own description.
#
#   tests/console.sh [full]
#
# Chromium runs all tests. Firefox and WebKit run those of what differs between browsers: focus and keyboard,
# clipboard, history, dates, policies, odd names. With `full` they run all tests as well, and Chromium measures how
# soon the page is usable. KEYWAY_BROWSER limits the script to one browser.
#
# The script installs what is missing: browsers and drivers with apt-get and cargo, axe-core with npm and
# schemathesis with pip, both into target/. It exits with 77 if a tool could not be installed, and names it.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/tools.sh

axe=4.14.1
schemathesis=4.32.5
differs='^(hostile|keyboard|network|one_time|seeds::finding|trouble::(date_is|page_whose|unexpected))'
[ "${1:-}" != full ] || differs=.

tools=$PWD/${CARGO_TARGET_DIR:-target}/console
[[ ${CARGO_TARGET_DIR:-} != /* ]] || tools=$CARGO_TARGET_DIR/console
mkdir -p "$tools"
not_run=()
missing() { printf 'not run: %s\n' "$1" && not_run+=("$1"); }

# Finds or installs a browser or a tool.
provide() {
    case $1 in
        chromium) debian chromium && debian chromedriver chromium-driver ;;
        firefox) { has firefox || debian firefox-esr; } && cargo_tool geckodriver ;;
        webkit) debian WebKitWebDriver webkit2gtk-driver && debian Xvfb xvfb ;;
        axe)
            export KEYWAY_AXE=$tools/node_modules/axe-core
            grep -qs "\"version\": \"$axe\"" "$KEYWAY_AXE/package.json" ||
                npm install --prefix "$tools" --no-save --ignore-scripts --no-audit --no-fund "axe-core@$axe" \
                    >"$tools/npm.log" 2>&1
            ;;
        schemathesis)
            st=$tools/venv/bin/schemathesis
            [[ $("$st" --version 2>/dev/null) == *"$schemathesis"* ]] ||
                { python3 -m venv "$tools/venv" && "$tools/venv/bin/pip" install --quiet "schemathesis==$schemathesis"; } \
                    >"$tools/pip.log" 2>&1
            ;;
    esac
}
browsers=()
if provide axe; then
    for browser in ${KEYWAY_BROWSER:-chromium firefox webkit}; do
        if provide "$browser"; then browsers+=("$browser"); else missing "the console in $browser"; fi
    done
else
    missing "the console in browsers (no axe-core $axe)"
fi

cargo test "${whole[@]}" --test browser --no-run 2>&1 | tee "$tools/build.log"
program=$(sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$tools/build.log")

# Prints the names of the tests that a browser cannot pass.
unable() { awk -v browser="$1" '$1 == browser { print $2 }' tests/browser/skips.txt; }

# in_browser BROWSER PATTERN: runs the tests whose names fit the pattern, without those that the browser cannot
# pass.
in_browser() {
    local log=$tools/$1.log tests
    mapfile -t tests < <(grep -E "$2" "$tools/tests" | grep -vxF -f <(unable "$1"))
    if ! KEYWAY_BROWSER=$1 "$program" --exact "${tests[@]}" >"$log" 2>&1; then
        cat "$log" && return 1
    fi
    printf '%-9s %s (after %d s)\n' "$1" "$(grep '^test result' "$log")" "$SECONDS"
}

# Runs the tests that a browser cannot pass. Each of them must fail, so that none is left out without need.
left_out() {
    local log=$tools/$1.unable.log tests
    mapfile -t tests < <(unable "$1")
    [ ${#tests[@]} -gt 0 ] || return 0
    KEYWAY_BROWSER=$1 "$program" --exact "${tests[@]}" >"$log" 2>&1 || true
    if ! grep -q "^test result: FAILED. 0 passed; ${#tests[@]} failed" "$log"; then
        cat "$log"
        echo "console.sh: $1 passes a test that tests/browser/skips.txt leaves out"
        return 1
    fi
    printf '%-9s %d tests left out, each of which fails (after %d s)\n' "$1" ${#tests[@]} "$SECONDS"
}

"$program" --list --format terse | sed -n 's/: test$//p' >"$tools/tests"
if unknown=$(sed '/^#/d' tests/browser/skips.txt | awk '!/^(firefox|webkit) [^ ]+ ./ { print } { print $2 }' |
    grep -vxF -f "$tools/tests"); then
    echo "console.sh: skips.txt names no test: $unknown" >&2 && exit 1
fi

# Checks all responses of the API, to requests that the description allows and to others.
check_description() {
    local pid address config=$PWD/tests/browser/schemathesis.toml
    # The service ends when its standard input is closed, however this script ends.
    coproc service { exec "${tools%/console}/debug/console-host"; }
    pid=$service_PID
    read -r -t 60 address <&"${service[0]}" || { echo "console.sh: the service does not start" && return 1; }
    # schemathesis keeps its data in the current directory.
    cd "$tools"
    as() {
        local log=$tools/schemathesis.log
        if ! "$st" --config-file "$config" run "$address/openapi.json" \
            --url "$address" --header "cookie: signed-in=$1" --include-path-regex "$2" \
            --max-examples "${CONSOLE_EXAMPLES:-50}" --generation-database none --no-color >"$log" 2>&1; then
            cat "$log"
            echo "console.sh: the API is not as described, for $1"
            return 1
        fi
        printf 'API       %s (after %d s)\n' "$(tail -n 1 "$log")" "$SECONDS"
    }
    as tenant/acme/anna@acme.example '^/api/(session|keys|owners|usage)'
    as operator/olga@mm.example '^/api/(session|tenants|leaks)'
    exec {service[1]}>&-
    wait "$pid"
}

jobs=()
for browser in "${browsers[@]}"; do
    if [ "$browser" = chromium ]; then pattern=.; else pattern=$differs; fi
    in_browser "$browser" "$pattern" & jobs+=($!)
    left_out "$browser" & jobs+=($!)
done
if provide schemathesis; then
    check_description & jobs+=($!)
else
    missing "the API against its description (no schemathesis $schemathesis)"
fi
status=0
for job in "${jobs[@]}"; do wait "$job" || status=1; done
[ $status = 0 ] || exit 1

if [ "$differs" = . ]; then "$program" --ignored --exact --nocapture measure::times_and_bytes; fi
[ ${#not_run[@]} = 0 ] || exit 77
