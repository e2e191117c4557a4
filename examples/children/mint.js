// Makes children (short-lived keys) of a keyway key, offline, in Node 20 or later and in browsers. The module
// `children` of keyway documents the format. The child prefix is given out with the token.
//
//     const child = await mintChild(token, childPrefix, { expiresIn: 3600, scopes: ["reporting"] });

/**
 * Limits: `expiresAt` (a Date or milliseconds) or `expiresIn` (seconds), `notBefore`, `scopes`, `networks` as the
 * server shows them (`192.0.2.0/24`, none within or next to another), `audience` (`host:`, `operation:` or `route:`
 * and a name), `nonce` (a Uint8Array), and `resources`: `{ machine: ["press-1"] }` or `{ machine: "all" }`.
 */
export async function mintChild(token, childPrefix, limits) {
    const { expiresAt, expiresIn, notBefore, scopes, resources, networks, audience, nonce, ...others } = limits;
    // A misspelled limit that was left out would permit more.
    for (const name in others) check(false, `there is no limit \`${name}\``);
    const form = /^([a-z0-9]+_[a-z0-9]+_[A-Za-z0-9]{16})([A-Za-z0-9]{32})[A-Za-z0-9]{8}$/.exec(token);
    check(form, "this is not the token of an API key");
    const [, key, secret] = form;
    const isPrefix = childPrefix.startsWith(key) && /^[A-Za-z0-9_-]{8}~$/.test(childPrefix.slice(key.length));
    check(isPrefix, "this is not the child prefix of the API key");
    check((expiresAt === undefined) !== (expiresIn === undefined), "`expiresAt` or `expiresIn` is needed");
    const end = expiresAt ?? Date.now() + Math.round(expiresIn * 1000);
    check((notBefore ?? 0) < end, "the end is no time after the begin");
    const isNonce = nonce === undefined || (nonce instanceof Uint8Array && nonce.length > 0 && nonce.length <= 32);
    check(isNonce, "a nonce has 1 to 32 bytes");

    const lists = Object.entries({ scopes, resources, networks, audience }).map(
        ([name, items]) => items === undefined ? undefined : joined(lines(name, items)));
    const values = [time(end), notBefore === undefined ? undefined : time(notBefore), ...lists, nonce && text(nonce)];
    const caveats = values.map((value, at) => value === undefined ? "" :
        String.fromCharCode(at + 1, value.length >> 8, value.length & 255) + value).join("");
    const length = childPrefix.length + Math.ceil((caveats.length + 64) * 4 / 3);
    check(length <= 1024, `the child would have ${length} bytes, and at most 1024 are allowed`);

    const purpose = "keyway/v1/child\0";
    const hkdf = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: bytes(purpose + key) };
    const secretKey = await crypto.subtle.importKey("raw", bytes(secret), "HKDF", false, ["deriveBits"]);
    const seed = text(await crypto.subtle.deriveBits(hkdf, secretKey, 256));
    // The head of an Ed25519 key in PKCS #8 (RFC 8410), which ends with the seed.
    const pkcs8 = bytes("\x30\x2e\x02\x01\0\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20" + seed);
    const signer = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
    const signature = text(await crypto.subtle.sign("Ed25519", signer, bytes(purpose + childPrefix + caveats)));
    return childPrefix + btoa(caveats + signature).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
}
function lines(name, items) {
    const list = name === "resources" ? Object.keys(items) : items;
    check(Array.isArray(list) && list.length > 0, `\`${name}\` must be a list with an item`);
    for (const item of list) { // One with a line break would be several items.
        const isText = typeof item === "string" && /^[^\p{Cc}\p{Cs}]+$/u.test(item);
        check(isText, `\`${name}\` has an item that is not a text of one line`);
        check(name !== "audience" || /^(host|operation|route):./.test(item), `\`${item}\` is no audience`);
    }
    const ofKind = (kind) => lines(`resources.${kind}`, items[kind]).map((id) => `${kind}\t${id}`);
    return list === items ? items : list.flatMap((kind) => items[kind] === "all" ? kind : ofKind(kind));
}
// These texts have one character for each byte, so that their order is that of UTF-8.
const joined = (items) => [...new Set(items.map((item) => text(new TextEncoder().encode(item))))].sort().join("\n");
const time = (date) => String.fromCharCode(...[56, 48, 40, 32, 24, 16, 8, 0].map((bit) => date / 2 ** bit & 255));
const text = (buffer) => String.fromCharCode(...new Uint8Array(buffer));
const bytes = (characters) => Uint8Array.from(characters, (character) => character.charCodeAt(0));
function check(condition, message) { if (!condition) throw new RangeError(message); }
