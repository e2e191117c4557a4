"""Calls the service with `gql`, and compares each outcome.

    client.py URL READER MANAGER DISPLAY

The last argument is a key that the client deletes.
"""

import asyncio
import sys

import aiohttp
from gql import Client, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportError, TransportQueryError
from gql.transport.websockets import WebsocketsTransport
from websockets.exceptions import ConnectionClosed, InvalidStatus

URL, READER, MANAGER, DISPLAY = sys.argv[1:]
COST = 'query ($id: ID!) { first: machine(id: $id) { ...Priced } } fragment Priced on Machine { name cost }'
READINGS = 'subscription ($machine: ID!) { readings(machine: $machine) { number } }'
MILL = {"id": "mill-1"}


def expect(name, outcome, expected):
    if outcome != expected:
        sys.exit(f"{name}: {outcome!r} instead of {expected!r}")
    print(f"python: {name}: {outcome}")


def header(key):
    return {"authorization": f"Bearer {key}"} if key else {}


def http(key, **settings):
    return Client(transport=AIOHTTPTransport(URL, headers=header(key)), **settings)


def socket(key=None, in_header=None):
    payload = header(key)
    url = URL.replace("http", "ws") + "/ws"
    # `gql` looks for the protocol in a header whose name it expects in upper and lower case, as HTTP does not.
    protocols = ["graphql-transport-ws"]
    return Client(transport=WebsocketsTransport(url, init_payload=payload, headers=header(in_header), subprotocols=protocols))


def request(text, **variables):
    request = gql(text)
    request.variable_values = variables
    return request


def reason(error):
    """The code and the missing scopes of the first error."""
    extensions = error.errors[0]["extensions"]
    return [extensions["code"], *extensions.get("missingScopes", [])]


def closed(error):
    """The code with which the server closed the socket, or the status that it responded to the handshake."""
    while error is not None:
        if isinstance(error, ConnectionClosed) and error.rcvd is not None:
            return error.rcvd.code
        if isinstance(error, InvalidStatus):
            return error.response.status_code
        error = error.__cause__ or error.__context__
    return None


async def over_http():
    async with http(READER) as session:
        found = await session.execute(gql("{ machines { id } assets { __typename ... on Gauge { cost } } }"))
        expect("machines of the key", [of["id"] for of in found["machines"]], ["mill-1", "mill-2"])
        expect("interface", found["assets"][2], {"__typename": "Gauge", "cost": 2.5})
        try:
            await session.execute(request(COST, **MILL))
            sys.exit("the cost is not refused")
        except TransportQueryError as error:
            expect("cost without the scope", reason(error), ["FORBIDDEN", "manager.read"])
            expect("rest of the response", error.data, {"first": {"name": "Haas VF-2", "cost": None}})
        batch = await session.execute_batch([gql("{ version }"), gql("{ company }")])
        expect("batch", batch, [{"version": "1"}, {"company": "acme"}])
        try:
            await session.execute(request(COST, id="lathe-1"))
            sys.exit("the other machine is not refused")
        except TransportQueryError as error:
            expect("machine of another key", error.errors[0]["extensions"]["resource"], "machine")
    async with http(MANAGER) as session:
        found = await session.execute(request(COST, **MILL))
        expect("cost with the scope", found["first"]["cost"], 81.0)
    async with http(None) as session:
        expect("public field", await session.execute(gql("{ version }")), {"version": "1"})
        try:
            await session.execute(gql("{ company }"))
            sys.exit("a caller without a key has a company")
        except TransportQueryError as error:
            expect("no key", reason(error), ["UNAUTHENTICATED"])


async def introspection():
    """The client reads the schema, and checks its queries against it."""
    async with http(MANAGER, fetch_schema_from_transport=True) as session:
        expect("schema", "cost" in session.client.schema.type_map["Machine"].fields, True)
    async with http(READER, fetch_schema_from_transport=True) as session:
        expect("hidden field", "cost" in session.client.schema.type_map["Machine"].fields, False)
    try:
        async with http(None, fetch_schema_from_transport=True):
            sys.exit("the schema is described to everyone")
    except TransportQueryError as error:
        expect("schema without a key", reason(error), ["UNAUTHENTICATED"])


async def first_readings(client, machine, count=3):
    numbers = []
    async with client as session:
        async for event in session.subscribe(request(READINGS, machine=machine)):
            numbers.append(event["readings"]["number"])
            if len(numbers) == count:
                break
    return numbers


async def over_websocket():
    expect("key in connection_init", await first_readings(socket(READER), "mill-1"), [0, 1, 2])
    expect("key in the header", await first_readings(socket(in_header=READER), "mill-1"), [0, 1, 2])
    for name, client, code in [
        ("socket without a key", socket(), 4403),
        ("socket with a made-up key", socket("mm_live_made-up"), 4403),
        ("handshake with a made-up key", socket(in_header="mm_live_made-up"), 401),
        ("socket with two keys", socket(READER, in_header=READER), 4403),
    ]:
        try:
            await first_readings(client, "mill-1")
            sys.exit(f"{name}: readings")
        except (TransportError, ConnectionClosed, InvalidStatus) as error:
            expect(name, closed(error), code)
    try:
        await first_readings(socket(READER), "lathe-1")
        sys.exit("readings of another machine")
    except TransportQueryError as error:
        expect("readings of another machine", error.errors[0]["extensions"]["code"], "FORBIDDEN")


async def until_deleted():
    """A subscription ends when its key is deleted, and another goes on."""
    async with socket(READER) as other, socket(DISPLAY) as session:
        others = other.subscribe(request(READINGS, machine="mill-2"))
        await anext(others)
        try:
            async for event in session.subscribe(request(READINGS, machine="mill-1")):
                if event["readings"]["number"] == 2:
                    async with aiohttp.ClientSession(headers=header(DISPLAY)) as plain:
                        async with plain.delete(URL.replace("/graphql", "/key")) as response:
                            expect("deleted key", response.status, 204)
            sys.exit("the subscription ended without an error")
        except TransportQueryError as error:
            expect("subscription of a deleted key", reason(error), ["UNAUTHENTICATED"])
        await asyncio.sleep(1)
        try:
            async for _ in session.subscribe(request(READINGS, machine="mill-1")):
                sys.exit("the socket stays open")
        except (TransportError, ConnectionClosed) as error:
            expect("socket of a deleted key", closed(error), 4401)
        expect("subscription of the other key", (await anext(others))["readings"]["number"] > 0, True)
        await others.aclose()


async def main():
    await over_http()
    await introspection()
    await over_websocket()
    await until_deleted()


asyncio.run(main())
