#!/usr/bin/env bash
# claim: while the store is in trouble, requests that need it are answered 503 within its time limit, behind guards of axum and actix-web and in the console: nobody is let in, and nobody is told that a key is wrong
# with: strace
#
# Troubles of the database itself are made by strace, in the processes that run. The planted faults are a
# store that finds nothing when it is in trouble, and one that remembers for ever.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
postgres || not_here "no PostgreSQL"
debian strace || not_here "no strace"
# Here it attaches itself to processes that it has not started.
sleep 10 &
status=0
timeout 1 strace -qq -o /dev/null -p $! || status=$?
kill $!
[ $status = 124 ] || not_here "strace may not trace other processes here"

if [ "$MODE" = full ]; then export KEYWAY_LONG=1; fi
cargo test -p keyway --all-features --test outages -- --nocapture --test-threads=1
