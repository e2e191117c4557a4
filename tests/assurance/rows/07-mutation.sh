#!/usr/bin/env bash
# claim: of the mistakes that can be planted in what decides, the tests notice 95 in 100, and the others are explained one by one
# with: cargo-mutants 27
# only: full
#
# cargo-mutants plants one mistake after the other: a function answers a constant, a comparison is turned
# round, a condition is dropped. Whatever compiles has to fail a test, or has to stand in
# tests/assurance/mutants/survivors.md with the reason why no test can notice it. What hangs is noticed.
#
# A mistake meets the tests of its own module first, all others only if it gets past them, and those that
# take half a minute last. That takes a third of the time, and notices the same.
#
# It takes more than an hour. With AGAIN=yes, what was noticed before, or got past the tests and is explained,
# is not tried again where the source is what it was: for a run that was interrupted, and for one that only
# has new tests to try.
#
#   MODE=full [AGAIN=yes] tests/assurance/rows/07-mutation.sh [module ...]
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
cargo_tool cargo-mutants || not_here "no cargo-mutants"

MODE=${MODE:-quick}
home=tests/assurance/mutants
work=$PWD/target/mutants/$MODE
# One worker for each processor, with a tree and a target directory of its own.
workers=${WORKERS:-$(nproc)}
[ "$MODE" = full ] || workers=1
export CARGO_INCREMENTAL=1
# What cargo-mutants is told as well, whoever calls it.
unset CARGO_PROFILE_DEV_DEBUG

declare -A features=(
    [core]="--profile mutants --no-default-features --features std,serde"
    [http]="--profile mutants --features actix,axum,leak-reports,metrics,openapi,rate-limit,tracing"
)
declare -A all_tests=(
    [core]="--lib --test core"
    [http]="--lib --test http --test routes --test openapi --test leaks --test own_key --test observe --test rate --test actix --test actix_endpoints"
)
# Of these, what takes long comes last.
declare -A long=(
    [core]=""
    [http]="-- --skip leaks::no_secret_is --skip identity:: --skip every_server --skip well_formed"
)
# A few mistakes, with all features, for which nothing but the library itself has to be built anew.
sample='Seals::(seal_key|seal_tenant|check_key|check_tenant|check) '
# Fewer still, for the control.
few='Seals::check_'
if [ "$MODE" = quick ]; then
    features[core]="--all-features"
    export CARGO_TARGET_DIR=$PWD/target CARGO_PROFILE_DEV_DEBUG=line-tables-only
fi

# Copies the tree for each worker. What is copied is new, so that nothing of an interrupted run is
# taken for built.
copy_trees() {
    local worker
    for worker in $(seq "$workers"); do
        rm -rf "$work/$worker/tree" "$work/$worker/out"
        mkdir -p "$work/$worker/tree" "$work/$worker/out"
        git ls-files -z -co --exclude-standard |
            tar --null --ignore-failed-read -T - -c 2>/dev/null | tar -xm -C "$work/$worker/tree"
    done
}

# mutate NAME FEATURES TESTS ARGUMENT...: all workers together, with what they find under out/NAME.
mutate() {
    local name=$1 set=$2 tests=${3%% -- *} worker status argument arguments=() skip=() pids=() failed=
    # What is behind ` -- ` is for the tests themselves.
    [ "$tests" = "$3" ] || mapfile -d ' ' -t skip < <(printf '%s' "-- -- ${3#* -- }")
    # To every call of cargo, so that nothing else is built either.
    for argument in ${tests//--test /--test=}; do arguments+=("--cargo-arg=$argument"); done
    shift 3
    for worker in $(seq "$workers"); do
        mkdir -p "$work/$worker/out/$name"
        # shellcheck disable=SC2086  # lists of arguments
        CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$work/$worker/target} cargo mutants \
            --dir "$work/$worker/tree" --in-place --output "$work/$worker/out/$name" \
            --config "$PWD/$home/mutants.toml" --package keyway --colors never --no-times \
            --shard "$((worker - 1))/$workers" --sharding round-robin \
            --minimum-test-timeout "${TEST_TIMEOUT:-60}" ${features[$set]} "${arguments[@]}" "$@" "${skip[@]}" \
            </dev/null >"$work/$worker/out/$name/log" 2>&1 &
        pids+=($!)
    done
    for worker in "${pids[@]}"; do
        status=0
        wait "$worker" || status=$?
        # 2: some got past the tests. 3: some hang.
        case $status in 0 | 2 | 3) ;; *) failed=$status ;; esac
    done
    if [ -n "$failed" ]; then
        tail -n 30 "$work"/*/out/"$name"/log | cut -c -300
        echo "cargo-mutants ended with $failed" && exit 1
    fi
}

# The mistakes of a kind in what was found under a name.
found() { cat "$work"/*/out/"$1"/mutants.out/"$2".txt 2>/dev/null || true; }

# The share of the mistakes that compile and are noticed, in percent, and what it is made of.
score() {
    local noticed=$1 missed=$2
    awk -v n="$noticed" -v m="$missed" 'BEGIN { printf "%.2f", n + m ? int(10000 * n / (n + m)) / 100 : 0 }'
}

