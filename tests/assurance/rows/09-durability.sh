#!/usr/bin/env bash
# claim: what is acknowledged outlasts kill -9 of any process and of the PostgreSQL server, and on SQLite a kill at any system call and a loss of power
# with: strace
#
# A power cut is replayed: the writes that strace tells of are left out of the file where they were not
# synced. The planted faults are a store that writes behind, a server without synchronous commits, and
# SQLite with `synchronous` at `NORMAL`.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
postgres || not_here "no PostgreSQL"
debian strace || not_here "no strace"
strace -qq -o /dev/null true || not_here "strace may not trace processes here"

if [ "$MODE" = full ]; then export KEYWAY_LONG=1; fi
cargo test -p keyway --all-features --test processes -- --nocapture --test-threads=1 \
    kills:: syscalls:: power_cuts:: opening::
