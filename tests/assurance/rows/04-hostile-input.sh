#!/usr/bin/env bash
# claim: no input makes the library crash, hang, use up memory or break the law that its fuzz target states
# with: nightly
# depends: src :!src/console* :!src/store/postgres* :!src/store/sqlite* :!src/store/sql* :!src/store/conformance* :!src/cache/fence_tests* fuzz
# figure: = 0 crashes, hangs and exhaustions
# full figure: >= 1000000000 executions of 9 targets
# quick figure: > 0 executions of 9 targets
# control: = 9 planted faults found, which the committed corpus does not show
#
# A finding is a crash, an input that takes 10 s, or one that allocates 32 MB at once or 512 MB in all. The
# laws are in fuzz/laws.rs. tests/core/corpus.rs replays the committed corpus with stable Rust. Sanitizers are off:
# they would find nothing more in safe code and would make it slower. Row 18 has a run with one.
#
# As a control, every target also runs with a planted fault that the committed corpus does not show.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh

nightly || not_here "no nightly toolchain"
cargo_tool cargo-fuzz || not_here "no cargo-fuzz"

# How often each target is executed. Fast targets run most often.
executions() {
    cat <<EOF
token 560000000
record 150000000
authorization 120000000
import_digest 60000000
scope_text 50000000
policy 30000000
request 30000000
child 20000000
caveats 2000000
EOF
}

host=$(rustc -vV | sed -n 's/^host: //p')
programs=fuzz/target/$host/release
results=target/assurance_fuzz
cargo +nightly fuzz build -s none 2>"$PWD/target/assurance_fuzz.log" || {
    cat target/assurance_fuzz.log
    exit 1
}
rm -rf "$results"
mkdir -p "$results/findings"

# Runs a target from its committed corpus. New inputs go to another directory.
fuzz() {
    local target=$1 name=$2 found=$3
    shift 3
    mkdir -p "$found"
    "$programs/$target" "$found" "fuzz/corpus/$target" -timeout=10 -rss_limit_mb=512 \
        -malloc_limit_mb=32 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$results/findings/$name-" "$@" >"$results/$name.log" 2>&1
}
planted() {
    export KEYWAY_PLANTED=yes
    fuzz "$1" "planted-$1" "$results/corpus-$1" -runs=0 || return 0
    if ! fuzz "$1" "planted-$1" "$results/corpus-$1" -runs=3000000 -max_total_time=600; then
        echo "$1" >>"$results/planted-and-found"
    fi
}
campaign() {
    fuzz "$1" "$1-$2" "target/fuzz-corpus/$1" "$3" -max_total_time="$4" || true
}
export -f fuzz planted campaign
export programs results

targets=$(executions | cut -d' ' -f1)
executions | while read -r target many; do
    if [ "$MODE" = full ]; then
        # In halves, so that two cores are busy until the end.
        for half in 1 2; do echo "$target $half -runs=$((many / 2)) 1200"; done
    else
        echo "$target 1 -runs=-1 ${FUZZ_SECONDS:-4}"
    fi
done | xargs -P 2 -L 1 bash -c 'campaign "$@"' campaign
xargs -P 2 -n 1 bash -c 'planted "$@"' planted <<<"$targets"

statistic() { sed -n "s/^stat::$1: *//p" "${@:2}"; }
sum=0
for target in $targets; do
    logs=("$results/$target"-[12].log)
    of_target=$(statistic number_of_executed_units "${logs[@]}" | awk '{ sum += $1 } END { print sum + 0 }')
    echo "$target: $of_target executions, at most $(statistic peak_rss_mb "${logs[@]}" | sort -n | tail -1) MB"
    sum=$((sum + of_target))
done
count() { find "$results/findings" -name "$1" | wc -l; }
found=$(($(count '*') - $(count 'planted-*') - 1))
[ "$found" = 0 ] || ls -l "$results/findings"
echo "figure $found = 0 crashes, hangs and exhaustions"
if [ "$MODE" = full ]; then
    echo "figure $sum >= 1000000000 executions of $(wc -w <<<"$targets") targets"
else
    echo "figure $sum > 0 executions of $(wc -w <<<"$targets") targets"
fi
noticed=$(sort -u "$results/planted-and-found" 2>/dev/null | wc -l)
echo "control $noticed = $(wc -w <<<"$targets") planted faults found, which the committed corpus does not show"
slowest=$(for target in $targets; do
    statistic number_of_executed_units "$results/planted-$target.log"
done | sort -n | tail -1)
echo "measured $slowest executions until the last of them was found"
