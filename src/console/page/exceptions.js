import { allowanceRows, MOST } from './allowances.js';
import { call, tenantPath } from './api.js';
import { announce, day, h, notice } from './dom.js';
import { checked, fault, field, openDialog, radios } from './forms.js';
import { scopeTree } from './scopes.js';
import { allowanceText, rich, span, t, tn } from './text.js';

const DAY = 86_400;

/** The limits that an exception can replace, each with the API's word for no limit. */
const LIMITS = {
	keys: null, rate: 'unlimited', tenant_rate: 'unlimited', allowances: 'unlimited', max_lifetime_seconds: 'unlimited',
	scopes: 'all',
};

function textOf(name, limit) {
	if (limit === LIMITS[name]) return t(`limit.${limit}`);
	if (name === 'scopes') return limit.join(', ') || t('key.no_scopes');
	if (name === 'max_lifetime_seconds') return span(limit);
	if (name === 'keys') return limit;
	if (name === 'allowances') return limit.map(allowanceText).join(', ');
	return tn('limit.rate', limit.requests, { requests: limit.requests, span: span(limit.per_seconds) });
}

/** Returns the exceptions that are set, as texts. */
export const exceptionTexts = (exceptions) => Object.keys(LIMITS).filter((name) => name in exceptions)
	.map((name) => t('action.of', { action: t(`field.${name}`), name: textOf(name, exceptions[name]) }));

/** Creates the controls of a value of the limit `name`. `held` is the value that is set, if any. */
function valueOf(name, held, catalogue) {
	if (name === 'scopes') {
		const { node, read } = scopeTree(catalogue.map((scope) => ({ ...scope, grantable: true })), held ?? []);
		return { nodes: node, read };
	}
	const [parts, values] = {
		keys: [['number'], [held]],
		max_lifetime_seconds: [['days'], [held && held / DAY]],
	}[name] ?? [['requests', 'seconds'], [held?.requests, held?.per_seconds]];
	const inputs = parts.map((part, index) => h('input', {
		type: 'number', name: `${name}-${part}`, value: values[index], required: true,
		min: name === 'keys' || part === 'days' ? 0 : 1, max: 4_294_967_295, step: part === 'days' ? 'any' : 1,
	}));
	const read = () => {
		if (!inputs.every((input) => input.checkValidity())) throw fault(name, 'limit.invalid');
		const [first, per_seconds] = inputs.map(({ value }) => Number(value));
		if (per_seconds) return { requests: first, per_seconds };
		return name === 'keys' ? first : Math.round(first * DAY);
	};
	return { nodes: inputs.map((input, index) => h('label', t(`limit.${parts[index]}`), input)), read };
}

/** Creates the field of one limit: as the tier, a value, or no limit. */
function limitField(name, { held, given, catalogue }) {
	const word = LIMITS[name];
	const isValue = held !== undefined && held !== word;
	// A list of allowances replaces all of the tier's, and so begins with them.
	const value = name === 'allowances' ? allowanceRows([held, given].find(Array.isArray))
		: valueOf(name, isValue ? held : undefined, catalogue);
	const node = radios(`limit-${name}`, [
		['tier', t('limit.tier', { limit: given === undefined ? '?' : textOf(name, given) })],
		...(word ? [[word, t(`limit.${word}`)]] : []),
		['value', t(['allowances', 'scopes'].includes(name) ? 'resource.only' : 'limit.value')],
	], held === undefined ? 'tier' : isValue ? 'value' : word);
	const radio = node.querySelector('[value=value]');
	radio.parentElement.append(h('div.values', { input: () => radio.click() }, value.nodes));
	const read = () => {
		const chosen = checked(node, `limit-${name}`);
		if (chosen === 'value') return value.read();
		return chosen === 'tier' ? undefined : chosen;
	};
	return { node: field(name, node, name === 'allowances' && t('hint.allowances', { most: MOST })), read };
}

/** Opens the form for the exceptions of a tenant. They are saved only after their effect was shown. */
export function exceptionsDialog({ tenant, session, onSaved, onConflict }) {
	const { id, version, tier, exceptions } = tenant;
	const given = session.tiers.find(({ name }) => name === tier)?.limits ?? {};
	// Without a store of limits the service refuses allowances, so there is a field only to take them away.
	const names = Object.keys(LIMITS).filter((name) => name !== 'allowances' || session.allowances || name in exceptions);
	const fields = names.map((name) => [name,
		limitField(name, { held: exceptions[name], given: given[name], catalogue: session.scopes })]);
	const preview = h('div', { role: 'status', id: 'exceptions-preview' });
	const read = () => Object.fromEntries(fields.map(([name, limit]) => [name, limit.read()]));
	// The body whose effect is shown.
	let shown;

	function show(body, ...effect) {
		shown = body;
		preview.replaceChildren(...effect);
		preview.closest('form').querySelector('[type=submit] span').textContent = t(`action.${body ? 'save' : 'preview'}`);
	}

	openDialog({
		id: 'exceptions', name: id, action: 'preview',
		body: h('div.fields', { input: () => show() },
			h('p', t('exceptions.text')), fields.map(([, { node }]) => node), preview),
		submit: async () => {
			const body = read();
			const text = JSON.stringify(body);
			if (shown !== text) {
				const change = await call('POST', tenantPath(id, '/exceptions/preview'), { body });
				show(text, consequences(change), h('p.hint', t('exceptions.preview')));
				preview.scrollIntoView({ block: 'nearest' });
				return false;
			}
			return call('PUT', tenantPath(id, '/exceptions'), { version, body }).then(() => () => {
				onSaved();
				announce(rich('exceptions.done', { tenant: id }));
			}).catch(onConflict);
		},
	});
}

/** Returns a notice of what a change of tier or exceptions does to the keys of a tenant. */
export function consequences({ held, allowed, over, narrowed, ended, complete }) {
	const harmless = !over && !narrowed.length && !ended.length && complete;
	return notice(harmless ? 'good' : 'warn',
		h('p', tn('tier.held', held, { held, allowed })),
		over > 0 && h('p', h('strong', tn('tier.over', over))),
		narrowed.length > 0 && [h('p', tn('tier.narrowed', narrowed.length)),
			h('ul', narrowed.map(({ name, loses }) => h('li', h('bdi', name), `: ${loses.join(', ')}`)))],
		ended.length > 0 && [h('p', tn('tier.ended', ended.length)),
			h('ul', ended.map(({ name, ends_at }) => h('li', h('bdi', name), ': ', day(ends_at))))],
		!complete && h('p', t('tier.incomplete')),
		harmless && h('p', t('tier.harmless')));
}
