#!/usr/bin/env bash
# Runs the example with nginx, HAProxy and Caddy in front of the application, and checks its outcome.
#
#   examples/gateway/check.sh             the table, through each gateway
#   examples/gateway/check.sh measure     the cost of the question: nginx that asks over nginx alone, with wrk
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/tools.sh

debian nginx || not_here 'nginx cannot be installed'
if [ "${1:-}" = measure ]; then
    debian wrk || not_here 'wrk cannot be installed'
    cargo build --quiet --release -p gateway
    exec "${CARGO_TARGET_DIR:-target}/release/gateway" measure
fi
debian haproxy || not_here 'haproxy cannot be installed'
debian caddy || echo 'not run: caddy cannot be installed'

cargo build --quiet -p gateway
out=$(mktemp)
trap 'rm -f "$out"' EXIT
"${CARGO_TARGET_DIR:-target}/debug/gateway" >"$out" 2>&1 || { cat "$out"; exit 1; }

fail() { cat "$out"; printf 'gateway: %s\n' "$1" >&2; exit 1; }

# Each gateway refuses and forwards rows of the table.
for gateway in nginx HAProxy Caddy; do
    grep -q "through $gateway" "$out" || { [ "$gateway" = Caddy ] && continue; fail "$gateway is not asked"; }
    refused=$(grep -c "^  $gateway .* refused$" "$out")
    forwarded=$(grep -c "^  $gateway .* forwarded as it is$" "$out")
    [ "$refused" -ge 40 ] && [ "$forwarded" -ge 10 ] || fail "$gateway: $refused refused, $forwarded forwarded"
    echo "$gateway: $refused requests are refused, $forwarded are forwarded as they are"
done
# The controls of the example: without the question, the application is reached.
grep -E '^nginx that ' "$out"
! grep -q FAULT "$out" || fail 'a fault is printed'
! grep -qE 'mm_live_' "$out" || fail 'a key is printed'
tail -n 1 "$out"
