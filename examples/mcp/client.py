"""Drives the server with the official Python SDK, in the versions with and without sessions: see check.sh.

The environment has the address and the keys: FACTORY_URL, READER, OPERATOR, DELETED.
"""

import asyncio
import os
import sys

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

URL = os.environ["FACTORY_URL"]
READS = ["list_machines", "machine_status", "ping", "watch_machine"]
ALL = sorted([*READS, "list_jobs", "report_downtime", "start_job"])
checked = 0


def expect(step, outcome, expected):
    global checked
    print(f"  {step}: {outcome}")
    if outcome != expected:
        sys.exit(f"{step}: expected {expected}")
    checked += 1


def http(key):
    return httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=20)


async def call(client, tool, **arguments):
    """Returns `ok`, `error`, or the code and data of the refusal."""
    try:
        result = await client.call_tool(tool, arguments)
    except MCPError as error:
        return error.error.code, error.error.data
    return "error" if result.is_error else "ok"


async def as_an_agent(mode, key, steps):
    async with http(key) as session:
        async with Client(streamable_http_client(f"{URL}/mcp", http_client=session), mode=mode) as client:
            await steps(client)


async def reader(client):
    tools = [tool.name for tool in (await client.list_tools()).tools]
    expect("reader lists", tools, READS)
    expect("machine_status of mill-1", await call(client, "machine_status", machine="mill-1"), "ok")
    code, data = await call(client, "machine_status", machine="lathe-1")
    expect("machine_status of lathe-1", (code, data["resource"]), (403, "machine"))
    code, data = await call(client, "start_job", job="job-9")
    expect("start_job", (code, data["scopes"]), (403, ["operator.jobs"]))
    code, data = await call(client, "planted")
    expect("a tool that does not exist", (code, data), (-32602, None))
    seen = []

    async def on_progress(progress, total, message):
        seen.append(progress)

    arguments = {"machine": "mill-1", "readings": 3}
    await client.call_tool("watch_machine", arguments, progress_callback=on_progress)
    expect("progress of watch_machine", seen, [1, 2, 3])


async def operator(client):
    tools = [tool.name for tool in (await client.list_tools()).tools]
    expect("operator lists", tools, ALL)
    expect("start_job", await call(client, "start_job", job="job-8"), "ok")


async def deleted(client):
    """Deletes the key in the middle of a tool that would run for five minutes."""
    expect("ping", await call(client, "ping"), "ok")
    running = asyncio.create_task(call(client, "watch_machine", machine="mill-1", readings=3000))
    await asyncio.sleep(0.5)
    key = os.environ["DELETED"]
    async with http(key) as holder:
        expect("DELETE /key", (await holder.delete(f"{URL}/key")).status_code, 204)
    code, data = await asyncio.wait_for(running, 20)
    expect("watch_machine has ended", (code, data["type"].split("#")[1]), (401, "invalid-token"))
    try:
        outcome = await call(client, "ping")
    except Exception as error:
        outcome = type(error).__name__
    expect("ping fails", outcome != "ok", True)


async def refused(mode, key):
    """Returns the status of the refusal."""
    statuses = []

    async def on_response(response):
        statuses.append((response.status_code, response.headers.get("www-authenticate")))

    async with http(key) as session:
        session.event_hooks["response"].append(on_response)
        try:
            async with Client(streamable_http_client(f"{URL}/mcp", http_client=session), mode=mode):
                return "connected"
        except BaseException:
            return statuses[-1]


async def main():
    print("Python SDK")
    for mode in ["legacy", "auto"]:
        print(f" mode {mode}")
        await as_an_agent(mode, os.environ["READER"], reader)
        await as_an_agent(mode, os.environ["OPERATOR"], operator)
        challenge = 'Bearer realm="mm", error="invalid_token"'
        expect("a forged key", await refused(mode, "mm_live_forged"), (401, challenge))
    await as_an_agent("legacy", os.environ["DELETED"], deleted)
    print(f" {checked} outcomes as expected")


asyncio.run(main())
