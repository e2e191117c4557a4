#!/usr/bin/env bash
# claim: no unsafe line; nothing undefined found in chosen tests by an interpreter and a sanitizer; the cache's fence holds in every interleaving explored; features, versions, licences and the public interface are those that were meant; no dependency has a known advisory, by a database that is at most 90 days old
# with: nightly (Miri, AddressSanitizer, lists of the interface)
# depends: src tests/allocations.rs tests/core tests/sqlite tests/support tests/vectors tests/assurance/clean
# full figure: = 0 advisories, of those that were known on *
# figure: = 0 times `unsafe` in the sources
# figure: = 1 lint that forbids it
# figure: = 0 models of 2 threads at the cache's fence that serve what is out of date, in * interleavings (loom)
# figure: = 0 models of 3 threads at the cache's fence that serve what is out of date, in * interleavings with at most * preemptions (loom)
# figure: = 0 models of 2 threads that serve what is out of date, in all * orders (shuttle)
# figure: = 0 models of 6 threads that serve what is out of date, in * random schedules (shuttle)
# figure: = 0 models of 2 threads that serve by a proof what is out of date, in * interleavings (loom)
# figure: = 0 models of 2 threads that serve by a proof what is out of date, in all * orders (shuttle)
# figure: = 0 licences, duplicates, bans or sources that are not allowed, in * crates
# full figure: <= 90 days since the newest of these advisories
# full figure: = 0 of * tests fail in a release with overflow checks
# full figure: = 0 reports or failures of AddressSanitizer in * tests of core and SQLite store
# full figure: = 0 undefined or failed of * tests of core, cache and verifier interpreted for x86_64
# full figure: = 0 undefined or failed of * tests of core, cache and verifier interpreted for s390x
# full figure: = * tests passed in the order of bytes of s390x as in that of x86_64
# full figure: = 0 of * sets of features do not compile, or with warnings
# full figure: = 0 failures to compile all features with the oldest version of each of * dependencies
# full figure: = 0 failures of * tests of core and SQLite store with them
# full figure: = 0 lines in which the public interface is not the one that is listed, in * lines
# full figure: = 0 other crates in the * lines of the core, whose users would follow their versions
# full figure: = 0 rules broken where nothing changed
# full control: > 0 found once a crate with one is depended on
# control: > 0 times `unsafe` in the planted faults
# control: > 0 refused by the compiler there, under that lint
# control: = 10 faults planted at the fence found, 3 of them in the order of memory alone (loom)
# control: = 7 faults planted at the fence found, in every order and in random ones (shuttle)
# control: = 6 faults planted at proofs found, 1 of them in the order of memory alone (loom)
# control: = 5 faults planted at proofs found in every order (shuttle)
# control: > 0 found once a licence is off the list
# control: > 0 found once a dependency is banned
# control: > 0 found once a duplicate is not excused
# control: > 0 found once no registry is allowed
# full control: > 0 planted overflow is noticed
# full control: >= 2 planted accesses behind the end of a heap allocation reported
# full control: = 4 planted reads behind an end and races reported, on both
# full control: = 1 planted encoding that fails on s390x, and passes on x86_64
# full control: = 1 of * sets does not compile: a planted pair, of features that do alone
# full control: = 1 bound that is planted too low is noticed
# full control: = 1 line once a function is planted
# full control: = 1 crate in it
# full control: > 0 rules broken once a function is gone
#
# The parts are in tests/assurance/clean. Each is a script that can also be run alone. The parts that take
# seconds run with every change.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh

parts=(unsafe interleavings licences)
if [ "${MODE:-quick}" = full ]; then parts+=(overflow sanitizer miri features minimal interface); fi
failed=() absent=()
for part in "${parts[@]}"; do
    echo "-- $part (after $SECONDS s)"
    status=0
    tests/assurance/clean/"$part".sh || status=$?
    case $status in
        0) ;;
        77) absent+=("$part") ;;
        *) failed+=("$part") ;;
    esac
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}"
    exit 1
fi
[ ${#absent[@]} = 0 ] || not_here "${absent[*]}"
