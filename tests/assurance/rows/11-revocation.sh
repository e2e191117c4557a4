#!/usr/bin/env bash
# claim: a revocation of any kind reaches every node within the staleness bound, whatever becomes of the feed, of a demoted server, and of what other roles send
# depends: src :!src/http* :!src/console* :!src/cache/fence_tests* tests/assurance/revocation tests/support
# figure: = 0 of * revocations at 4 nodes take effect later than the bound of 1s, with the feed up
# full figure: >= 1000 revocations with the feed up
# quick figure: >= 20 revocations with the feed up
# figure: = 0 of * revocations at 4 nodes take effect later than the bound of 1s, with the feed cut
# full figure: >= 1000 revocations with the feed cut
# quick figure: >= 20 revocations with the feed cut
# figure: = 0 of * revocations at 4 nodes take effect later than the bound of 1s, with the feed black-holed
# full figure: >= 1000 revocations with the feed black-holed
# quick figure: >= 20 revocations with the feed black-holed
# figure: = 0 of * revocations at 4 nodes take effect later than the bound of 1s, with the feed hung
# full figure: >= 1000 revocations with the feed hung
# quick figure: >= 20 revocations with the feed hung
# figure: = 0 of * revocations by disabling the key not heard of at 2 nodes by the feed alone
# figure: = 0 of * revocations by disabling the key take effect later than the bound without the feed
# figure: = 0 of * revocations by ending the key not heard of at 2 nodes by the feed alone
# figure: = 0 of * revocations by ending the key take effect later than the bound without the feed
# figure: = 0 of * revocations by taking a scope from the key not heard of at 2 nodes by the feed alone
# figure: = 0 of * revocations by taking a scope from the key take effect later than the bound without the feed
# figure: = 0 of * revocations by rotating the key without a grace period not heard of at 2 nodes by the feed alone
# figure: = 0 of * revocations by rotating the key without a grace period take effect later than the bound without the feed
# figure: = 0 of * revocations by deleting the key not heard of at 2 nodes by the feed alone
# figure: = 0 of * revocations by deleting the key take effect later than the bound without the feed
# figure: = 0 of * revocations by suspending the key not heard of at 2 nodes by the feed alone
# figure: = 0 of * revocations by suspending the key take effect later than the bound without the feed
# figure: = 0 of * revocations by suspending the tenant not heard of at 2 nodes by the feed alone
# figure: = 0 of * revocations by suspending the tenant take effect later than the bound without the feed
# figure: = 0 of * revocations by lowering the tier not heard of at 2 nodes by the feed alone
# figure: = 0 of * revocations by lowering the tier take effect later than the bound without the feed
# figure: = 0 of * revocations by deleting the tenant not heard of at 2 nodes by the feed alone
# figure: = 0 of * revocations by deleting the tenant take effect later than the bound without the feed
# full figure: >= 450 revocations of 9 kinds
# quick figure: >= 36 revocations of 9 kinds
# figure: = 0 of * revocations on a new primary undone by the demoted one
# figure: = 0 gaps at a node after * notices of another role
# figure: = 0 of * payloads of notices that show an id of a tenant or key
# control: > 0 of * revocations are later at a node without feed and bound
# control: > 0 of * revocations are never noticed at a node without feed and bound
# control: > 0 revoked keys are still enabled on the demoted server
# control: > 0 gaps at a node whose feed was cut
#
# The bound is 1 s here. The default is 5 s. The nodes of the first run are in one process and verify every
# key without a pause. The planted fault is a node without feed and bound.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
postgres || not_here "no PostgreSQL"

if [ "$MODE" = full ]; then export KEYWAY_LONG=1; fi
run() { tested "${whole[@]}" --test revocation -- --nocapture "$@"; }
run nodes::
# These tests spend most of their time waiting.
run --skip nodes::
