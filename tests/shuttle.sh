#!/usr/bin/env bash
# Runs the cache under every interleaving of its threads. Only what is keyway's own is compiled for that; what
# it depends on is what the other tests use.
set -euo pipefail
if [ $# -gt 0 ]; then
    # As cargo calls it, for each crate of the workspace. Only the tests have what they are run with.
    case " $* " in
        *" --crate-name keyway "*" --test "*) exec "$@" --cfg keyway_shuttle ;;
        *) exec "$@" ;;
    esac
fi
cd "$(dirname "$0")/.."
RUSTC_WORKSPACE_WRAPPER=$PWD/tests/shuttle.sh cargo test --lib --all-features shuttle
