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
	if (version) headers['if-match'] = `"${version}"`;
	if (once) headers['idempotency-key'] = once;
	// Else it would go on for whoever signs in beside it.
	if (call.tenant) headers['keyway-tenant'] = encodeURIComponent(call.tenant);
	try {
		return await read(await fetch(at(`api/${path}`), {
			method,
			headers,
			body: body && JSON.stringify(body),
			// A redirect leads to a sign-in page.
			redirect: 'manual',
			signal: AbortSignal.timeout(30_000),
		}));
	} catch (error) {
		throw error instanceof Problem ? error : new Problem('lost');
	}
}

async function read(answer) {
	if (answer.type === 'opaqueredirect' || answer.status === 401) throw new Problem('signed-out');
	if (answer.status === 204) return null;
	const isJson = /^application\/(problem\+)?json/.test(answer.headers.get('content-type'));
	if (!isJson) throw new Problem(answer.ok ? 'signed-out' : answer.status === 503 ? 'unavailable' : 'unexpected');
	const body = await answer.json();
	if (answer.ok) return body;
	throw new Problem(body.type?.split('#')[1] || 'unexpected', body);
}

export const get = (path) => call('GET', path);
export const keyPath = (key, rest = '') => `keys/${key.id}${rest}`;
export const tenantPath = (id, rest = '') => `tenants/${encodeURIComponent(id)}${rest}`;

/** Requests that can be tried again: the same `content` gives the same body and the same name. */
export function requests(bodyOf) {
	const made = new Map();
	return (content) => {
		const key = JSON.stringify(content);
		// `randomUUID` is missing on plain http.
		const once = crypto.getRandomValues(new Uint32Array(4)).join('-');
		if (!made.has(key)) made.set(key, { body: bodyOf(content), once });
		return made.get(key);
	};
}
