#!/usr/bin/env bash
# Measures the claims of the assurance table. Each row has a planted fault, which shows that its check can
# fail.
#
#   tests/assurance.sh [quick|full] [row ...]
#
# `quick` (the default) takes minutes and only judges. `full` takes hours, stores the results in
# tests/assurance/figures, and writes the table of src/guide/assurance.md from them. Rows are given by number.
#
# `tests/assurance.sh page` writes the table again without measuring. After a change of the sources the table
# shows which rows were measured before the change.
#
# A row is a script in tests/assurance/rows. It finds MODE in its environment, and prints its results in lines
# of three kinds, which this script judges:
#
#   figure VALUE OPERATOR TARGET NAME       what is claimed: the operator is =, <, <=, > or >=
#   control VALUE OPERATOR TARGET NAME      the same check where a fault was planted
#   measured VALUE NAME                     published, without a target; a unit is joined to the value
#
# The head of the script declares the lines that it must print, so that a row without one of its figures
# cannot be met:
#
#   # figure: OPERATOR TARGET NAME          `*` stands for a number above 0, and `?` for any number
#   # control: OPERATOR TARGET NAME         `# full figure:` and `# quick control:` are declared for one mode
#   # depends: PATH...                      what the figures depend on, as `git ls-files` takes it
#
# A row fails if it exits with a status other than 0, misses a target, does not print a declared line exactly
# once, or prints a line that is not declared. Status 77 means that it cannot run on this machine. Quick runs
# omit a script with `# only: full` at its head, unless it is named.
#
# The results contain a fingerprint of the sources that the row depends on, with Cargo.toml, Cargo.lock and
# the script itself: see tests/assurance/fingerprint.sh. After a change of these the table calls the row
# **stale**.
set -euo pipefail
cd "$(dirname "$0")/.."

# As in tests/all.sh, which shares its build with this script.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=line-tables-only CARGO_PROFILE_BENCH_DEBUG=none

page=src/guide/assurance.md
kept=tests/assurance/figures

# Prints the judge's input for a row and its results: see tests/assurance/judge.awk.
block() {
    echo "begin $((10#$(basename "$1" | cut -c -2)))"
    grep -E '^# (claim|((full|quick) )?(figure|control)): ' "$1" || true
    echo "now: $(tests/assurance/fingerprint.sh "$1")"
    if [ -f "$2" ]; then cat "$2"; fi
}

# Prints the page with a new table in place of the present one.
written_page() {
    local row
    awk '/^<!-- table -->/ { print; exit } { print }' "$page"
    for row in tests/assurance/rows/*.sh; do block "$row" "$kept/$(basename "$row" .sh)"; done |
        awk -f tests/assurance/judge.awk -v output=table
    awk '/^<!-- end of table -->/ { rest = 1 } rest { print }' "$page"
}

MODE=quick
case ${1:-} in
    quick | full) MODE=$1 && shift ;;
    page)
        mkdir -p target/assurance
        written_page >target/assurance/page.md && cp target/assurance/page.md "$page"
        exit
        ;;
esac
export MODE

named=$#
rows=()
for row in ${@:-tests/assurance/rows/*.sh}; do
    case $row in
        *.sh) rows+=("$row") ;;
        *) rows+=("$(ls tests/assurance/rows/"$(printf %02d "$row")"-*.sh)") ;;
    esac
done

results=target/assurance/$MODE
mkdir -p "$results" "$kept"
missed=() absent=()
for row in "${rows[@]}"; do
    name=$(basename "$row" .sh)
    log=$results/$name.log
    if [ "$MODE" = quick ] && [ "$named" = 0 ] && grep -q '^# only: full$' "$row"; then
        printf '\n-- %s: in full runs only\n' "$name"
        continue
    fi
    printf '\n-- %s (after %d s)\n' "$name" "$SECONDS"
    started=$SECONDS
    status=0
    sources=$(tests/assurance/fingerprint.sh "$row")
    bash "$row" 2>&1 | tee "$log" || status=$?
    {
        echo "row: $((10#${name%%-*}))"
        echo "mode: $MODE"
        echo "sources: $sources"
        echo "date: $(date -u +%F)"
        echo "commit: $(git rev-parse --short HEAD)$(git diff --quiet HEAD -- . ":!$page" ":!$kept" || echo ', changed')"
        echo "compiler: $(rustc --version | cut -d' ' -f2)$(sed -n 's/^# with: /, /p' "$row")"
        echo "processor: $(sed -n '/^model name/{s/^.*: //p;q}' /proc/cpuinfo)"
        echo "seconds: $((SECONDS - started))"
        echo "status: $status"
        grep -aE '^(figure|control|measured) ' "$log" || true
    } >"$results/$name"
    if [ $status = 77 ]; then
        absent+=("$name")
        continue
    fi
    block "$row" "$results/$name" | awk -f tests/assurance/judge.awk -v output=verdict || missed+=("$name")
    if [ "$MODE" = full ]; then
        cp "$results/$name" "$kept/"
        written_page >"$results/page.md" && cp "$results/page.md" "$page"
    fi
done

printf '\n%d rows in %d s\n' "${#rows[@]}" "$SECONDS"
if [ "$MODE" = quick ] && ! written_page | cmp -s - "$page"; then
    echo "$page is not what tests/assurance/figures and the sources make of it: run tests/assurance.sh page"
    exit 1
fi
if [ ${#absent[@]} -gt 0 ]; then printf 'not run: %s\n' "${absent[@]}"; fi
if [ ${#missed[@]} -gt 0 ]; then
    printf 'not met: %s\n' "${missed[@]}"
    exit 1
fi
[ ${#absent[@]} = 0 ] || exit 77
