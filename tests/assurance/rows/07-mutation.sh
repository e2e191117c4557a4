#!/usr/bin/env bash
# claim: of the mistakes that a tool plants in decision, verifier, pepper, tier, seal, record, cache, scope, token, children and http, the tests notice 95 in 100, and the others are explained one by one; each of the mistakes of meaning that are kept, in all modules, fails the test that is named for it
# with: cargo-mutants 27
# depends: src tests/core tests/guards tests/http tests/observe tests/support tests/vectors tests/assurance/mutants tests/assurance/mistakes tests/assurance/mistakes.sh
# full figure: >= 95 percent of * planted mistakes noticed
# full figure: = 0 survivors without an explanation, of ?
# full control: < 50 percent of * mistakes in seal noticed where its tests are left out
# figure: = * planted mistakes of meaning noticed
# control: = * patches found out that are no mistakes, or cannot be tried
#
# Mistakes of meaning are patches, each with the test that must fail: see tests/assurance/mistakes.sh. Quick
# runs try a few of them, and full runs try all.
#
# cargo-mutants plants one mistake after another: a function returns a constant, a comparison is reversed, a
# condition is dropped. Each mistake that compiles must fail a test, or be in
# tests/assurance/mutants/survivors.md with the reason why no test can notice it. A mistake that hangs counts
# as noticed.
#
# A mistake meets the tests of its own module first. Only survivors meet all other tests, and tests that take
# half a minute come last. This takes a third of the time and gives the same result.
#
# A full run takes more than an hour. With AGAIN=yes it does not repeat mistakes that were noticed, or that
# survived and are explained, if their source has not changed. Use it after an interruption, or if only tests
# were added.
#
#   MODE=full [AGAIN=yes] tests/assurance/rows/07-mutation.sh [module ...]
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
# Some mistakes of meaning are noticed by tests on it.
postgres || not_here "no PostgreSQL"

