import { setDate } from './text.js';

// All URLs are relative to this script, so the page works wherever it is mounted.
export const at = (path) => new URL(path, import.meta.url);

export class Problem extends Error {
	constructor(kind, body = {}) {
		super(body.detail ?? kind);
		Object.assign(this, { kind, body });
	}
}

export async function call(method, path, { body, version, once } = {}) {
	const headers = { accept: 'application/json' };
	if (body) headers['content-type'] = 'application/json';
	if (version !== undefined) headers['if-match'] = `"${version}"`;
	if (once) headers['idempotency-key'] = once;
	// Without the header, the request would act for the tenant of a user who has signed in in another window.
	if (call.tenant) headers['keyway-tenant'] = encodeURIComponent(call.tenant);
	const request = {
		method,
		headers,
		body: body && JSON.stringify(body),
		// A redirect is taken for one to the sign-in page, so it is not followed.
		redirect: 'manual',
		signal: AbortSignal.timeout(30_000),
	};
	return read(await fetch(at(`api/${path}`), request).catch(lost));
}

/** Reports a network error as a lost connection. An error of the page itself must not get here. */
function lost({ name }) {
	throw new Problem(name === 'TimeoutError' ? 'timeout' : 'lost');
}

async function read(answer) {
	if (answer.type === 'opaqueredirect' || answer.status === 401) throw new Problem('signed-out');
	setDate(answer.headers.get('date'));
	if (answer.status === 204) return null;
	const isJson = /^application\/(problem\+)?json/.test(answer.headers.get('content-type'));
	if (answer.ok && !isJson) throw new Problem('signed-out');
	// The body of a proxy's own error may not match its content type. Its status is enough.
	const body = isJson ? await answer.json().catch((problem) => (answer.ok ? lost(problem) : {})) : {};
	if (answer.ok) return body;
	// The service chooses the link before the name of the type. Problems of proxies and layers have no type.
	throw new Problem(String(body?.type ?? '').split(/[#/:]/).pop(), { ...body, status: answer.status });
}

export const get = (path) => call('GET', path);
export const keyPath = (key, rest = '') => `keys/${key.id}${rest}`;
export const ownerPath = (owner) => `owners/${encodeURIComponent(owner)}/disabled`;
export const tenantPath = (id, rest = '') => `tenants/${encodeURIComponent(id)}${rest}`;

/** Makes requests that can be retried: the same `content` gives the same body and idempotency key. */
export function requests(bodyOf) {
	const made = new Map();
	return (content) => {
		const key = JSON.stringify(content);
		// `randomUUID` is not available on plain http.
		const once = crypto.getRandomValues(new Uint32Array(4)).join('-');
		if (!made.has(key)) made.set(key, { body: bodyOf(content), once });
		return made.get(key);
	};
}
