#!/usr/bin/env bash
# claim: who may do what, to which resource and from which network, is decided as a naive model decides it, which shares no code with the library
# depends: src :!src/console* :!src/http* :!src/store/postgres* :!src/store/sqlite* :!src/store/sql* :!src/store/conformance* :!src/rate* :!src/cache/fence_tests* tests/assurance/model
# figure: = 0 disagreements in random histories
# full figure: >= 100000000 random cases: who presents what, when, to whom
# quick figure: >= 1000000 random cases: who presents what, when, to whom
# full figure: >= 100000 of the rarest of these limits
# quick figure: >= 1000 of the rarest of these limits
# full figure: >= 1000000 random cases with a child
# quick figure: >= 10000 random cases with a child
# full figure: >= 4000 of the rarest outcome for children
# quick figure: >= 40 of the rarest outcome for children
# figure: = 0 children that did more than their parents
# figure: = 0 disagreements in small services
# figure: = 4474 orders of up to 5 scopes, all there are
# full figure: = 29854 ways to declare them
# figure: = 0 disagreements in grants of small services
# full figure: = 24 orders of scopes with all small limits
# quick figure: = 5 orders of scopes with all small limits
# control: = 41 faults in the model noticed
# control: = 6 faults in the model's children noticed
# control: > 0 disagreements for the least of them in * cases
# control: > 0 disagreements in services of 4 scopes where implication ends after a step
# control: > 0 disagreements in small grants where an empty list is all
#
# tests/assurance/model describes what is compared. In every `cargo test`, tests/core/model.rs compares a few hundred
# of these services, and histories of a keyring with its store and cache, with the same model.
set -euo pipefail
cd "$(dirname "$0")/../../.."

case $MODE in
    full) decisions=100000000 ;;
    *) decisions=1000000 ;;
esac

export CARGO_TARGET_DIR=target/assurance_model
cargo build --quiet --release --locked --manifest-path tests/assurance/model/Cargo.toml
"$CARGO_TARGET_DIR/release/model" "$decisions" "$MODE"
