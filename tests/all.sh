#!/usr/bin/env bash
# Runs every check that must pass before a change lands. The script installs the tools that it needs with
# rustup, cargo and apt-get. The last lines name the checks that could not run, which is a failure with
# CI=true.
set -euo pipefail
cd "$(dirname "$0")/.."

# The build settings: nothing is built incrementally, and backtraces need line numbers only.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=line-tables-only CARGO_PROFILE_BENCH_DEBUG=none

not_run=()
step() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS"; }
skip() { printf 'not run: %s\n' "$1"; not_run+=("$1"); }
# Runs a script that exits with 77 if it cannot run on this machine.
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

step "room"
# A full disk would end the run in the middle of a build, with an error of the linker. A run from nothing fills 18 GB.
built=$(du -s --block-size=1G target 2>/dev/null | cut -f 1 || true)
free=$(df --output=avail -BG . | tail -n 1 | tr -dc 0-9)
if [ $((free + ${built:-0})) -lt 24 ]; then
    echo "a run from nothing needs 24 GB of disk: $free GB are free, and target has ${built:-0} GB" && exit 1
fi

step "toolchain"
rustc --version
if has rustup; then
    rustup component add rustfmt clippy >/dev/null 2>&1 || true
    rustup target add thumbv7em-none-eabi >/dev/null 2>&1 || true
    rustup toolchain list | grep -q '^1\.88' ||
        rustup toolchain install 1.88 --profile minimal >/dev/null 2>&1 || true
fi

step "servers and tracers"
# A test that needs one of these programs is marked as ignored, and is run if they all are there.
ignored=(--include-ignored) ignored_neighbors=(--include-ignored)
postgres || { skip "ignored tests (no initdb)" && ignored=(); }
debian pgbouncer || { skip "ignored tests (no pgbouncer)" && ignored=(); }
debian sqlite3 || { skip "ignored tests (no sqlite3)" && ignored=(); }
debian nginx || { skip "guards behind proxies (no nginx)" && ignored_neighbors=(); }
debian haproxy || { skip "guards behind proxies (no haproxy)" && ignored_neighbors=(); }
debian caddy || { skip "guards behind proxies (no caddy)" && ignored_neighbors=(); }
debian strace || skip "kills at every system call (no strace)"
debian wrk || skip "requests per second behind a guard (no wrk)"
debian curl || skip "the calls that the example services print (no curl)"

step "prose"
tests/prose.sh

step "format"
cargo fmt --all --check
# Separate packages, each for one check.
for manifest in fuzz/Cargo.toml benches/peers/Cargo.toml tests/assurance/*/Cargo.toml tests/assurance/*/*/Cargo.toml; do
    cargo fmt --check --manifest-path "$manifest"
done

step "lints"
# Other packages enable features, so that lints without these features need `-p keyway`. With a test as a
# second target, all of these runs share their dependencies.
cargo clippy -p keyway --no-default-features -- -D warnings
cargo clippy -p keyway --all-targets -- -D warnings
for features in children children,http sqlite postgres http,rate-limit tower,tracing actix,leak-reports console testing; do
    cargo clippy -p keyway --lib --test allocations --features "$features" -- -D warnings
done
cargo clippy --workspace --all-features --all-targets -- -D warnings
# The tests that run by name only.
cargo clippy --workspace --all-features --test processes --test revocation --test outages \
    --test large_tenants --test large_usage --test statements -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc -p keyway --no-deps --all-features
# A link must not lead to an item of a disabled feature.
RUSTDOCFLAGS="-D warnings" cargo doc -p keyway --no-deps
for features in "" std children children,http sqlite postgres http tower axum actix openapi console rate-limit leak-reports testing; do
    RUSTDOCFLAGS="-D warnings" cargo doc --quiet -p keyway --no-deps --no-default-features --features "$features"
done

step "package"
# Packages without `--all-features`, as in a release. The package has the images of the README, and the files
# below.
cargo publish --dry-run --no-verify --allow-dirty
for file in screenshots/list.png src/guide/operations.md LICENSE-MIT; do
    cargo package -p keyway --list --allow-dirty | grep -qxF "$file"
done

step "tests"
# All output and every event at `TRACE` is kept. Row 14 of the assurance table searches it for secrets.
rm -rf target/overheard
mkdir -p target/overheard
if ! KEYWAY_OVERHEARD=$PWD/target/overheard cargo test "${whole[@]}" --no-fail-fast -- --show-output \
    "${ignored[@]}" >target/overheard/output 2>&1; then
    cat target/overheard/output
    exit 1
fi
grep -E '^ +(Running|Doc-tests)|^test result' target/overheard/output
if [ ${#ignored[@]} -gt 0 ]; then tests_ran target/overheard/output; fi
# The control: without PostgreSQL the tests on it are listed as ignored, and fail if they are asked for.
without_postgres() { KEYWAY_POSTGRES=/nowhere cargo test "${whole[@]}" --test postgres -- "$@" 2>&1; }
output=$(without_postgres)
grep -q 'ignored, needs PostgreSQL$' <<<"$output"
if output=$(without_postgres --include-ignored); then echo "tests pass without PostgreSQL" && exit 1; fi
grep -q 'this test needs PostgreSQL' <<<"$output"
tested -p keyway-ui-tests
# Guards among third-party layers, clients and servers.
tested -p keyway-neighbor-tests -- "${ignored_neighbors[@]}"

step "examples"
# The first command of the README, a custom store, and the services with every call that they print.
run_or_skip tests/examples.sh "examples (see above)"

step "the console in three browsers"
run_or_skip tests/console.sh "the console in every browser, and its API against its description (see above)"

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
# The control: the same search finds the operating system's randomness where it is allowed.
names | grep -qE "^($barred)"
# A test of the core is compiled with all dev-dependencies.
for_a_test() { cargo tree -p keyway --prefix none "$@" | awk 'NF { print $1, $2 }' | sort -u | wc -l; }
if [ "$(for_a_test)" -gt 80 ]; then
    for_a_test && echo "a test of the core needs more than 80 crates" && exit 1
fi
# The control: with all features there are more.
[ "$(for_a_test --all-features)" -gt 80 ]
duplicates() {
    cargo tree -p keyway --duplicates --edges normal --prefix none --depth 0 "$@" |
        awk 'NF { print $1 }' | sort -u
}
if duplicates --features sqlite | grep . || duplicates --features axum,leak-reports | grep .; then
    echo "two versions of one crate" && exit 1
fi
# The PostgreSQL driver authenticates with an older generation of the hashes and uses older macros. The `http`
# of actix-web is older as well.
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
tests/assurance/judge_test.sh
run_or_skip tests/assurance.sh "rows of the assurance table (see above)"

step "benchmarks, as the tests are built: only a broken one fails here"
cargo test --quiet "${whole[@]}" --bench stores --bench http --bench console -- --quick
cargo test --quiet "${whole[@]}" --bench ratios -- --quick hot
cargo test --quiet -p keyway-neighbor-tests --bench grpc -- --quick

step "done"
if [ ${#not_run[@]} -gt 0 ]; then
    printf 'not run: %s\n' "${not_run[@]}"
    if [ "${CI:-}" = true ]; then exit 1; fi
fi
echo "all that was run has passed"
