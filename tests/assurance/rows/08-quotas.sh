#!/usr/bin/env bash
# claim: a tenant never holds more keys than its tier or its exceptions allow, and no edit is lost, with several processes, of which any may be killed; a request that is given up is done as a whole or not at all
# depends: src :!src/http/* :!src/cache/fence_tests* tests/assurance/processes tests/console tests/support
# figure: = 0 of * races of 8 processes for 5 keys on PostgreSQL ended with more or fewer
# figure: = 0 edits lost of * by 4 processes at once on PostgreSQL, with ? conflicts
# figure: = 0 edits lost of * by 4 processes at once on SQLite, with ? conflicts
# figure: = 0 of * keys on PostgreSQL above the quota of the time, while * moves change the tier
# figure: = 0 of * keys on SQLite above the quota of the time, while * moves change the tier
# figure: = 0 of * keys on PostgreSQL above the quota of the time, while * exceptions change the number
# figure: = 0 of * keys on SQLite above the quota of the time, while * exceptions change the number
# figure: = 0 of * races on PostgreSQL with * processes killed ended with other than 5 keys
# figure: = 0 of * races on SQLite with * processes killed ended with other than 5 keys
# figure: = 0 of * races of 8 processes for 5 keys on PostgreSQL with repeatable read ended with more or fewer
# figure: = 0 of * races of 8 processes for 5 keys on PostgreSQL with serializable ended with more or fewer
# figure: = 0 of * races of 8 processes for 5 keys on SQLite ended with more or fewer
# figure: = 0 of * allowances of 1600 units on PostgreSQL were exceeded by 8 processes, * of them killed
# figure: = 0 of * allowances of 1600 units on SQLite were exceeded by 8 processes, * of them killed
# figure: = 0 of * allowances on PostgreSQL lost more than 53 units for each of * processes killed
# figure: = 0 of * allowances on SQLite lost more than 53 units for each of * processes killed
# figure: = 0 of * allowances of 1600 units were exceeded by 8 processes whose store was away 3 times
# figure: = 0 of * allowances lost more than the slices on their way to a store that was away
# figure: = 0 of * console requests dropped at every await on the memory store left a half, or a place taken
# figure: = 0 of * console requests dropped at every await on PostgreSQL left a half, or a place taken
# figure: = 0 of * console requests dropped at every await on SQLite left a half, or a place taken
# control: > 0 keys above the quota of 5 in race * when the store counts beforehand
# control: > 0 edits lost of * without a comparison
# control: > 0 units above an allowance of 1600 in round * when the store reads and then writes
# control: > 0 dropped requests left a half with a handler that creates a key in two steps
#
# The planted faults are a store that counts first and adds later, a store that does not compare versions, a store
# of limits that reads first and writes later, and a handler that creates a key in two steps.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
postgres || not_here "no PostgreSQL"

if [ "$MODE" = full ]; then export KEYWAY_LONG=1; fi
run() { tested "${whole[@]}" --test "$1" -- --include-ignored --nocapture --test-threads=1 "${@:2}"; }
run processes quota:: edits:: allowances::
run console dropped::
