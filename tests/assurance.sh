#!/usr/bin/env bash
# What is promised, what was measured, and the planted fault that shows that each check can fail.
#
#   tests/assurance.sh [quick|full] [row ...]
#
# `quick` (the default) takes minutes and only judges. `full` takes hours, keeps what it measured under
# tests/assurance/figures, and writes the table of src/guide/assurance.md from there. Rows are given by
# number.
#
# A row is a script in tests/assurance/rows. It finds MODE in its environment, and tells its results in
# lines that are judged here, whatever it thinks of them itself:
#
#   figure VALUE OPERATOR TARGET NAME       what is claimed: the operator is =, <, <=, > or >=
#   control VALUE OPERATOR TARGET NAME      the same check where a fault was planted
#   measured VALUE NAME                     published, without a target; a unit is joined to the value
#
# It fails if it ends with anything but 0, misses a target, or has no figure or no control. 77 says that
# it cannot be run on this machine. One that says `# only: full` at its head is left out of quick runs unless
# it is named.
set -euo pipefail
cd "$(dirname "$0")/.."

# As in tests/all.sh, which shares what it builds with this.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=line-tables-only CARGO_PROFILE_BENCH_DEBUG=none

page=src/guide/assurance.md
kept=tests/assurance/figures

# The page with the table in place of the one that it has.
written_page() {
    awk '/^<!-- table -->/ { print; exit } { print }' "$page"
    find "$kept" -type f | sort | xargs --no-run-if-empty awk -f tests/assurance/judge.awk -v output=table
    awk '/^<!-- end of table -->/ { rest = 1 } rest { print }' "$page"
}

MODE=quick
case ${1:-} in
    quick | full) MODE=$1 && shift ;;
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
    bash "$row" 2>&1 | tee "$log" || status=$?
    {
        echo "row: $((10#${name%%-*}))"
        sed -n 's/^# claim: /claim: /p' "$row"
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
    awk -f tests/assurance/judge.awk -v output=verdict "$results/$name" || missed+=("$name")
    if [ "$MODE" = full ]; then
        cp "$results/$name" "$kept/"
        written_page >"$results/page.md" && cp "$results/page.md" "$page"
    fi
done

printf '\n%d rows in %d s\n' "${#rows[@]}" "$SECONDS"
if [ "$MODE" = quick ] && ! written_page | cmp -s - "$page"; then
    echo "$page is not what tests/assurance/figures makes of it"
    exit 1
fi
if [ ${#absent[@]} -gt 0 ]; then printf 'not run: %s\n' "${absent[@]}"; fi
if [ ${#missed[@]} -gt 0 ]; then
    printf 'below its target: %s\n' "${missed[@]}"
    exit 1
fi
[ ${#absent[@]} = 0 ] || exit 77
