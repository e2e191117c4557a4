#!/usr/bin/env bash
# claim: a revocation reaches every node within the staleness bound, whatever becomes of the feed
#
# The bound is 1 s here, where the default is 5 s. The nodes of the first run are in one process, and ask
# for every key without a pause. The planted fault is a node without feed and bound.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
postgres || not_here "no PostgreSQL"

if [ "$MODE" = full ]; then export KEYWAY_LONG=1; fi
run() { cargo test -p keyway --all-features --test revocation -- --nocapture "$@"; }
run nodes::
# These wait for most of their time.
run --skip nodes::
