#!/usr/bin/env bash
# Makes children in JavaScript and Python as tests/vectors/children.json has them. Mistakes in either must be noticed.
# Needs Node 20 or later, Python with venv, and PyPI.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/tools.sh

has node || debian node nodejs || not_here "node is missing"
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || not_here "node is older than 20"
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
service=
trap 'if [ -n "$service" ]; then kill "$service" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
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
