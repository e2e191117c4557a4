#!/usr/bin/env bash
# Plants the mistakes of tests/assurance/mistakes one after another, and runs the test that must fail with
# each.
#
#   tests/assurance/mistakes.sh [NAME ...]     all of them, or those with a part of their name given here
#
# A mistake is a patch of the sources, made with `git diff -U2`, with two lines before it:
#
#   # test: ARGUMENT...      for `cargo test`: one program, and a filter for the test that notices the mistake,
#                            which is run even if it is marked as ignored
#   # mistake: SENTENCE      what was done wrong
#
# A patch must apply exactly. With fuzz it could plant another mistake than the one that it describes.
#
# These are mistakes of meaning, which a mutation tool does not make: the wrong record, a missing
# invalidation, two checks in the wrong order. Each test must pass without the mistake and fail with it. A
# mistake that no longer applies or compiles fails here as well, since it tests nothing.
#
# LIMIT_SECONDS ends a run early, after at least three mistakes. Their order then depends on the commit.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/tools.sh

folder=tests/assurance/mistakes
work=$PWD/target/mistakes
# A separate target directory. Cargo identifies a workspace by its content and not by its path. In a shared
# directory the repository would use what was built here with a mistake.
export CARGO_TARGET_DIR=$work/target CARGO_INCREMENTAL=1 CARGO_PROFILE_DEV_DEBUG=line-tables-only

# Reuses the dependencies that the repository's tests have built.
seed() {
    mkdir -p "$work/target/debug"
    tar -C target/debug -c --exclude='*keyway*' --exclude=incremental --exclude='./examples' \
        ./build ./.fingerprint ./deps 2>/dev/null | tar -C "$work/target/debug" -x || true
}
[ -e "$work/target" ] || seed

# A copy of the repository with new timestamps. With the old ones, the remains of an interrupted run could
# pass as up to date.
rm -rf "$work/tree"
mkdir -p "$work/tree"
git ls-files -coz --exclude-standard | tar --null --ignore-failed-read -cT - 2>/dev/null | tar -xm -C "$work/tree"
folder=$PWD/$folder
cd "$work/tree"
tools=$OLDPWD

head_of() { sed -n "s/^# $1: //p;/^[^#]/q" "$2"; }

# Each test runs once without a mistake. The result is remembered by its arguments.
declare -A passes
passes_without() {
    local arguments=$1 words status=0
    if [ -z "${passes[$arguments]:-}" ]; then
        read -ra words <<<"$arguments"
        timeout 900 cargo test "${words[@]}" -- --include-ignored >"$work/log" 2>&1 || status=$?
        (cd "$tools" && tests_ran "$work/log") >>"$work/log" || status=1
        passes[$arguments]=$([ $status = 0 ] && echo yes || echo no)
    fi
    [ "${passes[$arguments]}" = yes ]
}

# The outcome of a mistake: `noticed`, or the reason why it is not.
outcome=
plant() {
    local file=$1 arguments words status=0
    arguments=$(head_of test "$file")
    read -ra words <<<"$arguments"
    if [ -z "$arguments" ] || [ -z "$(head_of mistake "$file")" ]; then
        outcome="does not say its test and its mistake"
    elif ! patch -p1 --fuzz=0 --force --dry-run <"$file" >"$work/log" 2>&1; then
        outcome="does not apply"
    elif ! passes_without "$arguments"; then
        outcome="its test does not pass without it, or does not exist"
    else
        sed -n 's#^+++ b/##p' "$file" >"$work/touched"
        rm -rf "$work/saved" && mkdir "$work/saved"
        tar -cT "$work/touched" | tar -xC "$work/saved"
        patch -p1 --fuzz=0 --force --no-backup-if-mismatch <"$file" >/dev/null
        # An incremental build can fail inside the compiler, whatever the sources are.
        if ! timeout 900 cargo test --no-run "${words[@]}" >"$work/log" 2>&1 &&
            ! CARGO_INCREMENTAL=0 timeout 900 cargo test --no-run "${words[@]}" >"$work/log" 2>&1; then
            outcome="does not compile"
        else
            timeout 300 cargo test "${words[@]}" -- --include-ignored >"$work/log" 2>&1 || status=$?
            case $status in
                0) outcome="gets past its test" ;;
                124) outcome="hangs, so that no test fails" ;;
                *) outcome="ends without a failed test" ;;
            esac
            if [ $status != 124 ] && grep -q '^test result: FAILED' "$work/log"; then outcome=noticed; fi
        fi
        # Restores the files with new timestamps. A reversed patch could change another place.
        tar -cC "$work/saved" . | tar -xm
    fi
}

mapfile -t files < <(find "$folder" -maxdepth 1 -name '*.patch' | sort)
if [ $# -gt 0 ]; then
    mapfile -t files < <(printf '%s\n' "${files[@]}" | grep -F "$(printf '%s\n' "$@")")
elif [ -n "${LIMIT_SECONDS:-}" ]; then
    mapfile -t files < <(printf '%s\n' "${files[@]}" | sort -R --random-source=<(yes "$(git -C "$tools" rev-parse HEAD)"))
fi

noticed=0 tried=0
for file in "${files[@]}"; do
    [ -z "${LIMIT_SECONDS:-}" ] || [ $tried -lt 3 ] || [ $SECONDS -lt "$LIMIT_SECONDS" ] || break
    began=$SECONDS
    tried=$((tried + 1))
    plant "$file"
    echo "$(basename "$file" .patch): $outcome (in $((SECONDS - began)) s)"
    if [ "$outcome" = noticed ]; then
        noticed=$((noticed + 1))
    else
        head_of mistake "$file"
        tail -n 15 "$work/log" | sed 's/^/    /'
    fi
done
echo "figure $noticed = $tried planted mistakes of meaning noticed"
echo "measured ${#files[@]} such mistakes are kept"

# Patches that must not count. Each has the outcome in its head.
found=0 controls=0
for file in "$folder"/controls/*.patch; do
    controls=$((controls + 1))
    plant "$file"
    name=$(basename "$file" .patch)
    if [ "$outcome" = "$(head_of outcome "$file")" ]; then
        found=$((found + 1))
    else
        echo "control $name: $outcome"
    fi
done
echo "control $found = $controls patches found out that are no mistakes, or cannot be tried"
[ $noticed = $tried ] && [ $found = $controls ]
