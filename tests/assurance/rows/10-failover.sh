#!/usr/bin/env bash
# claim: failover to a synchronous standby undoes no acknowledged revocation; a server with asynchronous standbys is refused at start-up unless the host names the danger
#
# The planted fault, and the published limit, is a standby that is asynchronous and 500 ms behind.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
postgres || not_here "no PostgreSQL"

if [ "$MODE" = full ]; then export KEYWAY_LONG=1; fi
cargo test -p keyway --all-features --test processes -- --nocapture --test-threads=1 failovers::
