#!/usr/bin/env bash
# claim: what is acknowledged outlasts kill -9 of any process and of the PostgreSQL server, and on SQLite a kill at any system call and a loss of power; a flush of usage counts once, also if its response was lost
# with: strace
# depends: src :!src/http* :!src/console* :!src/cache/fence_tests* tests/assurance/processes tests/support
# figure: = 0 tenants with something lost or undone of * acknowledged operations in * kills of processes on PostgreSQL
# figure: = 0 tenants with something lost or undone of * acknowledged operations in * kills of processes on SQLite
# figure: = 0 processes that could not open one of * new databases on PostgreSQL, 8 at once, ? of them killed meanwhile
# figure: = 0 processes that could not open one of * new databases on SQLite, 8 at once, ? of them killed meanwhile
# figure: = 0 disk images that lose or undo one of * acknowledged operations on SQLite
# figure: = 0 disk images with a damaged database
# full figure: >= 1000 different disk images of power cuts
# quick figure: >= 100 different disk images of power cuts
# figure: = 0 tenants with something lost or undone of * acknowledged operations in * kills of the PostgreSQL server
# full figure: >= 1000 kills of the PostgreSQL server and all its processes
# quick figure: >= 3 kills of the PostgreSQL server and all its processes
# figure: = 0 times that something acknowledged was lost or undone in * kills of a process with SQLite, each at another system call
# figure: = 0 databases damaged in kills at system calls
# full figure: >= 400 system calls at which the process was killed
# quick figure: >= 30 system calls at which the process was killed
# figure: = 0 keys with a wrong count of * counted requests in * kills of processes on PostgreSQL
# figure: = 0 keys with a wrong count of * counted requests in * kills of processes on SQLite
# figure: = 0 times that a count was wrong, of * requests, in * kills, each at another system call
# full figure: >= 150 system calls at which a counting process was killed
# quick figure: >= 12 system calls at which a counting process was killed
# figure: = 0 keys with a wrong count of * requests, with * flushes whose connection was cut
# figure: > 0 flushes that failed since their connection was cut
# figure: = 0 of * disk images have a wrong count of * requests
# control: > 0 of * disk images have a wrong count when it is written behind
# control: > 0 keys with a wrong count when the usage is written behind
# control: > 0 keys with a wrong count when a repeated flush has a new number
# control: > 0 losses in * operations when the store writes behind
# control: > 0 losses in * operations when events are written after their changes
# control: > 0 of * disk images lose something with `synchronous` at `NORMAL`
# control: > 0 losses in * operations at one kill of a server without `synchronous_commit`
# control: > 0 of * kills at system calls lose something when the store writes behind
#
# Each tenant is also checked to have the event of each change that was made, and no other. A power cut is
# replayed: writes that strace reports and that were not synced are left out of the file. Both changes and flushes of usage
# are cut off. The planted faults
# are a store that writes after it acknowledges, a server without synchronous commits, SQLite with
# `synchronous` at `NORMAL`, events that are written after their changes, and a node that gives a repeated
# flush a new number.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
postgres || not_here "no PostgreSQL"
debian strace || not_here "no strace"
strace -qq -o /dev/null true || not_here "strace may not trace processes here"

if [ "$MODE" = full ]; then export KEYWAY_LONG=1; fi
tested "${whole[@]}" --test processes -- --nocapture --test-threads=1 \
    kills:: syscalls:: power_cuts:: opening:: usage::
