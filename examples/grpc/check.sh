#!/usr/bin/env bash
# Runs the example with tonic's client, its tests, and the client of Python that learns the service by reflection.
set -euo pipefail
. tests/tools.sh

cargo build --quiet -p grpc
program=${CARGO_TARGET_DIR:-target}/debug/grpc
"$program"
# The control: a word that the program does not know is an error.
if "$program" nonsense 2>/dev/null; then echo "grpc: a wrong word is not noticed" && exit 1; fi
tested --quiet -p grpc

has python3 || debian python3 || not_here "the client of Python: no python3"
python=${CARGO_TARGET_DIR:-target}/grpc-python
if ! "$python/bin/python" -c 'import grpc_health, grpc_reflection' 2>/dev/null; then
    python3 -m venv "$python" 2>/dev/null || { debian ensurepip python3-venv || true; python3 -m venv "$python"; } ||
        not_here "the client of Python: no venv"
    "$python/bin/pip" install --quiet --disable-pip-version-check \
        grpcio grpcio-health-checking grpcio-reflection ||
        not_here "the client of Python: its packages cannot be installed"
fi
echo
"$python/bin/python" -u examples/grpc/client.py "$program"
# The control: the client notices a server that does not start.
if "$python/bin/python" examples/grpc/client.py false 2>/dev/null; then
    echo "grpc: a server that does not start is not noticed" && exit 1
fi
echo "grpc: both clients get the codes that they should"
