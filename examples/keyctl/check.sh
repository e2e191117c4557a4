#!/usr/bin/env bash
# Runs the tests of keyctl, its demo, and a session from a shell: on SQLite, on a terminal, and on PostgreSQL.
# Needs bash and coreutils besides cargo, `script` for the terminal, and PostgreSQL.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/tools.sh

work=$(mktemp -d)
server=
bin=
trap 'stop_server; rm -rf "$work"' EXIT
fail() { printf 'keyctl/check.sh: %s\n' "$1" >&2 && exit 1; }
said() { echo "keyctl: $1"; }

stop_server() {
    [ -z "$server" ] || as_postgres "$bin/pg_ctl" -D "$server" -m immediate stop >/dev/null 2>&1 || true
    server=
}

cargo test --quiet -p keyctl >"$work/tests" 2>&1 || { cat "$work/tests" >&2; fail 'the tests fail'; }
tests_ran "$work/tests" || fail 'no test was run'
said "$(grep -c '^test result: ok' "$work/tests") test programs pass"
cargo build --quiet -p keyctl
keyctl="${CARGO_TARGET_DIR:-$PWD/target}/debug/keyctl"
bare=$PWD/examples/machinemetrics.json
policy=$work/policy.json
sed '0,/{/s//{ "max_child_lifetime_seconds": 86400,/' "$bare" >"$policy"

"$keyctl" >"$work/help"
grep -q 'keyctl demo' "$work/help" || fail 'no help without arguments'
TMPDIR=$work "$keyctl" demo >"$work/demo" || { cat "$work/demo" >&2; fail 'the demo fails'; }
[ "$(grep -c '^  \$ keyctl' "$work/demo")" -ge 25 ] || fail 'the demo runs too few commands'
if compgen -G "$work/keyctl-demo-*" >/dev/null; then fail 'the demo leaves files behind'; fi
said 'the demo runs every command, each with the exit code that it should have'

# Everything that keyctl writes, except for the tokens that were asked for.
log=$work/log
call() { "$keyctl" "$@" >"$work/out" 2>"$work/err" </dev/null && status=0 || status=$?; cat "$work/out" "$work/err" >>"$log"; }
ends() {
    local code=$1
    shift
    call "$@"
    [ "$status" = "$code" ] || { cat "$work/err" >&2; fail "\`keyctl $*\` ends with $status, and should end with $code"; }
}
gives_away() { local secret; for secret in "${secrets[@]}"; do grep -qF -- "$secret" "$log" && return 0; done; return 1; }

# A session as scripts have it. The store is the variable KEYCTL_STORE.
session() {
    : >"$log"
    export KEYCTL_PEPPER_FILE=$work/pepper KEYCTL_PEPPER_SLOT=0
    ends 0 init
    ends 0 tenants create acme --tier advanced
    local token id
    token=$("$keyctl" keys issue --tenant acme --name Nightly --scope reporting 2>>"$log")
    secrets+=("$token")
    printf '%s' "$token" | "$keyctl" token verify >>"$log" || fail 'a new token is not valid'
    ends 0 keys list --tenant acme --json
    id=$(grep -o '"id":"[^"]*"' "$work/out" | cut -d'"' -f4)
    [ "${#id}" = 16 ] || fail "the list has no id: $id"
    ends 1 keys child-prefix "$id"
    grep -q -- '--children on' "$work/err" || fail 'a key without children is not named as such'
    KEYCTL_POLICY=$bare ends 1 keys edit "$id" --children on
    grep -q 'max_child_lifetime_seconds' "$work/err" || fail 'children are allowed without a policy for them'
    ends 0 keys edit "$id" --children on
    ends 0 keys child-prefix "$id"
    grep -qx "${token:0:24}[A-Za-z0-9_-]\{8\}~" "$work/out" || fail 'the child prefix is not that of the key'
    ends 0 keys edit "$id" --children off
    ends 1 keys child-prefix "$id"
    printf '%s' "$token" | "$keyctl" token report-leak --reason check >>"$log" 2>&1 || fail 'a leak is not reported'
    if printf '%s' "$token" | "$keyctl" token verify >>"$log"; then fail 'a leaked token is still valid'; fi
    ends 0 keys resume "$id"

    printf '{"tenants":[{"id":"acme","tier":"advanced","keys":[{"name":"Nightly"},{"name":"ERP","scopes":["erp"]}]}]}' >"$work/m.json"
    rm -f "$work/tokens" "$work/plan"
    ends 0 apply "$work/m.json" --dry-run --save-plan "$work/plan"
    ends 0 apply "$work/m.json" --token-file "$work/tokens"
    [ "$(stat -c %a "$work/tokens")" = 600 ] || fail 'others can read the token file'
    secrets+=("$(grep -o 'mm_live_[A-Za-z0-9_-]*' "$work/tokens")")
    ends 0 apply "$work/m.json"
    grep -qx '0 created, 0 changed, 0 deleted, 3 unchanged.' "$work/out" || fail 'a second apply changes something'
    ends 1 apply "$work/m.json" --plan "$work/plan"
    grep -q 'created since the plan' "$work/out" || fail 'an outdated plan is not reported'

    printf 'tenant,name,digest\nacme,Old,%s\nacme,Bad,xyz\n' "$(printf old_11111111 | sha256sum | cut -d' ' -f1)" >"$work/keys.csv"
    ends 1 import "$work/keys.csv" --prefix old_ --lengths 12
    grep -q 'keys.csv:3: digest' "$work/err" || fail 'a bad line is not named'
    sed -i 3d "$work/keys.csv"
    ends 0 import "$work/keys.csv" --prefix old_ --lengths 12 --audit
    ends 0 reseal --pepper-file "$work/next" --pepper-slot 1 --retiring "0=$work/pepper"
    ends 0 tenants list --pepper-file "$work/next" --pepper-slot 1
    ends 1 tenants list
    grep -q 'compare --policy' "$work/err" || fail 'a pepper that the store no longer has is not refused'
    export KEYCTL_PEPPER_FILE=$work/next KEYCTL_PEPPER_SLOT=1
    ends 2 tenants delete acme
    ends 0 tenants show acme
    ends 0 tenants delete acme --yes
    ends 1 tenants show acme
    if gives_away; then fail 'a secret is in the output'; fi
}

