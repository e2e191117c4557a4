import { call, get, keyPath, onceFor } from './api.js';
import { announce, bdi, button, freshId, h, when } from './dom.js';
import {
	checked, explain, fault, field, fromLocal, group, notice, openDialog, radios, showFieldError, toLocal,
} from './forms.js';
import { showOnce } from './one-time.js';
import { scopeTree } from './scopes.js';
import { daysFromNow, has, moment, rich, t } from './text.js';

const PRESETS = ['7', '30', '90', '365'];
const OVERLAPS = ['until_first_use', 'none', '3600', '86400', '604800', '2592000'];

/** What a form shows of a key; the form reads back the same shape. */
const shownOf = (key) => ({
	name: key?.name ?? '',
	scopes: key?.scopes ?? [],
	expiry: key ? 'keep' : '',
	expires_on: '',
	not_before: toLocal(key?.not_before),
	labels: Object.entries(key?.labels ?? {}),
	enabled: key?.enabled ?? true,
});

function keyForm(shown, session, key) {
	const name = h('input', { type: 'text', name: 'name', value: shown.name, autofocus: true, required: true });
	const enabled = h('input', { type: 'checkbox', name: 'enabled', id: freshId('enabled'), checked: shown.enabled });
	const starts = h('input', { type: 'datetime-local', name: 'not_before', value: shown.not_before });
	const scopes = scopeTree(session.scopes, shown.scopes);
	const expiry = expiryField(shown, longestOf(session), key);
	const labels = labelsField(shown.labels);

	const node = h('div.fields',
		field('name', name, { hint: key ? null : t('hint.name') }),
		key && h('div.field.choice', enabled,
			h('label', { for: enabled.id }, t('field.enabled')), h('span.note', t('hint.enabled'))),
		group('scopes', scopes.node, { hint: t('hint.scopes') }),
		group('expires_at', expiry, { role: 'radiogroup', hint: t('hint.expires_at') }),
		h('details', { open: labels.any() || Boolean(shown.not_before) },
			h('summary', t('create.more')),
			field('not_before', starts, { optional: true, hint: t('hint.not_before') }),
			group('labels', labels.node, { hint: t('hint.labels') })));

	const read = () => ({
		name: name.value,
		scopes: scopes.read(),
		expiry: checked(node, 'expiry'),
		expires_on: node.querySelector('[name=expires_on]').value,
		not_before: starts.value,
		labels: labels.read(),
		enabled: enabled.checked,
	});
	return { node, read };
}

const longestOf = (session) => session.tenant.max_lifetime_days ?? Infinity;

function expiryField(shown, longest, key) {
	const dayIn = (days) => toLocal(daysFromNow(days)).slice(0, 10);
	const day = h('input', {
		type: 'date', name: 'expires_on', value: shown.expires_on, 'aria-label': t('expiry.date_label'),
		min: dayIn(0), max: longest < Infinity && dayIn(longest),
		input: () => {
			choices.querySelector('[value=date]').checked = true;
		},
	});
	const limit = (days) => (days > longest ? { disabled: true, hint: t('expiry.too_long', { days: longest }) } : {});
	const current = key?.expires_at ? moment(key.expires_at) : t('never');
	const choices = radios('expiry', [
		...(key ? [{ value: 'keep', label: t('expiry.keep', { date: current }) }] : []),
		...PRESETS.map((days) => ({ value: days, label: t(`expiry.${days}`), ...limit(Number(days)) })),
		{ value: 'date', label: t('expiry.date') },
		{ value: 'never', label: t('never'), ...limit(Number.MAX_VALUE) },
	], shown.expiry, () => {
		if (checked(choices, 'expiry') === 'date') day.focus();
	});
	choices.querySelector('[value=date]').parentElement.append(day);
	return choices;
}

function labelsField(entries) {
	const input = (part, value) => h('input', {
		type: 'text', name: `label_${part}`, value, 'aria-label': t(`label.${part}`), placeholder: t(`label.${part}`),
	});
	const rows = h('div.labels');
	const add = ([name, value] = ['', '']) => {
		const row = h('div.row',
			input('name', name), input('value', value),
			button('close', { look: 'icon.quiet', text: t('label.remove'), of: name, 'data-action': 'remove-label' }, () => {
				row.remove();
				node.querySelector('[data-action=add-label]').focus();
			}));
		rows.append(row);
		return row;
	};
	entries.forEach(add);
	const node = h('div', rows, button('add-label', {}, () => add().querySelector('input').focus()));
	const read = () => [...rows.children]
		.map((row) => [...row.querySelectorAll('input')].map((each) => each.value))
		.filter(([name, value]) => name || value);
	return { node, read, any: () => entries.length > 0 };
}

