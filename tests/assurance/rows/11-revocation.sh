#!/usr/bin/env bash
# claim: a revocation of any kind reaches every node within the staleness bound, whatever becomes of the feed and its proofs, of a demoted server, of a stopped node, and of what other roles send
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
# figure: = 0 of * revocations take effect later than the bound of 1s, while another role sends texts
# figure: = 0 reads of other keys while another role sends * texts
# figure: = 0 of * revocations take effect later than the bound of 1s, with the server demoted under the feed
# figure: = 0 of * revocations of keys that proofs keep take effect later than the bound of 1s
# figure: = 0 of * revocations take effect later than the bound of 1s, with a feed that is 700ms late
# figure: = 0 of * revocations take effect later than the bound of 500ms, with a feed that is 700ms late
# figure: > 0 proofs that were 700ms late
# figure: = 0 gaps in * seconds at a node whose role may only read
# figure: = 0 reads of a cached key in * seconds at a node whose role may only read
# figure: = 0 of * keys that are revoked while a node is stopped are accepted when it continues
# figure: <= 100 ms is the median of * at a process that shares the file of SQLite and follows its feed
# figure: <= 250 ms is the worst of * at a process that shares the file of SQLite and follows its feed
# figure: = 0 of * revocations at a process that shares the file of SQLite take effect later than the bound of 1s, without its feed
# control: > 0 of * revocations are later at a node without feed and bound
# control: > 0 of * revocations are never noticed at a node without feed and bound
# control: > 0 revoked keys are still enabled on the demoted server
# control: > 0 gaps at a node whose feed was cut
# control: > 0 of * revocations are later at a node whose feed drops notices among texts
# control: > 0 reads of other keys after the feed was cut
# control: > 0 of * revocations are later at a node whose feed proves without the primary
# control: > 0 revoked keys are enabled on the server demoted under the feed
# control: > 0 of * revocations are later at a node whose feed proves and drops notices
# control: > 0 of * revocations are later at a node whose late feed proves without asking
# control: > 0 reads of a cached key in * seconds at a node without the feed
# control: > 0 gaps after a change that is not announced
# control: > 0 of * keys that are revoked meanwhile are accepted at a node without feed and bound
# control: > 0 of * revocations take longer than 250 ms without the feed of the file
# control: > 0 of * revocations are not seen at a node with the file, without its feed and bound
#
# The bound is 1 s here. The default is 5 s. The nodes of the first run are in one process and verify every
# key without a pause. The planted fault is a node without feed and bound, or a feed that proves too early.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
postgres || not_here "no PostgreSQL"

if [ "$MODE" = full ]; then export KEYWAY_LONG=1; fi
run() { tested "${whole[@]}" --test revocation -- --nocapture "$@"; }
run nodes::
# Its times are those of a machine that does little else.
run files::
# These tests spend most of their time waiting.
run --skip nodes:: --skip files::
