#!/usr/bin/env bash
# claim: on this processor, the time of a refusal does not tell how much of a forged token or child is right, nor whether its key exists, is active or is cached (by a t-test, with threshold 4.5)
# depends: src :!src/console* :!src/store/postgres* :!src/store/sqlite* :!src/store/sql* :!src/store/conformance* :!src/cache/fence_tests* tests/assurance/timing
# figure: < 4.5 greatest |t| of * runs: active or disabled key
# figure: < 4.5 greatest |t| of * runs: child of cached or uncached key
# figure: < 4.5 greatest |t| of * runs: child of known or unknown key
# figure: < 4.5 greatest |t| of * runs: child tag right in its first half or nowhere
# figure: < 4.5 greatest |t| of * runs: child tag wrong at its first or last character
# figure: < 4.5 greatest |t| of * runs: child with right or wrong signature
# figure: < 4.5 greatest |t| of * runs: known or unknown id
# figure: < 4.5 greatest |t| of * runs: present or superseded digest
# figure: < 4.5 greatest |t| of * runs: right or wrong secret
# figure: < 4.5 greatest |t| of * runs: secret wrong at its first character
# figure: < 4.5 greatest |t| of * runs: secret wrong at its last character
# figure: < 4.5 greatest |t| of * runs: secret wrong at its middle character
# figure: < 4.5 greatest |t| of * runs: tag wrong at its first or last character
# control: > 20 least |t| of * runs: cached key before the tag
# control: > 20 least |t| of * runs: child tag compared early
# control: > 20 least |t| of * runs: comparison that ends early
# control: > 20 least |t| of * runs: look up before the tag
# control: > 20 least |t| of * runs: state before the tag
#
# Runs dudect's test on the whole path of a request through a guard, with the processor's SHA instructions if
# it has them: see tests/assurance/timing. The figures compare inputs that a caller can present without the
# secret. Differences that only the holder of a key sees are published beside them. A run has 100,000
# requests. The children that are compared have a wrong tag: behind a right one a signature is checked with a
# public key, and a child that is remembered takes less time.
set -euo pipefail
cd "$(dirname "$0")/../../.."

case $MODE in
    full) runs=20 ;;
    *) runs=3 ;;
esac

export CARGO_TARGET_DIR=target/assurance/cargo
mkdir -p "$CARGO_TARGET_DIR"
cargo build --quiet --release --locked --features children --manifest-path tests/assurance/timing/Cargo.toml
has=no
if grep -qE '^(flags|Features).* (sha_ni|sha2)' /proc/cpuinfo; then has=yes; fi
echo "measured $has the processor has SHA instructions, which sha2 takes"
"$CARGO_TARGET_DIR/release/refusals" time
for run in $(seq "$runs"); do
    echo "-- run $run"
    "$CARGO_TARGET_DIR/release/dudect"
    "$CARGO_TARGET_DIR/release/dudect_children"
done | tee target/assurance/dudect.txt | grep -v '^$'
awk -v runs="$runs" '
    # bench NAME ... : n == +0.100M, max t = -1.23, max tau = ...
    /^bench .* max t = / {
        t = $0
        sub(/.*max t = [+-]?/, "", t)
        sub(/,.*/, "", t)
        name = $2
        if (seen[name]++ == 0) { order[++names] = name; least[name] = t }
        if (t + 0 > most[name] + 0) most[name] = t
        if (t + 0 < least[name] + 0) least[name] = t
    }
    END {
        for (place = 1; place <= names; place++) {
            name = order[place]
            # A comparison that ran less often than it should has no figure.
            if (seen[name] != runs) { print name " ran " seen[name] " times"; exit 1 }
            text = name
            gsub(/_/, " ", text)
            if (sub(/^planted /, "", text)) printf "control %.1f > 20 least |t| of %d runs: %s\n", least[name], runs, text
            else if (sub(/^real /, "", text)) printf "measured %.1f greatest |t| of %d runs: %s, which is meant\n", most[name], runs, text
            else printf "figure %.2f < 4.5 greatest |t| of %d runs: %s\n", most[name], runs, text
        }
    }
' target/assurance/dudect.txt
