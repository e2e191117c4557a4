#!/usr/bin/env bash
# Runs the examples. The quickstart must stay small, since it is the first program that a newcomer builds.
# Both services must print the same lines of curl, and must respond to each with the status at its end and
# with the same response. Needs bash, curl and coreutils besides cargo.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
service=
trap 'if [ -n "$service" ]; then kill "$service" 2>/dev/null || true; fi; rm -rf "$work"' EXIT

fail() { printf 'examples.sh: %s\n' "$1" >&2 && exit 1; }

# Counts the crates that cargo compiles for a package.
crates() {
    cargo tree -p "$1" --edges normal,build --prefix none | awk '{ print $1, $2 }' | sort -u | wc -l
}

# Runs a service from its start to Ctrl-C. Sets `printed` to its output and `answered` to its responses, both
# without keys and other values that differ at every start.
check() {
    local example=$1 out="$work/$1.out" err="$work/$1.err" lines=() line outcome ended=0
    : >"$out"
    # The program itself and not `cargo run`, so that the signal below reaches the service.
    "${CARGO_TARGET_DIR:-target}/debug/$example" >"$out" 2>"$err" &
    service=$!
    until [[ $(<"$out") == *'/metrics  # 200'* ]]; do
        kill -0 "$service" 2>/dev/null || { cat "$err" >&2; fail "$example does not start"; }
        sleep 0.1
    done
    printed=$(<"$out") answered=
    mapfile -t lines <"$out"
    local called=0 metrics=
    for line in "${lines[@]}"; do
        [[ $line == 'curl '* ]] || continue
        is_answered "$line" || fail "$example: ${status:-no status} from $line"
        called=$((called + 1))
        if [[ $line == */metrics* ]]; then
            metrics=$(<"$work/body")
        else
            # The order of headers is the framework's.
            answered+="$status $(LC_ALL=C sort "$work/body")"$'\n'
        fi
    done
    [ "$called" -ge 15 ] || fail "$example prints $called lines of curl"

    local told
    told=$(<"$err")
    for outcome in admitted missing forbidden limited; do
        [[ $metrics =~ keyway_requests_total\{outcome=\"$outcome\"\}\ [1-9] ]] ||
            fail "$example: /metrics does not count $outcome"
        [[ $told == *"$outcome"* ]] || fail "$example: no event of $outcome on stderr"
    done
    [[ $metrics =~ keyway_verification_seconds_bucket\{le=\"[^\"]+\"\}\ [1-9] ]] ||
        fail "$example: /metrics has no histogram of the time to a verdict"
    [[ $metrics == *'# HELP keyway_requests_total '* ]] || fail "$example: /metrics explains nothing"
    if gives_away "$told"; then fail "$example writes a key to stderr"; fi
    if gives_away "$metrics"; then fail "$example writes a key to /metrics"; fi

    # These checks detect a different status, a line without a status, and a key that was written.
    line="curl ${lines[0]}/health"
    is_answered "$line  # 200" || fail "$example: ${status:-no status} from $line"
    if is_answered "$line  # 201"; then fail "another status is not noticed"; fi
    if is_answered "$line"; then fail "a line without a status is not noticed"; fi
    gives_away "$told ${printed##*Bearer }" || fail "a key that is written is not noticed"

    kill -INT "$service"
    wait "$service" || ended=$?
    service=
    [ "$ended" = 0 ] || fail "$example ends with status $ended"
    printed=$(without_names "$printed") answered=$(without_names "$answered")
    echo "$example: $called lines of curl, each answered as it says"
}

# Returns whether the response to a line has the status in the line's comment. The line is run as a user would
# paste it.
is_answered() {
    local expected=${1##*  \# }
    [[ $expected =~ ^[1-5][0-9][0-9]$ ]] || return 1
    status=$(eval "$1") && [ "$status" = "$expected" ]
}

# For the printed lines: the status goes to stdout, and the response to a file.
curl() {
    : >"$work/body"
    # Without retries: a refusal with status 429 would be sent again in the next month.
    command curl --silent --show-error --max-time 20 \
        --output "$work/body" --write-out '%{http_code}' "$@"
}

# Returns whether this text contains any of the printed keys.
gives_away() {
    local rest=$printed count=0
    while [[ $rest =~ Bearer\ (mm_live_[A-Za-z0-9_-]+) ]]; do
        [[ $1 != *"${BASH_REMATCH[1]}"* ]] || return 0
        rest=${rest#*"${BASH_REMATCH[0]}"}
        count=$((count + 1))
    done
    [ "$count" -ge 4 ] || fail "no keys are printed"
    return 1
}

# Prints the text without the values that differ at every start.
without_names() {
    local text=$1
    text=$(replaced "$text" 'mm_live_[A-Za-z0-9_-]+' KEY)
    text=$(replaced "$text" '127\.0\.0\.1:[0-9]+' ADDRESS)
    text=$(replaced "$text" 'date: [A-Za-z0-9:, ]+ GMT' DATE)
    text=$(replaced "$text" '(retry-after: |;t=)[0-9]+' SECONDS)
    text=$(replaced "$text" '[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z' TIME)
    replaced "$text" '"(id|masked)":"[^"]*"' NAME
}

# Prints the text with every match replaced.
replaced() {
    local rest=$1 before=
    while [[ $rest =~ $2 ]]; do
        before+=${rest%%"${BASH_REMATCH[0]}"*}$3
        rest=${rest#*"${BASH_REMATCH[0]}"}
    done
    printf '%s\n' "$before$rest"
}

agree() {
    [ "$1" = "$2" ] && return
    printf 'one: %s\n\nother: %s\n\n' "$1" "$2" >&2
    fail "the services do not $3 the same"
}

first_command='cargo run -p quickstart'
grep -qxF "$first_command" README.md || fail "README.md does not show $first_command"
[ "$(crates quickstart)" -le 60 ] || fail "$first_command compiles $(crates quickstart) crates"
# The same count notices a web framework.
[ "$(crates service-axum)" -gt 60 ] || fail "a large program is not noticed"
$first_command --quiet

# One command, so that shared dependencies are built once.
cargo build --quiet -p custom-store -p service-axum -p service-actix
"${CARGO_TARGET_DIR:-target}/debug/custom-store"
check service-axum
printed_by_axum=$printed answered_by_axum=$answered
check service-actix
agree "$printed_by_axum" "$printed" print
agree "$answered_by_axum" "$answered" answer
echo "both answer the same"

# The examples that check themselves, with clients and servers of other projects. Each says what it needs.
is_whole=yes
for check in examples/*/check.sh; do
    printf '\n-- %s\n' "$check"
    status=0
    bash "$check" || status=$?
    case $status in
        0) ;;
        77) is_whole= ;;
        *) fail "$check ends with status $status" ;;
    esac
done
[ -n "$is_whole" ] || exit 77
