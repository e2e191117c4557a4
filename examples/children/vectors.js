// Makes each child of tests/vectors/children.json with `mint.js`: node vectors.js FILE

import { readFileSync } from "node:fs";
import { mintChild } from "./mint.js";

const { children, refused } = JSON.parse(readFileSync(process.argv[2], "utf8"));
let [wrong, refusals] = [0, 0];

function limits({ expires_at, not_before, nonce, ...others }) {
    const made = { expiresAt: new Date(expires_at), ...others };
    if (not_before !== undefined) made.notBefore = new Date(not_before);
    if (nonce !== undefined) made.nonce = Uint8Array.from(Buffer.from(nonce, "hex"));
    return made;
}

/** Checks that a request is refused with a message that contains `expected`. */
async function refuse(name, request, expected, { token, child_prefix } = children[0]) {
    const made = mintChild(token, child_prefix, request);
    const message = await made.then(() => "a child is made", (error) => error.message);
    refusals += 1;
    if (!message.includes(expected)) report(`${name}: ${message}`);
}

function report(message) {
    console.log(`JavaScript: ${message}`);
    wrong += 1;
}

for (const { name, token, child_prefix, request, child } of children)
    if (await mintChild(token, child_prefix, limits(request)) !== child) report(`${name}: another child`);
for (const { name, error, request } of refused) await refuse(name, limits(request), error);

const [{ token, child_prefix, child }] = children;
const needed = "`expiresAt` or `expiresIn` is needed";
await refuse("no end", {}, needed);
await refuse("two ends", { expiresIn: 60, expiresAt: Date.now() }, needed);
await refuse("end that is no time", { expiresAt: new Date("soon") }, "no time after the begin");
await refuse("lifetime that is no number", { expiresIn: "an hour" }, "no time after the begin");
await refuse("limit with another name", { expiresIn: 60, scope: ["reporting"] }, "no limit `scope`");
await refuse("no kind of resource", { expiresIn: 60, resources: {} }, "must be a list with an item");
await refuse("text for a list", { expiresIn: 60, scopes: "reporting" }, "must be a list with an item");
await refuse("number in a list", { expiresIn: 60, resources: { machine: [1] } }, "not a text of one line");
await refuse("half a character", { expiresIn: 60, resources: { machine: ["\ud83d"] } }, "not a text of one line");
await refuse("far too long", { expiresIn: 60, scopes: ["x".repeat(70_000)] }, "at most 1024");
await refuse("child of a child", { expiresIn: 60 }, "not the token", { token: child, child_prefix });
const other = children.find((vector) => vector.token !== token).child_prefix;
for (const prefix of [other, token.slice(0, 24)])
    await refuse(`prefix ${prefix}`, { expiresIn: 60 }, "not the child prefix", { token, child_prefix: prefix });

if (wrong > 0) process.exit(1);
console.log(`JavaScript makes ${children.length} children as Rust does, and refuses ${refusals} requests`);