rows() { sed 's/ *| */|/g' "$home/modules" | grep -v '^#' | grep -E "^(${1:-.*})\\|"; }

globs() {
    local file
    for file in $1; do printf -- '--file\n%s\n' "$file"; done
}

# settle RUN: what it found is not tried again by the next one.
settle() {
    { found "$1" caught && found "$1" timeout; } >>"$work/noticed"
    found "$1" unviable >>"$work/unviable"
    { cat "$work/explained" && found "$1" missed; } >"$work/missed"
}

# With `--iterate`, what stands in the results of the last run is left out.
pretend_last_run() {
    local worker
    for worker in $(seq "$workers"); do
        mkdir -p "$work/$worker/out/$1/mutants.out"
        cat "$work/noticed" "$work/explained" >"$work/$worker/out/$1/mutants.out/caught.txt"
        cp "$work/unviable" "$work/$worker/out/$1/mutants.out/unviable.txt"
    done
}

# A line for each file: a hash of what is above its tests.
sources() {
    local file
    git ls-files src | while read -r file; do
        echo "$(sed '/^mod tests {$/,$d' "$file" | git hash-object --stdin) $file"
    done
}

# Leaves out what was settled of files that are not what they were.
forget_changed_sources() {
    local list
    grep -Fxf "$work/sources" "$work/sources.now" | cut -d' ' -f2 >"$work/same"
    for list in noticed unviable missed; do
        awk -F: 'NR == FNR { same[$0]; next } $1 in same' "$work/same" "$work/$list" >"$work/$list.same"
        mv "$work/$list.same" "$work/$list"
    done
}

copy_trees
sources >"$work/sources.now"
if [ "$MODE-${AGAIN:-}" = full-yes ] && [ -e "$work/sources" ]; then
    forget_changed_sources
else
    for list in noticed unviable missed; do : >"$work/$list"; done
fi
awk -f "$home/survivors.awk" list=1 file=1 "$home/survivors.md" file=2 "$work/missed" >"$work/explained"
mv "$work/sources.now" "$work/sources"
before=$(cat "$work/noticed" "$work/explained" | wc -l)
chosen=$(IFS='|' && echo "$*")
if [ "$MODE" = quick ]; then
    mutate seal core "--test records" --file src/seal.rs --re "$sample"
    settle seal
else
    files=()
    for set in core http; do
        [ "$(rows "$chosen" | grep -c "|$set|")" -gt 0 ] || continue
        number=0
        while IFS='|' read -r module its_set paths tests; do
            number=$((number + 1))
            mapfile -t some < <(set -f && globs "$paths")
            files+=("${some[@]}")
            pretend_last_run "near-$set-$number"
            mutate "near-$set-$number" "$set" "$tests ${long[$set]}" "${some[@]}" --iterate
            settle "near-$set-$number"
            echo "$module ($paths): $(wc -l <"$work/missed") get past their own tests, after $SECONDS s"
        done < <(rows "$chosen" | grep "|$set|")
        # What the core's own tests miss may be there for HTTP alone, and meets the tests of that as well.
        for run in most all; do
            tests=${all_tests[$set]}
            if [ "$run" = most ]; then
                [ -n "${long[$set]}" ] || continue
                tests="$tests ${long[$set]}"
            fi
            pretend_last_run "$run-$set"
            mutate "$run-$set" "$set" "$tests" "${files[@]}" --iterate
            settle "$run-$set"
        done
        echo "$set: $(wc -l <"$work/missed") get past all tests, after $SECONDS s"
    done
fi

for module in $(rows "$chosen" | cut -d'|' -f1 | uniq); do
    noticed=$(grep -cE "^src/$module[./]" "$work/noticed" || true)
    missed=$(grep -cE "^src/$module[./]" "$work/missed" || true)
    [ $((noticed + missed)) = 0 ] ||
        echo "measured $(score "$noticed" "$missed")% of $((noticed + missed)) mistakes in $module noticed"
done
noticed=$(wc -l <"$work/noticed")
missed=$(wc -l <"$work/missed")
echo "measured $(wc -l <"$work/unviable") mistakes that do not compile, and are not counted"
if [ "$MODE" = full ]; then
    listed() { cargo mutants --list --package keyway --colors never "$@" "${files[@]}" | wc -l; }
    rules=$(($(listed --no-config) - $(listed --config "$home/mutants.toml")))
    echo "measured $rules mistakes left out by rule: texts for debugging, helpers of tests"
    [ "$before" = 0 ] || echo "measured $before of the mistakes were tried in a run before this one, of the same source"
fi
echo "figure $(score "$noticed" "$missed") >= 95 percent of $((noticed + missed)) planted mistakes noticed"
awk -f "$home/survivors.awk" file=1 "$home/survivors.md" file=2 "$work/missed" file=3 "$work/noticed"

# Some of the same mistakes, where only the tests of something else are run.
mutate control core "--test time" --file src/seal.rs --re "$few"
noticed=$(found control caught | wc -l)
missed=$(found control missed | wc -l)
[ $((noticed + missed)) -gt 0 ]
echo "control $(score "$noticed" "$missed") < 50 percent of $((noticed + missed)) mistakes in seal noticed where its tests are left out"