/** The members of a request that `names` lists. Throws a problem where the service could not see one. */
function members(form, names, session) {
	const body = {};
	for (const name of names) {
		if (name === 'labels') body.labels = labelsOf(form.labels);
		else if (name === 'not_before') body.not_before = fromLocal(form.not_before);
		else if (name === 'expiry' || name === 'expires_on') Object.assign(body, expiryOf(form, session));
		else body[name] = form[name];
	}
	return body;
}

function labelsOf(entries) {
	if (new Set(entries.map(([name]) => name)).size < entries.length) throw fault('labels', 'label.twice');
	return Object.fromEntries(entries);
}

function expiryOf({ expiry, expires_on: day }, session) {
	if (expiry === 'keep') return {};
	if (expiry === 'never') return { expires_at: null };
	if (!expiry) throw fault('expires_at', 'expiry.missing');
	if (expiry === 'date' && !day) throw fault('expires_at', 'expiry.no_date');
	// The whole of the chosen day; and a minute less than the longest, for clocks differ.
	const end = expiry === 'date' ? new Date(`${day}T23:59:59`).getTime() : daysFromNow(Number(expiry));
	const time = Math.min(end, daysFromNow(longestOf(session)) - 60_000);
	return { expires_at: new Date(Math.round(time / 1_000) * 1_000).toISOString() };
}

export function createDialog({ session, onCreated, onFull }) {
	const form = keyForm(shownOf(), session);
	const once = onceFor();
	const bodies = new Map();
	openDialog({
		id: 'create',
		action: 'save',
		body: form.node,
		submit: async () => {
			const shown = form.read();
			const content = JSON.stringify(shown);
			// "In 30 days" must not move between two tries of the same request.
			if (!bodies.has(content)) {
				bodies.set(content, members(shown, ['name', 'scopes', 'labels', 'not_before', 'expiry'], session));
			}
			const body = bodies.get(content);
			const answer = await call('POST', 'keys', { body, once: once(body) }).catch((problem) => {
				if (problem.kind === 'quota-exceeded') onFull(problem.body);
				throw problem;
			});
			return () => {
				onCreated(answer.key, answer.replayed);
				issued(answer, session, { onChanged: (key) => onCreated(key, true) });
			};
		},
	});
}

function issued(answer, session, { rotated = false, onChanged }) {
	if (answer.token) {
		return showOnce({ name: answer.key.name, token: answer.token, curl: session.service.curl, rotated });
	}
	const shell = openDialog({
		id: 'replayed',
		cancel: null,
		body: [h('p', rich('replayed.text', { name: answer.key.name })), h('p', t('replayed.advice'))],
	});
	shell.foot.append(
		button('done', {}, shell.close),
		button('rotate', { look: 'primary' }, () => {
			shell.close();
			rotateDialog({ key: answer.key, session, onChanged });
		}));
}

export function editDialog({ key, session, onChanged, onGone }) {
	let form = keyForm(shownOf(key), session, key);
	let before = form.read();
	const news = h('div', { tabindex: '-1' });

	const touched = () => {
		const after = form.read();
		return Object.fromEntries(Object.entries(after).filter(([name, value]) =>
			JSON.stringify(value) !== JSON.stringify(before[name])));
	};

	// What was typed stays, what was left alone follows the key as it is now.
	const rebase = (fresh) => {
		const mine = touched();
		const changes = differences(key, fresh);
		key = fresh;
		const untouched = keyForm(shownOf(key), session, key);
		before = untouched.read();
		const next = Object.keys(mine).length ? keyForm({ ...before, ...mine }, session, key) : untouched;
		form.node.replaceWith(next.node);
		form = next;
		news.replaceChildren(notice('warn', h('p', h('strong', t('conflict.edit'))),
			changes.length ? h('ul', changes) : h('p', t('conflict.same'))));
		onChanged(key);
		news.focus();
	};

	openDialog({
		id: 'edit',
		action: 'save',
		body: [h('p.hint', h('code', key.hint)), news, form.node],
		submit: async () => {
			const names = Object.keys(touched());
			if (!names.length) return null;
			try {
				const body = members(form.read(), names, session);
				const saved = await call('PATCH', keyPath(key), { body, version: key.version });
				return () => {
					onChanged(saved);
					announce(rich('edit.saved', { name: saved.name }));
				};
			} catch (problem) {
				return recover(problem, key, { onFresh: rebase, onGone });
			}
		},
	});
}

