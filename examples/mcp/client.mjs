// Drives the server with the official TypeScript SDK: see check.sh.
//
// The environment has the address and the keys: FACTORY_URL, READER, OPERATOR.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const { FACTORY_URL, READER, OPERATOR } = process.env;
const READS = ["list_machines", "machine_status", "ping", "watch_machine"];
const ALL = [...READS, "list_jobs", "report_downtime", "start_job"].sort();
let checked = 0;

function expect(step, outcome, expected) {
    outcome = JSON.stringify(outcome);
    console.log(`  ${step}: ${outcome}`);
    if (outcome !== JSON.stringify(expected)) {
        throw new Error(`${step}: expected ${JSON.stringify(expected)}`);
    }
    checked += 1;
}

async function connect(key) {
    const client = new Client({ name: "check", version: "0" });
    const requestInit = { headers: { Authorization: `Bearer ${key}` } };
    const url = new URL(`${FACTORY_URL}/mcp`);
    await client.connect(new StreamableHTTPClientTransport(url, { requestInit }));
    return client;
}

async function call(client, name, args) {
    try {
        const result = await client.callTool({ name, arguments: args });
        return result.isError ? "error" : "ok";
    } catch (error) {
        return [error.code, error.data?.scopes ?? error.data?.resource];
    }
}

console.log("TypeScript SDK");
const reader = await connect(READER);
expect("reader lists", (await reader.listTools()).tools.map((tool) => tool.name), READS);
expect("machine_status of mill-1", await call(reader, "machine_status", { machine: "mill-1" }), "ok");
expect("machine_status of lathe-1", await call(reader, "machine_status", { machine: "lathe-1" }), [403, "machine"]);
expect("start_job", await call(reader, "start_job", { job: "job-9" }), [403, ["operator.jobs"]]);
const operator = await connect(OPERATOR);
expect("operator lists", (await operator.listTools()).tools.map((tool) => tool.name), ALL);
expect("start_job", await call(operator, "start_job", { job: "job-8" }), "ok");
const forged = await connect("mm_live_forged").then(() => "connected", (error) => error.code);
expect("a forged key", forged, 401);
await reader.close();
await operator.close();
console.log(` ${checked} outcomes as expected`);
