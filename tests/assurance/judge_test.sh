#!/usr/bin/env bash
# The controls of the judge: a complete row is met, and each way to damage it is noticed. The check that tests
# were run has controls as well. At the end, the required lines of row scripts and patches are checked.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/tools.sh

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0 cases=0

# Prints a row with a figure for each form of a declaration.
whole() {
    cat <<'END'
begin 99
# claim: nothing is lost
# figure: = 0 of * writes lost, with ? conflicts
# full figure: >= 1000 writes
# quick figure: >= 10 writes
# control: > 0 writes lost by a store that keeps nothing
# control: = * of * faults (planted) found
now: 0123456789ab
row: 99
mode: full
sources: 0123456789ab
date: 2000-01-01
commit: 0000000
compiler: 1.0.0
processor: none
seconds: 1
status: 0
figure 0 = 0 of 1200 writes lost, with 0 conflicts
figure 1200 >= 1000 writes
measured 3ms at the most
control 7 > 0 writes lost by a store that keeps nothing
control 5 = 5 of 5 faults (planted) found
END
}

# judged VERDICT WHAT SED: checks that the complete row after this edit gets the verdict, in a run and in the
# table.
judged() {
    local verdict=$1 what=$2 edit=$3 status=0 expected=1 line cell
    cases=$((cases + 1))
    [ "$verdict" != met ] || expected=0
    whole | sed "$edit" >"$scratch/row"
    line=$(awk -f tests/assurance/judge.awk -v output=verdict "$scratch/row") || status=$?
    cell=$(awk -f tests/assurance/judge.awk -v output=table "$scratch/row" | sed -n 3p | cut -d '|' -f 4 | tr -d ' *')
    if [ $status != $expected ] || [ "$cell" != "$verdict" ]; then
        printf 'not judged as %s: %s\n%s\n' "$verdict" "$what" "$line"
        failures=$((failures + 1))
    fi
}

judged met "the whole row" ''
judged met "a quick run of it" 's/^mode: full/mode: quick/; s/>= 1000 writes/>= 10 writes/'
judged incomplete "one figure and one control" '/^figure 1200/d; /^control 5/d'
judged incomplete "a figure is missing" '/^figure 0/d'
judged incomplete "a control is missing" '/^control 7/d'
judged incomplete "no figure at all" '/^figure/d'
judged incomplete "no control at all" '/^control/d'
judged incomplete "a figure has another name" 's/^\(figure .*\) writes lost,/\1 reads lost,/'
judged incomplete "a figure has more to its name" 's/^\(figure .*conflicts\)/\1 and losses/'
judged incomplete "a figure has less to its name" 's/^\(figure .*\), with 0 conflicts/\1/'
judged incomplete "a figure stands twice" '/^figure 1200/p'
judged incomplete "a figure that nobody declared" 's/^measured.*/figure 1 = 1 day of the week/'
judged incomplete "a figure became a measurement" 's/^figure 1200 >= 1000/measured 1200/'
judged incomplete "a control became a figure" 's/^control 7/figure 7/'
judged incomplete "nothing was tried" 's/^figure 0 = 0 of 1200/figure 0 = 0 of 0/'
judged incomplete "a text where a number belongs" 's/^figure 0 = 0 of 1200/figure 0 = 0 of some/'
judged incomplete "another operator" 's/^figure 0 = 0/figure 0 <= 0/'
judged incomplete "another target" 's/^figure 1200 >= 1000/figure 1200 >= 1/'
judged incomplete "a full run with the target of a quick one" 's/^figure 1200 >= 1000/figure 1200 >= 10/'
judged incomplete "a control of none of none" 's/^control 5 = 5 of 5/control 0 = 0 of 0/'
judged incomplete "a row that declares nothing" '/^# /d'
# The summary shows the figure and the control that are declared first.
cases=$((cases + 1))
whole >"$scratch/row"
summary=$(awk -f tests/assurance/judge.awk -v output=table "$scratch/row" | sed -n 3p)
[[ $summary == *"| met | 0 (= 0): of 1200 writes lost, with 0 conflicts | 7 (> 0): writes lost by a store that keeps nothing |" ]] ||
    { echo "not the summary of the row: $summary"; failures=$((failures + 1)); }
judged missed "a figure misses its target" 's/^figure 0 = 0/figure 1 = 0/'
judged missed "a control finds nothing" 's/^control 7/control 0/'
judged missed "a value that is no number" 's/^figure 1200/figure many/'
judged missed "a value that is almost a number" 's/^figure 1200/figure 12.0.0/'
judged missed "a value that is not there" 's/^figure 1200/figure NaN/'
judged missed "a target that is no number" 's/>= 1000 writes/>= some writes/'
judged missed "an operator that there is not" 's/^figure 1200 >=/figure 1200 =>/'
judged failed "a row that ended with a failure" 's/^status: 0/status: 1/'
judged failed "a row of which the end is not known" 's/^status: 0/status: /'
judged stale "the sources have changed since" 's/^now: .*/now: ba9876543210/'
judged stale "it is not known of which sources it is" '/^sources:/d'
judged notmeasured "there are no results" '/^row:/,$d'

