#!/usr/bin/env bash
# claim: while the store is in trouble, requests that need it are answered 503 within its time limit and 1500 ms for a busy machine, behind guards of axum and actix-web and in the console: nobody is let in, and nobody is told that a key is wrong. Such requests do not pile up, and a store that is back is used again within 6500 ms
# with: strace
# depends: src :!src/cache/fence_tests* tests/assurance/outages tests/support
# figure: = * of * requests in 11 troubles of PostgreSQL are answered 503 with Retry-After: connections refused, black hole, the server hangs, reset mid-reply, slow drip, garbled replies, pool exhausted, read-only, disk full, EIO when it writes, EIO when it syncs
# figure: = 0 of * requests in trouble of PostgreSQL are answered 200
# figure: = 0 of * requests in trouble of PostgreSQL are answered 401
# figure: = 0 of * requests in trouble of PostgreSQL are answered after more than * ms: the time limit of * ms and 1500 ms for a busy machine
# figure: = 0 of * requests that no trouble of PostgreSQL concerns are answered otherwise: malformed and no keys while it is down, wrong keys while it is up
# figure: = * of * requests in 6 troubles of SQLite are answered 503 with Retry-After: EIO when it reads, EIO when it writes, EIO when it syncs, disk full, read-only, held by another process
# figure: = 0 of * requests in trouble of SQLite are answered 200
# figure: = 0 of * requests in trouble of SQLite are answered 401
# figure: = 0 of * requests in trouble of SQLite are answered after more than * ms: the time limit of * ms and 1500 ms for a busy machine
# figure: = 0 of * requests that no trouble of SQLite concerns are answered otherwise: malformed and no keys while it is down, wrong keys while it is up
# figure: <= 6500 ms does the 1st of 100 uncached requests wait that come 40 ms apart in a black hole, where the time limit is 5000 ms
# figure: <= 250 ms does the 100th of them wait
# figure: <= 40 of them wait at once at most
# figure: <= 2 of * of them that come more than 1500 ms after the 1st try the store, and wait longer than 250 ms
# figure: <= 6500 ms after the end of the black hole is the first request answered 200
# figure: <= 6500 ms after the end of 9 s of resets is the first request answered 200
# control: > 0 of * answers of guards are 401 with a store that finds nothing in trouble of PostgreSQL
# control: > 0 of * answers of guards are 200 with a store that remembers for ever in trouble of PostgreSQL
# control: > 0 of * answers of guards are late with a store that takes 1650 ms more in trouble of PostgreSQL
# control: > 0 of * answers of the console are 404 with a store that finds nothing in trouble of PostgreSQL
# control: > 0 of * answers of the console are 200 with a store that remembers for ever in trouble of PostgreSQL
# control: > 0 of * answers of the console are late with a store that takes 1650 ms more in trouble of PostgreSQL
# control: > 0 of * answers of guards are 401 with a store that finds nothing when SQLite cannot read
# control: > 0 of * answers of guards are 200 with a store that remembers for ever when SQLite cannot read
# control: > 0 of * answers of guards are late with a store that takes 2150 ms more when SQLite cannot read
# control: > 0 of * answers of the console are 404 with a store that finds nothing when SQLite cannot read
# control: > 0 of * answers of the console are 200 with a store that remembers for ever when SQLite cannot read
# control: > 0 of * answers of the console are late with a store that takes 2150 ms more when SQLite cannot read
# control: > 0 ms above 250 ms does the 100th request wait without a breaker
# control: > 0 requests above 40 wait at once without a breaker
# control: > 0 of * requests that come more than 1500 ms after the 1st wait longer than 250 ms without a breaker
# control: > 0 of 1 store that stays away is not back in time
#
# strace makes outages of the database itself, in the running processes. The planted faults are stores after
# guards and a console: one finds nothing in an outage, one repeats old results, one is late, and one fails
# every call after its first error. Another one is a verifier for each request, which remembers no failure.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
postgres || not_here "no PostgreSQL"
debian strace || not_here "no strace"
# strace must attach to processes that it has not started.
sleep 10 &
status=0
timeout 1 strace -qq -o /dev/null -p $! || status=$?
kill $!
[ $status = 124 ] || not_here "strace may not trace other processes here"

if [ "$MODE" = full ]; then export KEYWAY_LONG=1; fi
tested "${whole[@]}" --test outages -- --nocapture --test-threads=1
