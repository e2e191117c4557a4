"""Calls the service of this folder with the gRPC library of Python: `client.py PROGRAM`.

Starts PROGRAM with `serve`, reads its address and its keys, and learns its messages by reflection. Prints each call with
its code, and exits with an error if a code is another one than expected.
"""

import queue
import subprocess
import sys
import time

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

OK = grpc.StatusCode.OK
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED
INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED

wrong = 0


def check(call, expected, run):
    """Prints the outcome of a call that must have the code `expected`."""
    global wrong
    try:
        code, text = OK, run()
    except grpc.RpcError as error:
        code, text = error.code(), error.details()
    print(f"{call:<46} {code.name}: {text}")
    if code is not expected:
        print(f"    the code should be {expected.name}")
        wrong += 1


class WithKey(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Sends a key with each call, also with those of the reflection library."""

    def __init__(self, bearer):
        self.metadata = (("authorization", bearer),)

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(details._replace(metadata=self.metadata), request)

    def intercept_stream_stream(self, continuation, details, requests):
        return continuation(details._replace(metadata=self.metadata), requests)


class Server:
    """The running program, with its address and its keys."""

    def __init__(self, program):
        self.process = subprocess.Popen(
            [program, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.keys = {}
        for line in self.process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "address":
                self.address = rest
            elif word == "key":
                name, _, bearer = rest.partition(" ")
                self.keys[name] = bearer
            elif word == "ready":
                return
        sys.exit("the program does not start")

    def disable(self, key):
        """Disables a key, and returns when that is done."""
        print(f"disable {key}", file=self.process.stdin, flush=True)
        assert self.process.stdout.readline().strip() == f"disabled {key}"


class Machines:
    """The service, with its messages from reflection."""

    def __init__(self, channel, database):
        self.channel = channel
        self.pool = DescriptorPool(database)

    def message(self, name, **fields):
        descriptor = self.pool.FindMessageTypeByName(f"factory.v1.{name}")
        return message_factory.GetMessageClass(descriptor)(**fields)

    def method(self, kind, name, answer):
        make = getattr(self.channel, kind)
        read = type(self.message(answer)).FromString
        path = f"/factory.v1.Machines/{name}"
        return make(path, lambda message: message.SerializeToString(), read)


class Open:
    """The messages of a stream that stays open until it is closed."""

    def __init__(self, *messages):
        self.messages = queue.Queue()
        for message in messages:
            self.messages.put(message)

    def __iter__(self):
        return iter(self.messages.get, None)

    def close(self):
        self.messages.put(None)


def main(program):
    server = Server(program)
    try:
        with grpc.insecure_channel(server.address) as channel:
            run(server, channel)
    finally:
        server.process.kill()
        server.process.wait()
    if wrong:
        sys.exit(f"{wrong} calls have a wrong code")


def run(server, channel):
    key = lambda name: (("authorization", server.keys[name]),)

    # Health needs no key, and reflection needs one.
    health = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service="factory.v1.Machines")
    state = lambda answer: health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    check("Check without a key", OK, lambda: state(health.Check(request)))
    nonsense = (("authorization", "Bearer nonsense"),)
    check("Check with a bad key", OK, lambda: state(health.Check(request, metadata=nonsense)))
    services = lambda channel: ", ".join(ProtoReflectionDescriptorDatabase(channel).get_services())
    check("Reflection without a key", UNAUTHENTICATED, lambda: services(channel))
    with_key = grpc.intercept_channel(channel, WithKey(server.keys["erp"]))
    check("Reflection as erp", OK, lambda: services(with_key))

    machines = Machines(channel, ProtoReflectionDescriptorDatabase(with_key))
    get = machines.method("unary_unary", "Get", "Machine")
    delete = machines.method("unary_unary", "Delete", "Machine")
    record = machines.method("stream_unary", "Record", "Recorded")
    watch = machines.method("unary_stream", "Watch", "Machine")
    start = machines.method("stream_stream", "Run", "Started")

    mill, lathe = (machines.message("GetRequest", machine=name) for name in ("mill-1", "lathe-1"))
    name = lambda machine: f"{machine.name} is at {machine.utilization} %"
    check("Get without a key", UNAUTHENTICATED, lambda: name(get(mill)))
    check("Get mill-1 as dashboard", OK, lambda: name(get(mill, metadata=key("dashboard"))))
    check("Get lathe-1 as dashboard", PERMISSION_DENIED, lambda: get(lathe, metadata=key("dashboard")))
    check("Get mill-1 as erp", PERMISSION_DENIED, lambda: get(mill, metadata=key("erp")))
    twice = key("dashboard") * 2
    check("Get with two keys", INVALID_ARGUMENT, lambda: get(mill, metadata=twice))
    check("Delete, which is not a method", UNIMPLEMENTED, lambda: delete(mill, metadata=key("dashboard")))
    challenge(lambda: get(mill))

    # Streams that end before their key does.
    readings = [machines.message("Reading", machine=id, utilization=90) for id in ("mill-1", "lathe-1")]
    recorded = lambda metadata: f"{record(iter(readings), metadata=metadata).readings} readings"
    check("Record as edge", OK, lambda: recorded(key("edge")))
    check("Record as dashboard", PERMISSION_DENIED, lambda: recorded(key("dashboard")))
    jobs = [machines.message("Job", machine=id, part="axle") for id in ("mill-1", "lathe-1")]
    started = start(iter(jobs), metadata=key("floor"))
    check("Run a job on mill-1 as floor", OK, lambda: f"job {next(started).number}")
    check("Run a job on lathe-1 as floor", PERMISSION_DENIED, lambda: next(started))

    # Streams that their key ends.
    watched = watch(machines.message("WatchRequest"), metadata=key("dashboard"), timeout=20)
    check("Watch as dashboard", OK, lambda: name(next(watched)))
    check("Watch the second machine", OK, lambda: name(next(watched)))
    server.disable("dashboard")
    check("Watch after dashboard is disabled", UNAUTHENTICATED, lambda: next(watched))

    jobs = Open(machines.message("Job", machine="mill-2", part="axle"))
    started = start(iter(jobs), metadata=key("floor"), timeout=20)
    check("Run a job on mill-2 as floor", OK, lambda: f"job {next(started).number}")
    server.disable("floor")
    check("Run after floor is disabled", UNAUTHENTICATED, lambda: next(started))
    jobs.close()

    readings = Open(machines.message("Reading", machine="mill-1", utilization=55))
    call = record.future(iter(readings), metadata=key("edge"), timeout=20)
    # The stream is open when the server has taken its first reading.
    while get(mill, metadata=key("observer")).utilization != 55:
        time.sleep(0.01)
    server.disable("edge")
    check("Record after edge is disabled", UNAUTHENTICATED, call.result)
    readings.close()

    # The control: another code is noticed.
    control()


def challenge(call):
    """Checks that a refusal has the challenge of the guard among its metadata."""
    global wrong
    try:
        call()
        found = None
    except grpc.RpcError as error:
        metadata = list(error.initial_metadata() or ()) + list(error.trailing_metadata() or ())
        found = dict(metadata).get("www-authenticate")
    print(f"{'The challenge of a refusal':<46} {found}")
    if found != 'Bearer realm="mm"':
        wrong += 1


def control():
    global wrong
    before = wrong
    check("Planted: a call with another code", OK, raise_denied)
    if wrong != before + 1:
        sys.exit("another code is not noticed")
    wrong = before
    print("    which is noticed, as it must be")


def raise_denied():
    class Denied(grpc.RpcError):
        code = lambda self: PERMISSION_DENIED
        details = lambda self: "planted"

    raise Denied()


main(*sys.argv[1:])