# ran PASSES WHAT OUTPUT [ARGUMENT...]
ran() {
    local expected=$1 what=$2 status=0
    cases=$((cases + 1))
    printf '%b' "$3" >"$scratch/log"
    shift 3
    tests_ran "$scratch/log" "$@" >"$scratch/said" || status=$?
    if [ $status != "$expected" ]; then
        printf 'not noticed of cargo test: %s\n%s\n' "$what" "$(<"$scratch/said")"
        failures=$((failures + 1))
    fi
}
one='     Running tests/a.rs (target/a)\nrunning 1 test\ntest kills::one ... ok\n\ntest result: ok. 1 passed; 0 failed;\n'
none='     Running tests/b.rs (target/b)\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed;\n'
ignored='     Running tests/c.rs (target/c)\nrunning 1 test\ntest two ... ignored\n\ntest result: ok. 0 passed; 0 failed; 1 ignored;\n'
ran 0 "a test was run" "$one"
ran 0 "each filter finds one" "$one" --test a -- --nocapture --test-threads 1 kills:: --skip other one
ran 1 "nothing was built" ""
ran 1 "one of two programs runs none" "$one$none"
ran 1 "all are ignored" "$ignored"
ran 0 "an option is not a filter" "$one" --test a -- --include-ignored kills::
ran 1 "a filter finds none" "$one" --test a -- kills:: starts::
ran 1 "the only filter finds none" "$none" --test b -- starts::

# A fingerprint changes with the code that a row depends on, and with nothing else.
sources=$scratch/sources
mkdir -p "$sources/src" && git -C "$sources" init -q
cp tests/assurance/fingerprint.sh "$scratch/"
printf '# depends: src\n' >"$sources/row.sh"
printf 'fn one() {}\n\n    // two\nfn two() {}\n' >"$sources/src/a b.rs"
touch "$sources/Cargo.toml" "$sources/Cargo.lock"
printed() { (cd "$sources" && "$scratch/fingerprint.sh" row.sh); }
first=$(printed)
# fingerprint EXPECTED NAME COMMAND...: runs the command and checks that the fingerprint is the `same` or
# `another`.
fingerprint() {
    local now expected=$1 name=$2
    shift 2
    cases=$((cases + 1))
    (cd "$sources" && "$@")
    now=$(printed)
    case $expected:$now in
        same:"$first" | another:*) [ "$expected:$now" != "another:$first" ] ;;
        *) false ;;
    esac || { echo "$name: the fingerprint is not $expected"; failures=$((failures + 1)); }
}
fingerprint same "nothing was changed" true
fingerprint same "a comment was changed" sed -i 's|// two|/// three|' 'src/a b.rs'
fingerprint same "a page was written" touch src/page.md
fingerprint same "something else was written" touch elsewhere
fingerprint another "the code was changed" sed -i 's|fn two|fn four|' 'src/a b.rs'
fingerprint same "the code is as it was" sed -i 's|fn four|fn two|' 'src/a b.rs'
fingerprint another "a file was added" touch src/c.rs
fingerprint same "a file was removed that was not there" rm src/c.rs
fingerprint another "the script was changed" sed -i '$a true' row.sh

# The row scripts declare the lines that they must print, and their dependencies.
for row in tests/assurance/rows/*.sh; do
    cases=$((cases + 1))
    for line in '# claim: ' '# depends: ' '# \(full \)\?figure: ' '# \(full \)\?control: '; do
        grep -q "^$line" "$row" || { echo "$row has no line like $line"; failures=$((failures + 1)); }
    done
done

# The patches of the mistakes must apply. After moving a line, repair the patches around it. Row 7 runs them.
for file in tests/assurance/mistakes/*.patch; do
    cases=$((cases + 1))
    for line in '# test: ' '# mistake: '; do
        grep -q "^$line" "$file" || { echo "$file has no line like $line"; failures=$((failures + 1)); }
    done
    patch -p1 --fuzz=0 --force --dry-run <"$file" >"$scratch/patch" 2>&1 ||
        { echo "$file does not apply any more"; failures=$((failures + 1)); }
done

# The README gives the number of claims.
cases=$((cases + 1))
grep -q " $(find tests/assurance/rows -name '*.sh' | wc -l) claims" README.md ||
    { echo "README.md gives another number of claims"; failures=$((failures + 1)); }

echo "the judge: $cases cases, $failures of them wrong"
[ $failures = 0 ]
