# Functions that find and install tools for the scripts. Source this file from the root of the repository.

has() { command -v "$1" >/dev/null 2>&1; }

# Installs a command from a Debian package, whose name is the second argument or that of the command.
debian() {
    has "$1" && return
    [ "$(id -u)" = 0 ] && has apt-get || return 1
    local attempt
    # A mirror may be away for a moment.
    for attempt in 1 2 3; do
        if [ -z "${apt_lists_are_new:-}" ]; then
            apt-get -o Acquire::Retries=3 update >/dev/null 2>&1 && apt_lists_are_new=yes
        fi
        apt-get -o Acquire::Retries=3 install -y --no-install-recommends "${2:-$1}" >/dev/null 2>&1 && break
        apt_lists_are_new=
        [ "$attempt" = 3 ] || sleep $((attempt * 10))
    done
    has "$1"
}

# Installs a subcommand of cargo. The build is not optimized much, since no tool is measured itself.
cargo_tool() {
    has "$1" && return
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
        CARGO_TARGET_DIR="$PWD/target/tools" cargo install --locked "$1" >/dev/null 2>&1 && has "$1"
}

# Installs a nightly toolchain with these components.
nightly() {
    cargo +nightly --version >/dev/null 2>&1 ||
        { has rustup && rustup toolchain install nightly --profile minimal >/dev/null 2>&1; } || return 1
    [ $# = 0 ] || rustup component add --toolchain nightly "$@" >/dev/null 2>&1
}

# Installs a target of the stable toolchain.
target() {
    has rustup && rustup target add "$1" >/dev/null 2>&1
}

# The library with all features, and all of its tests. Every step that needs all features selects the same
# packages, so that they share one build. `keyway-browser-tests` is among them for its features of shared
# dependencies: its tests run by name only, in `tests/console.sh`.
whole=(-p keyway -p keyway-tests -p keyway-browser-tests --all-features)

# Finds or installs PostgreSQL's programs, whose directory Debian keeps off the path.
postgres() {
    has initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ||
        { debian initdb postgresql || true; ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }
}

# Prints why a script cannot run here, and exits.
not_here() {
    echo "not run: $*"
    exit 77
}

# Prints the filters among the arguments of `cargo test`: those after `--` that are neither an option nor its
# value.
filters() {
    local behind='' value='' argument
    for argument; do
        if [ -n "$value" ]; then
            value=
        elif [ -z "$behind" ]; then
            [ "$argument" != -- ] || behind=yes
        elif [ "$argument" = --skip ] || [ "$argument" = --test-threads ]; then
            value=yes
        elif [[ $argument != -* ]]; then
            echo "$argument"
        fi
    done
}

# tests_ran LOG [ARGUMENT...]: returns whether `cargo test` with these arguments has run a test in each of its
# programs and for each filter. LOG is the output of `cargo test`.
tests_ran() {
    local log=$1
    shift
    awk -v filters="$(filters "$@" | tr '\n' ' ')" -f tests/tests_ran.awk "$log"
}

# Runs `cargo test`, and fails as well if it runs no test.
tested() {
    local log status=0
    log=$(mktemp)
    cargo test "$@" 2>&1 | tee "$log" || status=$?
    tests_ran "$log" "$@" || status=1
    rm -f "$log"
    return $status
}
