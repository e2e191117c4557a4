#!/usr/bin/env bash
# claim: whatever the clocks do, nothing is accepted that has ended 0.15 s ago by the node's own time of day, or was revoked for longer than the staleness bound, and without randomness no key is made
# depends: src :!src/console* :!src/store/postgres* :!src/store/sqlite* :!src/store/sql* :!src/store/conformance* :!src/cache/fence_tests* tests/assurance/edges
# figure: = 0 of * answers after jumps otherwise than the node's own clock says
# figure: = 0 keys accepted more than 300 s after their end by nodes 300 s off
# figure: = 0 revoked keys accepted past the staleness bound of 30 s
# figure: = 0 keys beyond the quota of a tenant
# figure: = 0 requests beyond the rate of a key
# figure: = 0 panics, at both ends of time too
# figure: = 28 jumps of a process's time of day noticed within 0.15 s
# figure: = 0 of 196 answers of that process accept what has ended by its time
# figure: = 0 of them refuse what has not
# figure: = 0 keys made of 300 where getrandom and its substitute fail or give nothing
# figure: = 150 keys made of 150 where it is interrupted or missing
# figure: = 0 weak or repeated ones among * keys, of processes with and without such faults
# figure: = 0 panics in 12 processes without randomness
# control: > 0 revoked keys accepted where ages are measured by the time of day
# control: > 0 requests beyond the rate where they are counted by the time of day
# control: > 0 answers otherwise where a clock is not set back when it is told to
# control: > 0 keys accepted after their end where a clock stands still
# control: > 0 accept what has ended, by a clock that stands still
# control: > 0 calls of getrandom made to fail
# control: > 0 repeated ones among * keys of two processes with a source that repeats itself
#
# tests/assurance/edges/src/bin/clocks.rs sets the clocks of nodes in one process. Separate processes run with
# libfaketime. It also sets the coarse clocks of the kernel, since keyway reads them through libc. strace
# makes getrandom fail, or report bytes that it has not written.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh

debian strace || not_here "no strace"
debian faketime || not_here "no libfaketime"
library=$(find /usr/lib -name libfaketime.so.1 -print -quit)
[ -n "$library" ] || not_here "no libfaketime"

case $MODE in
    full) rounds=20000 keys=20000 ;;
    *) rounds=200 keys=2000 ;;
esac

CARGO_TARGET_DIR=target/assurance_edges \
    cargo build --quiet --release --locked --manifest-path tests/assurance/edges/Cargo.toml
programs=target/assurance_edges/release
"$programs/clocks" "$rounds"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# The uptime does not change, as on a real machine.
echo +0 >"$scratch/time"
FAKETIME_TIMESTAMP_FILE=$scratch/time FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 \
    LD_PRELOAD=$library "$programs/machine" clock "$scratch/time"

panics=0 injected=0
# Counts how many of 50 keys can be issued while strace does this to the process.
minted=0
mint() {
    local status=0 before
    before=$(cat "$scratch"/tokens* 2>/dev/null | wc -l)
    strace -f -qq -o "$scratch/trace" -e trace=getrandom,openat "$@" \
        "$programs/machine" mint 50 >>"$scratch/tokens" 2>"$scratch/errors" || status=$?
    minted=$(($(wc -l <"$scratch/tokens") - before))
    injected=$((injected + $(grep -c INJECTED "$scratch/trace" || true)))
    # The process must exit normally, whatever was refused.
    if [ $status != 0 ]; then
        panics=$((panics + 1))
        cat "$scratch/errors"
    fi
    echo "$minted of 50 keys with $*: $(sort -u "$scratch/errors" | head -1)"
}
touch "$scratch/tokens"

# If all calls fail, no key is made.
from_nothing=0
for fault in error=EIO error=EAGAIN error=EFAULT retval=0 retval=48; do
    mint -e inject=getrandom:$fault
    from_nothing=$((from_nothing + minted))
done
# Without the system call a device is read, unless it cannot be opened.
mint -e inject=getrandom:error=ENOSYS
from_device=$minted
opened=$(grep openat "$scratch/trace" | grep -n urandom | head -1 | cut -d: -f1)
mint -e inject=getrandom:error=ENOSYS -e "inject=openat:error=EMFILE:when=$opened+"
from_nothing=$((from_nothing + minted))
mint -e inject=getrandom:error=EPERM
from_device=$((from_device + minted))
mint -e inject=getrandom:error=EINTR:when=1..60
from_device=$((from_device + minted))
# If some calls fail, the others make keys.
mint -e inject=getrandom:error=EIO:when=20+
mint -e inject=getrandom:error=EIO:when=1+3
mint -e inject=getrandom:retval=48:when=5+2
for _ in 1 2 3 4; do "$programs/machine" mint "$keys" >>"$scratch/tokens"; done
read -r weak tokens < <("$programs/machine" check <"$scratch/tokens")

echo "figure $from_nothing = 0 keys made of 300 where getrandom and its substitute fail or give nothing"
echo "figure $from_device = 150 keys made of 150 where it is interrupted or missing"
echo "figure $weak = 0 weak or repeated ones among $tokens keys, of processes with and without such faults"
echo "figure $panics = 0 panics in 12 processes without randomness"
echo "control $injected > 0 calls of getrandom made to fail"
for _ in 1 2; do "$programs/machine" mint 50 7; done >"$scratch/repeated"
read -r weak tokens < <("$programs/machine" check <"$scratch/repeated")
echo "control $weak > 0 repeated ones among $tokens keys of two processes with a source that repeats itself"
