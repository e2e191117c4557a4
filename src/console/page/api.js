// All URLs are relative to this script, so the page works wherever it is mounted.
const base = new URL('.', import.meta.url);
const PATIENCE = 30_000;

export const at = (path) => new URL(path, base);

/** What went wrong. `kind` is one of the service's, or `lost`, `signed-out` or `unexpected`. */
export class Problem extends Error {
	constructor(kind, body = {}) {
		super(body.detail ?? body.title ?? kind);
		this.kind = kind;
		this.body = body;
		this.field = body.field;
	}
}

export async function call(method, path, { body, version, once, signal } = {}) {
	const headers = { accept: 'application/json' };
	if (body !== undefined) headers['content-type'] = 'application/json';
	if (version !== undefined) headers['if-match'] = `"${version}"`;
	if (once !== undefined) headers['idempotency-key'] = once;

	const patience = new AbortController();
	const timer = setTimeout(() => patience.abort(), PATIENCE);
	signal?.addEventListener('abort', () => patience.abort());
	try {
		const answer = await fetch(at(`api/${path}`), {
			method,
			headers,
			body: body === undefined ? undefined : JSON.stringify(body),
			cache: 'no-store',
			// A redirect leads to a sign-in page, which is of no use here.
			redirect: 'manual',
			signal: patience.signal,
		});
		return await read(answer);
	} catch (error) {
		throw error instanceof Problem ? error : new Problem('lost');
	} finally {
		clearTimeout(timer);
	}
}

async function read(answer) {
	if (answer.type === 'opaqueredirect' || answer.status === 401) throw new Problem('signed-out');
	if (answer.status === 204) return null;
	const type = answer.headers.get('content-type') ?? '';
	if (!/^application\/(problem\+)?json/.test(type)) {
		if (answer.status === 503) throw new Problem('unavailable');
		throw new Problem(answer.ok ? 'signed-out' : 'unexpected', { status: answer.status });
	}
	const body = await answer.json();
	if (answer.ok) return body;
	throw new Problem(String(body.type ?? '').split('#')[1] || 'unexpected', body);
}

export const get = (path, options) => call('GET', path, options);
export const keyPath = (key, rest = '') => `keys/${encodeURIComponent(key.id)}${rest}`;
export const tenantPath = (id, rest = '') => `tenants/${encodeURIComponent(id)}${rest}`;

/** A random UUID; `crypto.randomUUID` is missing on plain http. */
export function uuid() {
	if (crypto.randomUUID) return crypto.randomUUID();
	const bytes = crypto.getRandomValues(new Uint8Array(16));
	bytes[6] = (bytes[6] & 0x0f) | 0x40;
	bytes[8] = (bytes[8] & 0x3f) | 0x80;
	const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
	return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** Names a request: the same request gets the same name, so that a retry cannot happen twice. */
export function onceFor() {
	const names = new Map();
	return (request) => {
		const content = JSON.stringify(request);
		if (!names.has(content)) names.set(content, uuid());
		return names.get(content);
	};
}
