# What the scripts share: finding and installing what they run. Source it from the root of the repository.

has() { command -v "$1" >/dev/null 2>&1; }

# A command, from the Debian package that is named (its own name otherwise).
debian() {
    has "$1" && return
    [ "$(id -u)" = 0 ] && has apt-get || return 1
    if [ -z "${apt_lists_are_new:-}" ]; then
        apt-get update >/dev/null 2>&1 || true
        apt_lists_are_new=yes
    fi
    apt-get install -y --no-install-recommends "${2:-$1}" >/dev/null 2>&1 && has "$1"
}

# A subcommand of cargo, built in a hurry: none of them is measured itself.
cargo_tool() {
    has "$1" && return
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
        CARGO_TARGET_DIR="$PWD/target/tools" cargo install --locked "$1" >/dev/null 2>&1 && has "$1"
}

# A nightly toolchain, with the components that are named.
nightly() {
    cargo +nightly --version >/dev/null 2>&1 ||
        { has rustup && rustup toolchain install nightly --profile minimal >/dev/null 2>&1; } || return 1
    [ $# = 0 ] || rustup component add --toolchain nightly "$@" >/dev/null 2>&1
}

# A target of the stable toolchain.
target() {
    has rustup && rustup target add "$1" >/dev/null 2>&1
}

# The directory of PostgreSQL's programs, which Debian keeps off the path.
postgres() {
    has initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ||
        { debian initdb postgresql || true; ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }
}

# Says why a script cannot be run here, and ends it.
not_here() {
    echo "not run: $*"
    exit 77
}
