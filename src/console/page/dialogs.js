import { call, get, keyPath, requests } from './api.js';
import { announce, h, notice, when } from './dom.js';
import { checked, fault, field, openDialog, radios } from './forms.js';
import { showOnce } from './one-time.js';
import { scopeTree } from './scopes.js';
import { daysFromNow, has, moment, rich, t } from './text.js';

const PRESETS = ['7', '30', '90', '365'];
const OVERLAPS = ['until_first_use', 'none', '3600', '86400', '604800', '2592000'];

const MEMBERS = {
	name: ({ name }) => name,
	enabled: ({ enabled }) => t(enabled ? 'state.active' : 'state.disabled'),
	scopes: ({ scopes }) => scopes.join(', ') || t('key.no_scopes'),
	expires_at: ({ expires_at: end }) => (end ? moment(end) : t('never')),
};

/** What the form shows of a key, and gives back. */
const shownOf = ({ name, scopes, enabled }) =>
	({ name, scopes: [...scopes].sort(), enabled, expiry: 'keep', expires_on: '' });

function keyForm(session, shown, key) {
	const longest = session.tenant.max_lifetime_days ?? Infinity;
	const name = h('input', { name: 'name', value: shown.name, autofocus: true, required: true });
	const enabled = h('input', { type: 'checkbox', name: 'enabled', id: 'enabled', checked: shown.enabled });
	const scopes = scopeTree(session.scopes, shown.scopes);
	const day = h('input', {
		type: 'date', name: 'expires_on', value: shown.expires_on, 'aria-label': t('expiry.date'),
		input: () => expiry.querySelector('[value=date]').click(),
	});
	const expiry = radios('expiry', [
		...(key ? [['keep', t('expiry.keep', { date: MEMBERS.expires_at(key) })]] : []),
		...PRESETS.map((days) => [days, t(`expiry.${days}`), days > longest]),
		['date', t('expiry.date')],
		['never', t('never'), longest < Infinity],
	], shown.expiry);
	expiry.querySelector('[value=date]').parentElement.append(day);

	const node = h('div.fields',
		field('name', name, !key && t('hint.name')),
		key && h('div.choice', enabled, h('label', { for: 'enabled' }, t('field.enabled'))),
		field('scopes', scopes.node, t('hint.scopes')),
		field('expires_at', expiry, longest < Infinity && t('hint.longest', { days: longest })));
	const read = () => ({
		name: name.value,
		scopes: scopes.read(),
		enabled: enabled.checked,
		expiry: checked(expiry, 'expiry'),
		expires_on: day.value,
	});

	/** What a request says of it. */
	const bodyOf = ({ expiry: choice = 'keep', expires_on: on, ...body }) => {
		if (choice === 'keep') return body;
		if (choice === 'never') return { ...body, expires_at: null };
		if (!choice || (choice === 'date' && !on)) throw fault('expires_at', 'expiry.missing');
		// The whole of the chosen day; and a minute less than the longest, for clocks differ.
		const end = choice === 'date' ? Date.parse(`${on}T23:59:59`) : daysFromNow(choice);
		const time = Math.min(end, daysFromNow(longest) - 60_000);
		return { ...body, expires_at: new Date(time).toISOString() };
	};
	return { node, read, bodyOf };
}

export function createDialog({ session, onCreated, onFull }) {
	const form = keyForm(session, { scopes: [] });
	// "In 30 days" must not move between two tries of the same request.
	const request = requests(({ enabled, ...shown }) => form.bodyOf(shown));
	const submit = async () => {
		const answer = await call('POST', 'keys', request(form.read())).catch((problem) => {
			if (problem.kind === 'quota-exceeded') onFull(problem.body);
			throw problem;
		});
		return () => {
			onCreated(answer.key);
			showIssued(answer, { session, onChanged: onCreated });
		};
	};
	openDialog({ id: 'create', action: 'save', body: form.node, submit });
}

function showIssued({ key, token }, { session, onChanged, title }) {
	if (token) return showOnce({ name: key.name, token, curl: session.service.curl, title });
	openDialog({
		id: 'replayed', title: t('replayed.title'), cancel: 'done', action: 'rotate',
		body: h('p', rich('replayed.text', { name: key.name })),
		submit: () => () => rotateDialog({ key, session, onChanged }),
	});
}