if [ "${MODE:-quick}" = quick ]; then LIMIT_SECONDS=120 exec tests/assurance/mistakes.sh; fi
cargo_tool cargo-mutants || not_here "no cargo-mutants"
status=0
# Single modules are for the mistakes of cargo-mutants.
[ $# -gt 0 ] || tests/assurance/mistakes.sh || status=$?

home=tests/assurance/mutants
work=$PWD/target/mutants/full
# One worker for each processor, with its own tree and target directory.
workers=${WORKERS:-$(nproc)}
export CARGO_INCREMENTAL=1
# Removes a setting of tests/assurance.sh, so that the row builds the same when it is run alone.
unset CARGO_PROFILE_DEV_DEBUG

declare -A features=(
    [core]="--profile mutants --no-default-features --features std,serde,children"
    # The tests are in another package, which is built without databases and console.
    [http]="--profile mutants --test-package keyway --test-package keyway-tests --no-default-features --features keyway-tests/observe"
)
declare -A all_tests=(
    [core]="--lib --test core"
    [http]="--lib --test http --test guards --test observe"
)
# The tests that take long come last.
declare -A long=(
    [core]=""
    [http]="--skip leaks::no_secret_is --skip identity:: --skip every_server --skip well_formed"
)
# but_long SET TESTS: adds the options that leave out the tests that take long.
but_long() {
    case ${long[$1]}/$2 in
        /*) echo "$2" ;;
        *' -- '*) echo "$2 ${long[$1]}" ;;
        *) echo "$2 -- ${long[$1]}" ;;
    esac
}
# A few mistakes, for the control.
few='Seals::check_'

# Copies the tree for each worker. The copies have new timestamps. With the old ones, the remains of an
# interrupted run could pass as up to date.
copy_trees() {
    local worker
    for worker in $(seq "$workers"); do
        rm -rf "$work/$worker/tree" "$work/$worker/out"
        mkdir -p "$work/$worker/tree" "$work/$worker/out"
        git ls-files -z -co --exclude-standard |
            tar --null --ignore-failed-read -T - -c 2>/dev/null | tar -xm -C "$work/$worker/tree"
    done
}

# mutate NAME FEATURES TESTS ARGUMENT...: runs all workers. Their results are in out/NAME.
mutate() {
    local name=$1 set=$2 tests=${3%% -- *} worker status argument arguments=() skip=() pids=() failed=
    # The arguments after ` -- ` are for the tests themselves.
    [ "$tests" = "$3" ] || mapfile -d ' ' -t skip < <(printf '%s' "-- -- ${3#* -- }")
    # Passed to every call of cargo, so that it builds nothing else.
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
        # 2: some mistakes survived. 3: some hang.
        case $status in 0 | 2 | 3) ;; *) failed=$status ;; esac
    done
    if [ -n "$failed" ]; then
        tail -n 30 "$work"/*/out/"$name"/log | cut -c -300
        echo "cargo-mutants ended with $failed" && exit 1
    fi
}

# Prints the mistakes with this outcome, from the results of this name.
found() { cat "$work"/*/out/"$1"/mutants.out/"$2".txt 2>/dev/null || true; }

# Prints the percentage of the mistakes that compile and are noticed.
score() {
    local noticed=$1 missed=$2
    awk -v n="$noticed" -v m="$missed" 'BEGIN { printf "%.2f", n + m ? int(10000 * n / (n + m)) / 100 : 0 }'
}

rows() { sed 's/ *| */|/g' "$home/modules" | grep -v '^#' | grep -E "^(${1:-.*})\\|"; }

globs() {
    local file
    for file in $1; do printf -- '--file\n%s\n' "$file"; done
}

# settle RUN: records the outcomes of this run, so that the next one does not repeat them.
settle() {
    { found "$1" caught && found "$1" timeout; } >>"$work/noticed"
    found "$1" unviable >>"$work/unviable"
    { cat "$work/explained" && found "$1" missed; } >"$work/missed"
}

# With `--iterate`, cargo-mutants leaves out the mistakes in the results of the last run.
pretend_last_run() {
    local worker
    for worker in $(seq "$workers"); do
        mkdir -p "$work/$worker/out/$1/mutants.out"
        cat "$work/noticed" "$work/explained" >"$work/$worker/out/$1/mutants.out/caught.txt"
        cp "$work/unviable" "$work/$worker/out/$1/mutants.out/unviable.txt"
    done
}

# Prints a line for each file: a hash of the code above its tests.
sources() {
    local file
    git ls-files src | while read -r file; do
        echo "$(sed '/^mod tests {$/,$d' "$file" | git hash-object --stdin) $file"
    done
}

# Drops the recorded outcomes of files that have changed.
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
if [ "${AGAIN:-}" = yes ] && [ -e "$work/sources" ]; then
    forget_changed_sources
else
    for list in noticed unviable missed; do : >"$work/$list"; done
fi
awk -f "$home/survivors.awk" list=1 file=1 "$home/survivors.md" file=2 "$work/missed" >"$work/explained"
mv "$work/sources.now" "$work/sources"
before=$(cat "$work/noticed" "$work/explained" | wc -l)
chosen=$(IFS='|' && echo "$*")
files=()
for set in core http; do
    [ "$(rows "$chosen" | grep -c "|$set|")" -gt 0 ] || continue
    number=0
    while IFS='|' read -r module its_set paths tests; do
        number=$((number + 1))
        mapfile -t some < <(set -f && globs "$paths")
        files+=("${some[@]}")
        pretend_last_run "near-$set-$number"
        mutate "near-$set-$number" "$set" "$(but_long "$set" "$tests")" "${some[@]}" --iterate
        settle "near-$set-$number"
        echo "$module ($paths): $(wc -l <"$work/missed") get past their own tests, after $SECONDS s"
    done < <(rows "$chosen" | grep "|$set|")
    # The survivors of the core may be code for HTTP only, and meet the tests of HTTP as well.
    for run in most all; do
        tests=${all_tests[$set]}
        if [ "$run" = most ]; then
            [ -n "${long[$set]}" ] || continue
            tests=$(but_long "$set" "$tests")
        fi
        pretend_last_run "$run-$set"
        mutate "$run-$set" "$set" "$tests" "${files[@]}" --iterate
        settle "$run-$set"
    done
    echo "$set: $(wc -l <"$work/missed") get past all tests, after $SECONDS s"
done

for module in $(rows "$chosen" | cut -d'|' -f1 | uniq); do
    noticed=$(grep -cE "^src/$module[./]" "$work/noticed" || true)
    missed=$(grep -cE "^src/$module[./]" "$work/missed" || true)
    [ $((noticed + missed)) = 0 ] ||
        echo "measured $(score "$noticed" "$missed")% of $((noticed + missed)) mistakes in $module noticed"
done
noticed=$(wc -l <"$work/noticed")
missed=$(wc -l <"$work/missed")
echo "measured $(wc -l <"$work/unviable") mistakes that do not compile, and are not counted"
listed() { cargo mutants --list --package keyway --colors never "$@" "${files[@]}" | wc -l; }
rules=$(($(listed --no-config) - $(listed --config "$home/mutants.toml")))
echo "measured $rules mistakes left out by rule: texts for debugging, helpers of tests"
[ "$before" = 0 ] || echo "measured $before of the mistakes were tried in a run before this one, of the same source"
echo "figure $(score "$noticed" "$missed") >= 95 percent of $((noticed + missed)) planted mistakes noticed"
awk -f "$home/survivors.awk" file=1 "$home/survivors.md" file=2 "$work/missed" file=3 "$work/noticed"

# Some of the same mistakes, with the tests of another module only.
mutate control core "--test core -- time::" --file src/seal.rs --re "$few"
noticed=$(found control caught | wc -l)
missed=$(found control missed | wc -l)
[ $((noticed + missed)) -gt 0 ]
echo "control $(score "$noticed" "$missed") < 50 percent of $((noticed + missed)) mistakes in seal noticed where its tests are left out"
exit $status
