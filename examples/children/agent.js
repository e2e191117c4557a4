// An agent, which has a child for two tools and not the key of the service: see check.sh.
//
// The environment has the address, the key and its child prefix: SERVICE_URL, KEY, CHILD_PREFIX.

import { mintChild } from "./mint.js";

const { SERVICE_URL, KEY, CHILD_PREFIX } = process.env;
let checked = 0;

function expect(step, outcome, expected) {
    outcome = JSON.stringify(outcome);
    console.log(`  ${step}: ${outcome}`);
    if (outcome !== JSON.stringify(expected)) throw new Error(`${step}: expected ${JSON.stringify(expected)}`);
    checked += 1;
}

async function rpc(child, method, params) {
    const headers = { authorization: `Bearer ${child}`, "content-type": "application/json" };
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
    const response = await fetch(`${SERVICE_URL}/mcp`, { method: "POST", headers, body });
    return response.ok ? response.json() : { status: response.status };
}

async function list(child) {
    const { result, status } = await rpc(child, "tools/list");
    return result?.tools.map((tool) => tool.name) ?? status;
}

async function call(child, name, args) {
    const { result, error, status } = await rpc(child, "tools/call", { name, arguments: args });
    return result?.content[0].text ?? error?.code ?? status;
}

const make = (limits) => mintChild(KEY, CHILD_PREFIX, { expiresIn: 3600, ...limits });

console.log("Agent");
const all = ["list_machines", "machine_status", "start_job"];
expect("the key lists", await list(KEY), all);
const audience = ["operation:machine_status", "operation:list_machines"];
const child = await make({ audience, resources: { machine: ["mill-1", "mill-2"] } });
expect("the child lists", await list(child), ["list_machines", "machine_status"]);
expect("machine_status of mill-1", await call(child, "machine_status", { machine: "mill-1" }), "utilization 0.81");
expect("machine_status of lathe-1", await call(child, "machine_status", { machine: "lathe-1" }), 403);
expect("start_job", await call(child, "start_job", {}), 403);
expect("start_job, with the key", await call(KEY, "start_job", {}), "started");

const narrow = await make({
    notBefore: new Date(Date.now() - 60_000), scopes: ["reporting"], resources: { machine: "all" },
    networks: ["::1/128", "127.0.0.0/8"], audience: [...audience, "route:POST /mcp"],
    nonce: crypto.getRandomValues(new Uint8Array(16)),
});
expect("a child with every limit lists", await list(narrow), ["list_machines", "machine_status"]);
const other = await make({ audience: ["route:GET /reports/production"] });
expect("a child for another route lists", await list(other), 403);
const report = await fetch(`${SERVICE_URL}/reports/production`, { headers: { authorization: `Bearer ${child}` } });
expect("a report, where no operations are checked", report.status, 403);
console.log(`  ${checked} outcomes as expected`);