/** After a lost race: goes on with the key as it is now, or says that it is no more. */
export async function recover(problem, { key, onChanged, onGone }, goOn) {
	try {
		if (problem.kind !== 'changed') throw problem;
		const fresh = await get(keyPath(key));
		return () => {
			onChanged(fresh);
			goOn(fresh);
		};
	} catch (second) {
		if (second.kind === 'not-found') return () => onGone(key);
		throw second;
	}
}

/** Why a dialog is open again: what somebody else has changed. */
const news = (was, key) => was && notice('warn', { role: 'alert' },
	h('p', h('strong', t('conflict.edit'))),
	h('ul', Object.entries(MEMBERS).filter(([, show]) => show(was) !== show(key)).map(([name, show]) => h('li',
		rich('conflict.change', { field: t(`field.${name}`), old: show(was), new: show(key) })))));

/** What was typed before stays, what was left alone follows the key as it is now. */
function editDialog(parts) {
	const { key, session, onChanged, was, typed } = parts;
	const before = shownOf(key);
	const form = keyForm(session, { ...before, ...typed }, key);
	const submit = async () => {
		const changed = Object.fromEntries(Object.entries(form.read())
			.filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name])));
		const body = form.bodyOf(changed);
		if (!Object.keys(body).length) return null;
		try {
			const saved = await call('PATCH', keyPath(key), { body, version: key.version });
			return () => {
				onChanged(saved);
				announce(rich('edit.saved', { name: saved.name }));
			};
		} catch (problem) {
			return recover(problem, parts, (fresh) => editDialog({ ...parts, key: fresh, was: key, typed: changed }));
		}
	};
	openDialog({ id: 'edit', name: key.name, action: 'save', body: [news(was, key), form.node], submit });
}

function rotateDialog(parts) {
	const { key, session, onChanged, was, typed = OVERLAPS[0] } = parts;
	const choices = radios('overlap', OVERLAPS.map((each) => [each, t(`overlap.${each}`)]), typed);
	const request = requests((overlap) => ({ overlap: Number(overlap) || overlap }));
	openDialog({
		id: 'rotate', name: key.name, action: 'rotate',
		body: [news(was, key), notice('warn', h('p', t('rotate.warning'))), field('overlap', choices)],
		submit: async () => {
			const overlap = checked(choices, 'overlap');
			try {
				const { version } = key;
				const answer = await call('POST', keyPath(key, '/rotate'), { version, ...request(overlap) });
				return () => {
					onChanged(answer.key);
					showIssued(answer, { session, onChanged, title: 'once.title_rotated' });
				};
			} catch (problem) {
				return recover(problem, parts, (fresh) =>
					rotateDialog({ ...parts, key: fresh, was: key, typed: overlap }));
			}
		},
	});
}

// What cannot be typed or seen must not be asked for.
const typeable = (text) => text.normalize('NFC').replace(/\p{C}/gu, '').replace(/\s+/g, ' ').trim();

function deleteDialog(parts) {
	const { key, onGone } = parts;
	const { name, id } = key;
	const confirm = h('input', { name: 'confirm', autofocus: true, spellcheck: 'false' });
	openDialog({
		id: 'delete', name, action: 'delete', look: 'danger',
		body: [
			notice('bad', h('p', rich('delete.warning', { name }))),
			field('confirm', confirm, rich('delete.type', { name, id })),
		],
		submit: async () => {
			const typed = typeable(confirm.value);
			if (!typed || (typed !== typeable(name) && typed !== id)) throw fault('confirm', 'delete.mismatch');
			const gone = call('DELETE', keyPath(key), { version: key.version }).then(() => () => onGone(key));
			return gone.catch((problem) => recover(problem, parts, (fresh) => deleteDialog({ ...parts, key: fresh })));
		},
	});
}

async function historyDialog({ key, onProblem }) {
	try {
		const { items, complete } = await get(keyPath(key, '/events'));
		const body = [
			h('ol.events', items.map(({ at, actor, kind, detail }) => h('li',
				h('strong', has(`event.${kind}`) ? t(`event.${kind}`) : kind.replaceAll('_', ' ')),
				h('p.hint', when(at), ' ', h('bdi', actor)),
				h('bdi', detail)))),
			!complete && h('p.hint', t('history.incomplete')),
		];
		openDialog({ id: 'history', name: key.name, cancel: 'done', body });
	} catch (problem) {
		onProblem(problem, () => historyDialog({ key, onProblem }));
	}
}

/** What the buttons of a key open. */
export const dialogs = { edit: editDialog, rotate: rotateDialog, history: historyDialog, delete: deleteDialog };
