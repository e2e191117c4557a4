#!/usr/bin/env bash
# Runs the example against a receiver in Python, which checks the signatures with code of its own. Mistakes in
# either must make the example fail. tests/examples.sh runs it from the root of the repository. Needs python3.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/tools.sh

debian python3 || not_here "python3 is missing"

cargo build --quiet -p webhooks
work=$(mktemp -d)
receiver=
trap 'if [ -n "$receiver" ]; then kill "$receiver" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
program="${CARGO_TARGET_DIR:-target}/debug/webhooks"
export WEBHOOK_SECRET=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw

# run RECEIVER SECRET: runs the program against the receiver, which has this secret. What it printed is in `received`.
run() {
    : >"$work/received"
    python3 "$1" "$2" >"$work/received" 2>"$work/err" &
    receiver=$!
    until [ -s "$work/received" ]; do
        kill -0 "$receiver" 2>/dev/null || { cat "$work/err"; exit 1; }
        sleep 0.1
    done
    local status=0
    "$program" "127.0.0.1:$(head -n 1 "$work/received")" >"$work/out" 2>&1 || status=$?
    kill "$receiver"
    wait "$receiver" 2>/dev/null || true
    receiver=
    return "$status"
}

run examples/webhooks/receiver.py "$WEBHOOK_SECRET" || { cat "$work/out" "$work/received"; exit 1; }
cat "$work/out"
kinds='tenant_created key_issued key_issued key_edited key_deleted'
for tenant in acme umbrella; do
    expected=$(n=0; for kind in $kinds; do n=$((n + 1)); echo "ok $tenant $n $kind"; done)
    got=$(grep "^ok $tenant " "$work/received")
    [ "$got" = "$expected" ] || { echo "$tenant: expected"; echo "$expected"; echo "and got"; echo "$got"; exit 1; }
done
[ "$(grep -c '^down acme 1$' "$work/received")" = 2 ] || { echo "the first event was not tried again"; exit 1; }
# The other tenant was served while the first one waited.
first=$(grep -E '^ok ' "$work/received" | head -n 1)
[ "$first" = 'ok umbrella 1 tenant_created' ] || { echo "another tenant had to wait: $first"; exit 1; }
if grep -E '^(forged|another|again)' "$work/received"; then exit 1; fi

# mistake NAME SED-SCRIPT: the example fails if the receiver is changed like this.
mistake() {
    sed "$2" examples/webhooks/receiver.py >"$work/receiver.py"
    if cmp -s examples/webhooks/receiver.py "$work/receiver.py"; then
        echo "the mistake is not planted: $1" && exit 1
    fi
    if run "$work/receiver.py" "${3:-$WEBHOOK_SECRET}"; then
        echo "the mistake is not noticed: $1" && exit 1
    fi
    grep -q '^forged$' "$work/received" || { cat "$work/received"; echo "another failure than expected: $1"; exit 1; }
    echo "noticed: $1"
}

mistake "the id is not signed" "s/{headers\['webhook-id'\]}\.{sent}/{sent}/"
mistake "the secret is another one" 's/^TOLERANCE = 300/TOLERANCE = 301/' whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