for name in pepper next; do head -c 32 /dev/urandom | base64 >"$work/$name"; done
secrets=("$(<"$work/pepper")" "$(<"$work/next")")
export KEYCTL_POLICY=$policy KEYCTL_STORE=$work/keys.db
session
said 'a session on SQLite, twice the same manifest, and no secret in the output'

# The control: the same search notices a secret that was written.
"$keyctl" tenants create globex --tier lite >>"$log"
"$keyctl" keys issue --tenant globex --name Planted >"$work/token" 2>>"$log"
secrets+=("$(<"$work/token")")
if gives_away; then fail 'a secret is found that was not written'; fi
cat "$work/token" >>"$log"
gives_away || fail 'a secret in the output is not noticed'

missing=
if has script; then
    # On a terminal, a deletion asks.
    asked() { printf '%s\n' "$1" | script -qec "'$keyctl' tenants delete globex" /dev/null >"$work/out" && status=0 || status=$?; }
    asked no
    [ "$status" = 1 ] && "$keyctl" tenants show globex >/dev/null || fail 'a deletion that was not confirmed is made'
    asked yes
    [ "$status" = 0 ] || { cat "$work/out" >&2; fail 'a deletion that was confirmed is not made'; }
    ends 1 tenants show globex
    said 'a deletion on a terminal asks, and does what the reply says'
else
    missing='script, for a terminal'
fi

as_postgres() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi; }
if postgres; then
    bin=$(dirname "$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | tail -1)")
    [ "$bin" != . ] || bin=$(dirname "$(command -v initdb)")
    password='p%40ss%2Fword-of-the-check'
    secrets+=("$password" 'p@ss/word-of-the-check')
    mkdir "$work/server"
    chmod 711 "$work"
    printf 'p@ss/word-of-the-check' >"$work/server/password"
    [ "$(id -u)" != 0 ] || chown -R postgres "$work/server"
    as_postgres "$bin/initdb" --no-sync --auth=scram-sha-256 --username=keyway --pwfile="$work/server/password" \
        --pgdata="$work/server/data" >"$work/server.log" 2>&1 || { cat "$work/server.log" >&2; fail 'no database'; }
    server=$work/server/data
    started=
    for _ in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 20000))
        if as_postgres "$bin/pg_ctl" -D "$server" -w -l "$work/server/log" start \
            -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c dynamic_shared_memory_type=mmap" \
            >/dev/null 2>&1; then
            started=yes
            break
        fi
    done
    [ -n "$started" ] || fail 'the server does not start'
    url="127.0.0.1:$port/postgres"
    export KEYCTL_STORE="postgres://keyway:$password@$url"
    session
    ends 2 tenants list --store "postgres://keyway:$password@$url"
    KEYCTL_STORE="postgres://keyway:not-$password@$url" ends 3 tenants list
    grep -q 'password authentication failed' "$work/err" || fail 'the reason is not named'
    PGPASSWORD='p@ss/word-of-the-check' ends 0 tenants list --store "postgres://keyway@$url"
    KEYCTL_STORE='postgres://keyway:p%40ss/word-of-the-check@127.0.0.1:1/postgres' ends 2 tenants list
    PGPASSWORD='p@ss/word-of-the-check' ends 0 init --schema other --store "postgres://keyway@$url"
    "$keyctl" tenants create elsewhere --tier lite >>"$log" || fail 'no tenant is created'
    ends 0 tenants list --schema other --json
    [ ! -s "$work/out" ] || fail 'a tenant is in two schemas'
    as_postgres "$bin/pg_ctl" -D "$server" -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
        -c dynamic_shared_memory_type=mmap -c synchronous_commit=off" -w -m fast -l "$work/server/log" restart >/dev/null
    ends 1 tenants list
    grep -q -- '--accept-data-loss' "$work/err" || fail 'a setting that loses writes is not refused'
    ends 0 tenants list --accept-data-loss
    stop_server
    ends 3 tenants list
    if gives_away; then fail 'the password is in the output'; fi
    said 'the same session on PostgreSQL, and no password in the output'
else
    missing="${missing:+$missing, }PostgreSQL"
fi

[ -z "$missing" ] || not_here "$missing"
