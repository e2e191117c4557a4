#!/usr/bin/env bash
# Everything that has to hold before a change lands. It installs what it needs with rustup, cargo and
# apt-get; what could not be run is said in the last lines, and is a failure where CI=true.
set -euo pipefail
cd "$(dirname "$0")/.."

# What is built here is built once, and its backtraces need no more than lines.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=line-tables-only CARGO_PROFILE_BENCH_DEBUG=none

not_run=()
step() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS"; }
skip() { printf 'not run: %s\n' "$1"; not_run+=("$1"); }
# A script that ends with 77 where it cannot be run.
run_or_skip() {
    local status=0
    "$1" || status=$?
    case $status in
        0) ;;
        77) skip "$2" ;;
        *) exit "$status" ;;
    esac
}
source tests/tools.sh

step "toolchain"
rustc --version
if has rustup; then
    rustup component add rustfmt clippy >/dev/null 2>&1 || true
    rustup target add thumbv7em-none-eabi >/dev/null 2>&1 || true
    rustup toolchain list | grep -q '^1\.88' ||
        rustup toolchain install 1.88 --profile minimal >/dev/null 2>&1 || true
fi

step "servers and tracers"
postgres || skip "tests on PostgreSQL (no initdb)"
debian strace || skip "kills at every system call (no strace)"
debian wrk || skip "requests per second behind a guard (no wrk)"
debian curl || skip "the calls that the example services print (no curl)"

step "format"
cargo fmt --all --check
# Crates of their own, each for one check.
for manifest in fuzz/Cargo.toml benches/peers/Cargo.toml tests/assurance/*/Cargo.toml tests/assurance/*/*/Cargo.toml; do
    cargo fmt --check --manifest-path "$manifest"
done

step "lints"
# The examples switch features on, so whatever is to be seen without them is asked of keyway alone. With a
# test beside the library, all of these share what they depend on.
cargo clippy -p keyway --no-default-features -- -D warnings
cargo clippy -p keyway --all-targets -- -D warnings
for features in sqlite postgres http,rate-limit tower,tracing actix,leak-reports console; do
    cargo clippy -p keyway --lib --test layers --features "$features" -- -D warnings
done
cargo clippy --workspace --all-features --all-targets -- -D warnings
# Those that only the assurance table runs.
cargo clippy -p keyway --all-features --test processes --test revocation --test outages -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc -p keyway --no-deps --all-features
RUSTDOCFLAGS="-D warnings" cargo doc -p keyway --no-deps --features http

step "tests"
# All that they say, and every event at `TRACE`, is kept: row 14 of the assurance table searches it for secrets.
rm -rf target/overheard
mkdir -p target/overheard
if ! KEYWAY_OVERHEARD=$PWD/target/overheard cargo test --all-features -- --show-output \
    >target/overheard/output 2>&1; then
    cat target/overheard/output
    exit 1
fi
grep -E '^ +(Running|Doc-tests)|^test result' target/overheard/output
cargo test -p keyway-ui-tests

step "examples"
cargo run --quiet --all-features --example quickstart
cargo run --quiet --all-features --example custom_store
# The services, with every call that they print.
tests/examples.sh

step "the console in a browser"
run_or_skip tests/console.sh "the console in a browser, and its API against its description (see above)"


step "the core without features"
if rustup target list --installed 2>/dev/null | grep -q thumbv7em-none-eabi; then
    cargo build -p keyway --no-default-features --target thumbv7em-none-eabi
else
    skip "build for thumbv7em-none-eabi (no such target)"
fi

step "dependencies of the core"
barred='tokio|async-std|smol|futures|sqlx|rusqlite|postgres|axum|actix|hyper|tower|getrandom|rustix|libc'
names() { cargo tree -p keyway --edges normal --prefix none "$@" | awk '{ print $1 }' | sort -u; }
if names --no-default-features --target thumbv7em-none-eabi | grep -E "^($barred)"; then
    echo "the core depends on what stands above" && exit 1
fi
# The same search finds the operating system's randomness where it is allowed.
names | grep -qE "^($barred)"
duplicates() {
    cargo tree -p keyway --duplicates --edges normal --prefix none --depth 0 "$@" |
        awk 'NF { print $1 }' | sort -u
}
if duplicates --features sqlite | grep . || duplicates --features axum,leak-reports | grep .; then
    echo "two versions of one crate" && exit 1
fi
# The driver of PostgreSQL signs in with an older generation of the hashes, and its macros are older; so
# is the `http` of actix-web.
known='block-buffer|cpufeatures|crypto-common|digest|hashbrown|http|sha2|syn'
if duplicates --all-features | grep -vxE "$known"; then
    echo "two versions of one crate" && exit 1
fi
duplicates --all-features | grep -qx sha2

step "oldest Rust"
if cargo +1.88 --version >/dev/null 2>&1; then
    CARGO_TARGET_DIR=target/msrv cargo +1.88 check -p keyway --no-default-features
    CARGO_TARGET_DIR=target/msrv cargo +1.88 check -p keyway \
        --features sqlite,conformance,console,leak-reports,rate-limit,tracing,metrics
else
    skip "check with Rust 1.88 (no such toolchain)"
fi

step "assurance, quickly"
run_or_skip tests/assurance.sh "rows of the assurance table (see above)"

step "benchmarks, as the tests are built: only a broken one fails here"
cargo test --quiet -p keyway --all-features --bench stores --bench http --bench console -- --quick
cargo test --quiet -p keyway --all-features --bench ratios -- --quick hot

step "done"
if [ ${#not_run[@]} -gt 0 ]; then
    printf 'not run: %s\n' "${not_run[@]}"
    if [ "${CI:-}" = true ]; then exit 1; fi
fi
echo "all that was run has passed"
