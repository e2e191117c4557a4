#!/usr/bin/env bash
# claim: a tenant never holds more keys than its tier allows, and no edit is lost, with several processes, of which any may be killed; a request that is given up is done as a whole or not at all
#
# The planted faults are a store that counts first and adds later, one that does not compare versions, and a
# handler that creates a key in two steps.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
postgres || not_here "no PostgreSQL"

if [ "$MODE" = full ]; then export KEYWAY_LONG=1; fi
run() { cargo test -p keyway --all-features --test "$1" -- --nocapture --test-threads=1 "${@:2}"; }
run processes quota:: edits::
run console dropped::
