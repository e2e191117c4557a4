#!/usr/bin/env bash
# claim: whatever the clocks do, nothing is accepted that has ended by the node's own time of day, or was revoked for longer than the staleness bound, and without randomness no key is made
#
# tests/assurance/edges/src/bin/clocks.rs sets the clocks of nodes in one process; processes of their own
# are run with libfaketime, which the coarse clocks of the kernel follow, since they are read through libc.
# strace lets getrandom fail, or claim to have filled what it has not.
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
# The uptime is not to follow: on no machine does it.
echo +0 >"$scratch/time"
FAKETIME_TIMESTAMP_FILE=$scratch/time FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 \
    LD_PRELOAD=$library "$programs/machine" clock "$scratch/time"

panics=0 injected=0
# The number of keys that could be made of 50, while strace does this to the process.
minted=0
mint() {
    local status=0 before
    before=$(cat "$scratch"/tokens* 2>/dev/null | wc -l)
    strace -f -qq -o "$scratch/trace" -e trace=getrandom,openat "$@" \
        "$programs/machine" mint 50 >>"$scratch/tokens" 2>"$scratch/errors" || status=$?
    minted=$(($(wc -l <"$scratch/tokens") - before))
    injected=$((injected + $(grep -c INJECTED "$scratch/trace" || true)))
    # It ends well, whatever was refused.
    if [ $status != 0 ]; then
        panics=$((panics + 1))
        cat "$scratch/errors"
    fi
    echo "$minted of 50 keys with $*: $(sort -u "$scratch/errors" | head -1)"
}
touch "$scratch/tokens"

# What fails altogether makes none.
from_nothing=0
for fault in error=EIO error=EAGAIN error=EFAULT retval=0 retval=48; do
    mint -e inject=getrandom:$fault
    from_nothing=$((from_nothing + minted))
done
# Without the system call there is a device, unless it cannot be opened.
mint -e inject=getrandom:error=ENOSYS
from_device=$minted
opened=$(grep openat "$scratch/trace" | grep -n urandom | head -1 | cut -d: -f1)
mint -e inject=getrandom:error=ENOSYS -e "inject=openat:error=EMFILE:when=$opened+"
from_nothing=$((from_nothing + minted))
mint -e inject=getrandom:error=EPERM
from_device=$((from_device + minted))
mint -e inject=getrandom:error=EINTR:when=1..60
from_device=$((from_device + minted))
# What fails at times makes keys at other times.
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
