#!/usr/bin/env bash
# Makes children in JavaScript and Python as tests/vectors/children.json has them. Mistakes in either must be noticed. Then
# runs the example with children that both make now. Needs Node 20 or later, Python with venv, PyPI and curl.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/tools.sh

has node || debian node nodejs || not_here "node is missing"
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || not_here "node is older than 20"
has curl || debian curl || not_here "curl is missing"
has python3 || debian python3 || not_here "python3 is missing"
venv="${CARGO_TARGET_DIR:-target}/children-venv"
if ! "$venv/bin/python" -c 'import cryptography' 2>/dev/null; then
    mkdir -p "$(dirname "$venv")"
    if ! python3 -m venv "$venv" 2>/dev/null; then
        debian no-such-command python3-venv || python3 -m venv "$venv" || not_here "python3 has no venv"
    fi
    "$venv/bin/pip" install --quiet --disable-pip-version-check 'cryptography>=42' ||
        not_here "the package cryptography of PyPI is missing"
fi

example=examples/children
work=$(mktemp -d)
service= stream=
trap 'for process in $service $stream; do kill "$process" 2>/dev/null || true; done; rm -rf "$work"' EXIT
fail() { printf 'children: %s\n' "$1" >&2 && exit 1; }
python() { PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" "$@"; }

for file in mint.js mint.py; do
    [ "$(wc -l <"$example/$file")" -le 60 ] || fail "$file has more than 60 lines"
done

# The vectors. Both must notice one that is changed.
vectors=tests/vectors/children.json
node "$example/vectors.js" "$vectors" || fail "JavaScript makes other children"
python "$example/vectors.py" "$vectors" || fail "Python makes other children"
# changed NAME CODE: both notice the vectors after this change of Python, and print the name.
changed() {
    python -c "import json, sys
vectors = json.load(open(sys.argv[1], encoding='utf-8'))
named = {vector['name']: vector for part in ('children', 'refused') for vector in vectors[part]}
vector = named[sys.argv[2]]
$2
json.dump(vectors, open(sys.argv[3], 'w', encoding='utf-8'))" "$vectors" "$1" "$work/changed.json"
    for run in "node $example/vectors.js" "python $example/vectors.py"; do
        if $run "$work/changed.json" >"$work/control"; then fail "not noticed by $run: $1"; fi
        [ "$(wc -l <"$work/control")" = 1 ] && grep -qF ": $1: " "$work/control" ||
            { cat "$work/control"; fail "another failure than expected: $1"; }
    done
    echo "noticed: $1"
}
changed "ids whose order in UTF-16 is another" "vector['child'] = vector['child'][:-1] + 'AQ'[vector['child'][-1] == 'A']"
changed "one scope" "vector['request']['scopes'] = ['erp']"
changed "no scope" "vector['request']['scopes'] = ['reporting']"

# mistake NAME FILE SED-SCRIPT OUTCOME: the vectors show this mistake in one of the two.
mistake() {
    mkdir -p "$work/planted"
    cp "$example"/*.js "$example"/*.py "$example/package.json" "$work/planted"
    sed -i "$3" "$work/planted/$2"
    if cmp -s "$example/$2" "$work/planted/$2"; then fail "the mistake is not planted: $1"; fi
    local run=(node "$work/planted/vectors.js")
    [ "$2" = mint.js ] || run=(python "$work/planted/vectors.py")
    if "${run[@]}" "$vectors" >"$work/control"; then fail "the mistake is not noticed: $1"; fi
    grep -q "^[JP].*: $4" "$work/control" || { cat "$work/control"; fail "another failure than expected: $1"; }
    echo "noticed in $2: $1"
}
encoded='map((item) => text(new TextEncoder().encode(item)))'
mistake "the order of UTF-16" mint.js "s/items.$encoded/items/; s/\.sort()/.sort().$encoded/" \
    'ids whose order in UTF-16 is another: another child'
mistake "an item that occurs twice" mint.js 's/\[\.\.\.new Set(\(.*\))\]\.sort/\1.sort/' \
    'scopes in another order, and one twice: another child'
mistake "an item with a line break" mint.js 's/const isText = .*/const isText = true;/' \
    'id with a line break: a child is made'
mistake "the order of UTF-16" mint.py \
    's/sorted(set(lines(name, items)))/sorted(set(lines(name, items)), key=lambda item: item.encode("utf-16-be"))/' \
    'ids whose order in UTF-16 is another: another child'
mistake "an item that occurs twice" mint.py 's/sorted(set(lines(name, items)))/sorted(lines(name, items))/' \
    'scopes in another order, and one twice: another child'
mistake "an item with a line break" mint.py 's/check(re.fullmatch("\[^.*/pass/' 'id with a line break: a child is made'

# The service, with children that are made now.
cargo build --quiet -p children
: >"$work/out"
"${CARGO_TARGET_DIR:-target}/debug/children" >"$work/out" 2>"$work/log" &
service=$!
until grep -qx ready "$work/out"; do
    kill -0 "$service" 2>/dev/null || { cat "$work/log" >&2; fail "the service does not start"; }
    sleep 0.1
done
SERVICE_URL=$(head -n 1 "$work/out")
export SERVICE_URL
# of NAME FIELD: prints the token (2) or the child prefix (3) of a key.
of() { awk -v name="$1" -v field="$2" '$1 == name { print $field }' "$work/out"; }
# made NAME LIMITS: prints a child of a key, which JavaScript makes with these limits.
made() {
    KEY=$(of "$1" 2) CHILD_PREFIX=$(of "$1" 3) node --input-type=module -e "
        import { mintChild } from './$example/mint.js';
        console.log(await mintChild(process.env.KEY, process.env.CHILD_PREFIX, $2));"
}
KEY=$(of nightly 2) CHILD_PREFIX=$(of nightly 3) python "$example/nightly.py" || fail "the nightly job"
KEY=$(of agent 2) CHILD_PREFIX=$(of agent 3) node "$example/agent.js" || fail "the agent"
if KEY=$(of agent 2) CHILD_PREFIX=$(of agent 3) python "$example/nightly.py" >"$work/control" 2>&1; then
    fail "a job with another key is not noticed"
fi
grep -q 'order, with the key: expected 201' "$work/control" || { cat "$work/control"; fail "the control fails otherwise"; }

# The stream of the page.
status() { curl --silent --output /dev/null --max-time 20 --write-out '%{http_code}' "$@"; }
expect() { [ "$2" = "$3" ] || fail "$1: $2, should be $3"; echo "  $1: $2"; }
echo "Page"
expect "page" "$(status "$SERVICE_URL/")" 200
ticket=$(curl --silent --request POST "$SERVICE_URL/ticket")
opened=$SECONDS
curl --silent --no-buffer --max-time 60 "$SERVICE_URL/events?ticket=$ticket" >"$work/events" &
stream=$!
expect "stream without a ticket" "$(status "$SERVICE_URL/events")" 401
expect "key in the query" "$(status "$SERVICE_URL/events?ticket=$(of dashboard 2)")" 401
other=$(made dashboard '{ expiresIn: 3600, audience: ["route:GET /events"] }')
expect "child that lasts longer than a ticket" "$(status "$SERVICE_URL/events?ticket=$other")" 403
other=$(made dashboard '{ expiresIn: 30 }')
expect "child for all routes in the query" "$(status "$SERVICE_URL/events?ticket=$other")" 403
other=$(made dashboard '{ expiresIn: 30, audience: ["route:GET /events"] }')
expect "ticket of JavaScript" "$(status --max-time 1 "$SERVICE_URL/events?ticket=$other" || true)" 200
# Writes a ticket as the page does.
query=$(node -p 'String(new URLSearchParams({ ticket: process.argv[1] }))' "$other")
[[ $query == *%7E* ]] || fail "URLSearchParams escapes no mark"
expect "ticket of URLSearchParams" "$(status --max-time 1 "$SERVICE_URL/events?$query" || true)" 200
expect "ticket for a route that takes none" "$(status "$SERVICE_URL/settings?ticket=$ticket")" 401
until [ "$(status --max-time 1 "$SERVICE_URL/events?ticket=$ticket" || true)" = 401 ]; do
    [ $((SECONDS - opened)) -lt 20 ] || fail "the ticket does not end"
done
readings=$(grep -c '^data: ' "$work/events") || fail "the stream is not opened"
echo "  the ticket has ended after $((SECONDS - opened)) s and $readings readings"
sleep 2
[ "$(grep -c '^data: ' "$work/events")" -ge $((readings + 10)) ] || fail "the stream ends with its ticket"
kill -0 "$stream" 2>/dev/null || fail "the stream is closed"
echo "  the stream is open 2 s later"
expect "the holder deletes the key" \
    "$(status --request DELETE --header "authorization: Bearer $(of dashboard 2)" "$SERVICE_URL/key")" 204
deleted=$SECONDS
wait "$stream" || fail "the stream does not end with its key"
stream=
[ $((SECONDS - deleted)) -le 3 ] || fail "the stream ends $((SECONDS - deleted)) s after its key"
echo "  the stream ends with its key"

# The log of the service has neither key nor child nor ticket. A child is made for the search.
child=$(made agent '{ expiresIn: 60 }')
expect "child in the query" "$(status "$SERVICE_URL/reports/production?ticket=$child")" 401
expect "child in a header" "$(status --header "authorization: Bearer $child" "$SERVICE_URL/reports/production")" 200
kill -INT "$service"
wait "$service" || fail "the service ends with status $?"
service=
# gives_away FILE: returns whether a file has the form of a key, a query, or a part of one of the secrets.
gives_away() { grep -qE 'mm_live_|[?]' "$1" || grep -qF -f "$work/parts" "$1"; }
secrets=("$(of dashboard 2)" "$(of nightly 2)" "$(of agent 2)" "$ticket" "$child")
for secret in "${secrets[@]}"; do
    echo "${secret:24:24}"
done >"$work/parts"
lines=$(wc -l <"$work/log")
[ "$lines" -ge 30 ] && grep -qx 'GET /events 200' "$work/log" || { cat "$work/log"; fail "the log has $lines lines"; }
if gives_away "$work/log"; then fail "the log has a key, a child or a ticket"; fi
for secret in "${secrets[@]}"; do
    for planted in "GET /${secret:0:20}" "GET /${secret:24}" "GET /events?"; do
        { cat "$work/log"; echo "$planted 200"; } >"$work/control"
        gives_away "$work/control" || fail "a secret in the log is not noticed"
    done
done
echo "no secret in $lines lines of the log"