/** After a lost race: the key as it is now, or that it is no more. Anything else is thrown on. */
export async function recover(problem, key, { onFresh, onGone }) {
	if (problem.kind === 'not-found') return () => onGone(key);
	if (problem.kind !== 'changed') throw problem;
	try {
		onFresh(await get(keyPath(key)));
		return false;
	} catch (second) {
		if (second.kind === 'not-found') return () => onGone(key);
		throw second;
	}
}

const MEMBERS = {
	name: (key) => key.name,
	enabled: (key) => t(key.enabled ? 'on' : 'off'),
	scopes: (key) => key.scopes.join(', ') || t('key.no_scopes'),
	expires_at: (key) => (key.expires_at ? moment(key.expires_at) : t('never')),
	not_before: (key) => (key.not_before ? moment(key.not_before) : t('at_once')),
	labels: (key) => Object.entries(key.labels).map((pair) => pair.join('=')).join(', ') || t('none'),
};

const differences = (old, fresh) => Object.entries(MEMBERS)
	.filter(([, show]) => show(old) !== show(fresh))
	.map(([name, show]) => h('li',
		rich('conflict.change', { field: t(`field.${name}`), old: show(old), new: show(fresh) })));

export function rotateDialog({ key, session, onChanged, onGone }) {
	const once = onceFor();
	const news = h('div', { tabindex: '-1' });
	const choices = radios('overlap', OVERLAPS.map((value) => ({
		value, label: t(`overlap.${value}`), hint: has(`overlap.${value}.hint`) && t(`overlap.${value}.hint`),
	})), OVERLAPS[0]);
	openDialog({
		id: 'rotate',
		action: 'rotate',
		body: [
			h('p', rich('rotate.text', { name: key.name })),
			notice('warn', h('p', t('rotate.warning'))),
			news,
			group('overlap', choices, { role: 'radiogroup' }),
		],
		submit: async (dialog) => {
			const choice = checked(dialog, 'overlap');
			const body = { overlap: /^\d+$/.test(choice) ? Number(choice) : choice };
			try {
				const answer = await call('POST', keyPath(key, '/rotate'), {
					body, version: key.version, once: once([body, key.version]),
				});
				return () => {
					onChanged(answer.key);
					issued(answer, session, { rotated: true, onChanged });
				};
			} catch (problem) {
				return recover(problem, key, {
					onGone,
					onFresh: (fresh) => {
						key = fresh;
						onChanged(key);
						news.replaceChildren(notice('warn', h('p', t('conflict.rotate'))));
						news.focus();
					},
				});
			}
		},
	});
}

// What cannot be typed or seen must not be asked for.
const typeable = (text) => text.normalize('NFC').replace(/\p{C}/gu, '').replace(/\s+/g, ' ').trim();

export function deleteDialog({ key, onGone }) {
	const confirm = h('input', { type: 'text', name: 'confirm', autofocus: true, spellcheck: 'false' });
	openDialog({
		id: 'delete',
		action: 'delete',
		look: 'danger',
		body: [
			notice('bad', h('p', rich('delete.warning', { name: key.name }))),
			h('p', t('delete.instead')),
			field('confirm', confirm, { hint: rich('delete.type', { name: key.name, id: h('code', key.id) }) }),
		],
		submit: async (dialog) => {
			const typed = typeable(confirm.value);
			if (!typed || (typed !== typeable(key.name) && typed !== key.id)) {
				showFieldError(dialog, fault('confirm', 'delete.mismatch'));
				return false;
			}
			try {
				await call('DELETE', keyPath(key));
			} catch (problem) {
				if (problem.kind !== 'not-found') throw problem;
			}
			return () => onGone(key);
		},
	});
}

export async function historyDialog({ key }) {
	const place = h('div', { 'aria-busy': 'true' }, h('p', { role: 'status' }, t('loading')));
	const shell = openDialog({
		id: 'history',
		cancel: null,
		body: [h('p', rich('history.of', { name: key.name })), place],
	});
	shell.foot.append(button('done', {}, shell.close));
	const load = async () => {
		try {
			const { items, complete } = await get(keyPath(key, '/events'));
			place.replaceChildren(
				complete ? '' : h('p.hint', t('history.incomplete')),
				items.length ? h('ol.events', items.map(event)) : h('p', t('history.empty')));
		} catch (problem) {
			place.replaceChildren(h('p.error', { role: 'alert' }, explain(problem)), button('retry', {}, load));
		}
		place.removeAttribute('aria-busy');
	};
	await load();
}

function event({ at, actor, kind, detail }) {
	const what = has(`event.${kind}`) ? t(`event.${kind}`) : kind.replaceAll('_', ' ');
	return h('li',
		h('strong', what),
		h('span.note', when(at), ` · ${moment(at)}`, actor && [' · ', bdi(actor)]),
		detail && h('p', bdi(detail)));
}
