#!/usr/bin/env bash
# claim: failover to a synchronous standby undoes no acknowledged revocation; a server with standbys whose settings do not protect against a failover is refused at start-up unless the application names the danger
# depends: src :!src/http* :!src/console* :!src/store/sqlite* :!src/cache/fence_tests* tests/assurance/processes tests/support
# figure: = 0 of * acknowledged revocations undone in * failovers to a synchronous standby
# figure: = 0 stores that open on a server with an asynchronous standby unless the host names the danger
# figure: = 0 of * writes acknowledged while the synchronous standby hangs
# figure: = 0 tenants set back of * acknowledged operations in * failovers to a synchronous standby
# full figure: >= 1000 acknowledged revocations before the primary was lost
# quick figure: >= 10 acknowledged revocations before the primary was lost
# figure: = 0 of * settings with which a failover loses acknowledged writes open unless the host names the danger
# control: > 0 tenants set back in failovers to an asynchronous standby that is 500 ms behind
# control: > 0 settings open with which a failover loses nothing
# control: > 0 tenants set back in failovers with `synchronous_commit=local`
# control: > 0 of 2 stores open where it is named, or the standby is synchronous
#
# The planted faults, which are also the published limits, are an asynchronous standby that is 500 ms behind,
# and `synchronous_commit=local`. The loss with `remote_write` when the standby's machine stops is not
# measured.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
postgres || not_here "no PostgreSQL"

if [ "$MODE" = full ]; then export KEYWAY_LONG=1; fi
tested "${whole[@]}" --test processes -- --nocapture --test-threads=1 failovers::
