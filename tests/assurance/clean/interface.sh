#!/usr/bin/env bash
# Compares the public interface, without and with all features, with the lists beside this script. So every
# change of the interface shows in a diff. `tests/assurance/clean/interface.sh accept` writes the lists again.
# The public interface of the core may name only the crates in `known`. After a first release, breaking
# changes are found by comparison with the last release.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/tools.sh
source tests/assurance/clean/copy.sh
nightly || not_here "no nightly toolchain"
for tool in cargo-public-api cargo-semver-checks; do
    cargo_tool "$tool" || not_here "no $tool"
done

# The application chooses the source of randomness, and a revealed token is wiped on drop.
known='keyway|core|alloc|rand_core|zeroize'
export CARGO_TARGET_DIR=$root/target/clean/interface
here=$root/tests/assurance/clean
log=$CARGO_TARGET_DIR/log
mkdir -p "$CARGO_TARGET_DIR"

# listed DIRECTORY FEATURES: lists the public items without derived and automatic impls, whose output changes
# between compilers.
listed() {
    cargo +nightly public-api --manifest-path "$1/Cargo.toml" -p keyway -sss "$2" 2>"$log" ||
        { cat "$log" >&2; return 1; }
}
differences() { diff -N "$1" "$2" | grep -c '^[<>]' || true; }
foreign() {
    perl -ne 'while (/(?<![:\w])([a-z_]\w*)::/g) { print "$1\n" }' "$1" | sort -u | grep -cvxE "$known" || true
}

core=$CARGO_TARGET_DIR/core.txt all=$CARGO_TARGET_DIR/all.txt
listed . --no-default-features >"$core"
listed . --all-features >"$all"
if [ "${1:-}" = accept ]; then
    cp "$core" "$here/public_api_core.txt"
    cp "$all" "$here/public_api.txt"
fi
diff -N "$here/public_api_core.txt" "$core" || true
diff -N "$here/public_api.txt" "$all" || true
changed=$(($(differences "$here/public_api_core.txt" "$core") + $(differences "$here/public_api.txt" "$all")))
echo "figure $changed = 0 lines in which the public interface is not the one that is listed, in $(wc -l <"$all") lines"
echo "figure $(foreign "$core") = 0 other crates in the $(wc -l <"$core") lines of the core, whose users would follow their versions"

copy target/clean/planted
echo '/// Planted. 
pub fn planted(_: subtle::Choice) {}' >>target/clean/planted/src/lib.rs
listed target/clean/planted --no-default-features >"$CARGO_TARGET_DIR/planted.txt"
echo "control $(differences "$core" "$CARGO_TARGET_DIR/planted.txt") = 1 line once a function is planted"
echo "control $(foreign "$CARGO_TARGET_DIR/planted.txt") = 1 crate in it"

# breaks CURRENT BASELINE: prints how many rules of semantic versioning are broken.
breaks() {
    local status=0
    cargo semver-checks --manifest-path "$1/Cargo.toml" -p keyway "$2" "$3" --release-type patch \
        "${@:4}" >"$log" 2>&1 || status=$?
    grep -q 'Summary' "$log" || { cat "$log" >&2; return 1; }
    sed -n 's/.* \([0-9]*\) fail.*/\1/p' "$log" | head -1
}
release=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)
if [ -n "$release" ]; then
    found=$(breaks . --baseline-rev "$release" --all-features)
    [ "${found:-0}" = 0 ] || cat "$log"
    echo "figure ${found:-0} = 0 rules of semantic versioning broken since $release"
else
    echo "measured 0 releases to compare with, so that it is shown on planted breaks alone that semantic versioning is checked"
fi
# A function that the released core has and the next one lacks.
copy target/clean/next
found=$(breaks target/clean/next --baseline-root target/clean/planted --only-explicit-features)
echo "control ${found:-0} > 0 rules broken once a function is gone"
found=$(breaks target/clean/planted --baseline-root target/clean/planted --only-explicit-features)
echo "figure ${found:-0} = 0 rules broken where nothing changed"
