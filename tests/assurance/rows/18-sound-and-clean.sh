#!/usr/bin/env bash
# claim: no unsafe line; nothing undefined found in chosen tests by an interpreter and a sanitizer; the cache's fence holds in every interleaving explored; features, versions, licences and the public interface are those that were meant
# with: nightly (Miri, AddressSanitizer, lists of the interface)
#
# Its parts stand in tests/assurance/clean, each a script that can be run for itself. What takes seconds is
# run with every change, and needs nothing that is not there already.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh

parts=(unsafe interleavings)
if [ "${MODE:-quick}" = full ]; then
    parts+=(licences overflow sanitizer miri features minimal interface)
elif has cargo-deny; then
    parts+=(licences)
fi
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
