// Calls the service with `graphql-request` and `graphql-ws`, and compares each outcome.
//
//     node client.mjs URL READER MANAGER DISPLAY
//
// The last argument is a key that the client deletes.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { deepStrictEqual } from "node:assert";

// The packages are in the folder from which the client is started.
const require = createRequire(pathToFileURL(process.cwd() + "/"));
const { GraphQLClient } = require("graphql-request");
const { createClient } = require("graphql-ws");
const WebSocket = require("ws");

const [url, reader, manager, display] = process.argv.slice(2);
const readings = 'subscription { readings(machine: "mill-1") { number } }';
const cost = '{ first: machine(id: "mill-1") { ... on Asset { cost } } }';

function expect(name, outcome, expected) {
  deepStrictEqual(outcome, expected, name);
  console.log(`node: ${name}: ${JSON.stringify(outcome)}`);
}

const header = (key) => (key ? { authorization: `Bearer ${key}` } : {});
const http = (key) => new GraphQLClient(url, { headers: header(key) });

async function code(call) {
  try {
    await call;
    return "none";
  } catch (error) {
    return error.response.errors[0].extensions.code;
  }
}

function socket(key, settings = {}) {
  return createClient({
    url: url.replace("http", "ws") + "/ws",
    webSocketImpl: WebSocket,
    connectionParams: header(key),
    retryAttempts: 0,
    ...settings,
  });
}

async function closed(client) {
  try {
    for await (const _ of client.iterate({ query: readings })) return "open";
  } catch (error) {
    return error.code;
  }
  return "complete";
}

expect("cost with the scope", (await http(manager).request(cost)).first.cost, 81);
expect("cost without the scope", await code(http(reader).request(cost)), "FORBIDDEN");
expect("mutation without the scope", await code(http(reader).request('mutation { startJob(machine: "mill-1", job: "a") }')), "FORBIDDEN");
expect("no key", await code(http().request("{ company }")), "UNAUTHENTICATED");
expect("batch", (await http(reader).batchRequests([{ document: "{ version }" }, { document: "{ company }" }])).length, 2);

expect("socket without a key", await closed(socket()), 4403);
expect("socket with a made-up key", await closed(socket("mm_live_made-up")), 4403);
expect("socket with a key", await closed(socket(reader)), "open");
// The client tries again after 4403, since access may be granted later. It does so as often as it is told.
let tries = 0;
const patient = socket(undefined, { retryAttempts: 2, retryWait: async () => {}, on: { opened: () => (tries += 1) } });
expect("socket without a key, patiently", [await closed(patient), tries], [4403, 3]);

let connections = 0;
// The client would close a socket without subscriptions at once.
const client = socket(display, { lazyCloseTimeout: 5000, retryAttempts: 5, retryWait: async () => {}, on: { connected: () => (connections += 1) } });
const stopped = new Promise((resolve) => client.on("closed", (event) => resolve(event.code)));
const codes = [];
for await (const event of client.iterate({ query: readings })) {
  if (event.errors) codes.push(event.errors[0].extensions.code);
  else if (event.data.readings.number === 2) {
    const response = await fetch(url.replace("/graphql", "/key"), { method: "DELETE", headers: header(display) });
    expect("deleted key", response.status, 204);
  }
}
expect("subscription of a deleted key", codes, ["UNAUTHENTICATED"]);
expect("socket of a deleted key", await Promise.race([stopped, new Promise((resolve) => setTimeout(resolve, 5000, "open"))]), 4401);
expect("connections", connections, 1);
process.exit(0);
