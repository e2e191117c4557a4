import { call, get, keyPath, requests } from './api.js';
import { announce, h, notice, when } from './dom.js';
import { checked, fault, field, openDialog, radios } from './forms.js';
import { showOnce } from './one-time.js';
import { limitTexts, networkChoice, resourceChoices } from './limits.js';
import { scopeTree } from './scopes.js';
import { has, moment, now, rich, span, t } from './text.js';
import { usageDialog } from './usage.js';

const PRESETS = ['7', '30', '90', '365'];
const GRACE_PERIODS = ['until_first_use', 'none', '3600', '86400', '604800', '2592000'];

const MEMBERS = {
	name: ({ name }) => name,
	enabled: ({ enabled }) => t(enabled ? 'state.active' : 'state.disabled'),
	scopes: ({ scopes }) => scopes.join(', ') || t('key.no_scopes'),
	limits: (key) => limitTexts(key).join('; ') || t('key.no_limits'),
	children: ({ children }) => t(`children.${children}`),
	// The effective expiry: the tier may end a key earlier than `expires_at`.
	expires_at: ({ effective_expires_at: end }) => (end ? moment(end) : t('never')),
};

/** Returns the values of a key that the form shows and `read` returns. */
const shownOf = ({ name, scopes, resources, networks, enabled, children }, kinds) => ({
	name, scopes: [...scopes].sort(), enabled, networks, children: children !== 'off',
	resources: Object.fromEntries(kinds.map((kind) => [kind.name, resources[kind.name] ?? []])),
	expiry: 'keep', expires_on: '',
});

function keyForm(session, shown, key) {
	const longest = session.tenant.max_lifetime ?? Infinity;
	const longestChild = session.max_child_lifetime_seconds;
	// One time for both, or "In 30 days" would be later than a limit of 30 days allows.
	const start = now();
	// The service counts the lifetime from the creation of the present secret.
	const latest = (key ? Date.parse(key.rotated_at ?? key.created_at) : start) + longest * 1_000;
	const name = h('input', { name: 'name', value: shown.name, autofocus: true, required: true });
	const enabled = h('input', { type: 'checkbox', name: 'enabled', id: 'enabled', checked: shown.enabled });
	const children = h('input', {
		type: 'checkbox', name: 'children', id: 'children', checked: shown.children, 'aria-describedby': 'children-hint',
	});
	const scopes = scopeTree(session.scopes, shown.scopes);
	const resources = resourceChoices(session.resources, shown.resources);
	const networks = networkChoice(shown.networks);
	const day = h('input', {
		type: 'date', name: 'expires_on', value: shown.expires_on, 'aria-label': t('expiry.date'),
		input: () => expiry.querySelector('[value=date]').click(),
	});
	const expiry = radios('expiry', [
		...(key ? [['keep', t('expiry.keep', { date: MEMBERS.expires_at(key) })]] : []),
		...PRESETS.map((days) => [days, t(`expiry.${days}`), start + days * 86_400_000 > latest]),
		['date', t('expiry.date')],
		['never', t('never'), longest < Infinity],
	], shown.expiry);
	expiry.querySelector('[value=date]').parentElement.append(day);

	const node = h('div.fields',
		field('name', name, !key && t('hint.name')),
		key && h('div.choice', enabled, h('label', { for: 'enabled' }, t('field.enabled'))),
		field('scopes', scopes.node, t('hint.scopes')),
		session.resources.length > 0 && field('resources', resources.node, t('hint.resources')),
		field('networks', networks.node, t('hint.networks')),
		field('expires_at', expiry, longest < Infinity
			&& (key ? t('expiry.latest', { date: moment(latest) }) : t('hint.longest', { span: span(longest) }))),
		longestChild && h('div.choice', children, h('label', { for: 'children' }, t('field.children')),
			h('p.hint', { id: 'children-hint' }, t('hint.children', { span: span(longestChild) }))));
	const read = () => ({
		name: name.value,
		scopes: scopes.read(),
		resources: resources.read(),
		networks: networks.read(),
		enabled: enabled.checked,
		expiry: checked(expiry, 'expiry'),
		expires_on: day.value,
		...(longestChild && { children: children.checked }),
	});

	/** Returns the request body for values of the form. */
	const bodyOf = ({ expiry: choice = 'keep', expires_on: on, ...body }) => {
		if (body.networks?.length === 0) throw fault('networks', 'network.missing');
		if (choice === 'keep') return body;
		if (choice === 'never') return { ...body, expires_at: null };
		if (!choice || (choice === 'date' && !on)) throw fault('expires_at', 'expiry.missing');
		// The service computes the time, because the clock of this computer may be wrong.
		if (choice !== 'date') return { ...body, expires_in: choice * 86_400 };
		// The end of the chosen day. It is not shortened to the limit: the service refuses what is too late.
		const end = new Date(`${on}T23:59:59`);
		// WebKit reads years of five digits, and the service does not.
		if (!(end.getFullYear() <= 9_999)) throw fault('expires_at', 'expiry.unreadable');
		return { ...body, expires_at: end.toISOString() };
	};
	return { node, read, bodyOf };
}

export function createDialog({ session, onCreated, onFull }) {
	const form = keyForm(session, { scopes: [], resources: {}, networks: null });
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

/** Returns the text of a key's effective expiry. */
const endOf = ({ effective_expires_at: end }) => (end ? t('key.ends', { date: moment(end) }) : t('key.endless'));

function showIssued({ key, token, child_prefix: childPrefix }, { session, onChanged, title }) {
	if (token) {
		return showOnce({ name: key.name, token, childPrefix, curl: session.service.curl, end: endOf(key), title });
	}
	openDialog({
		id: 'replayed', title: t('replayed.title'), cancel: 'done', action: 'rotate',
		body: h('p', rich('replayed.text', { name: key.name })),
		submit: () => () => rotateDialog({ key, session, onChanged }),
	});
}

/** After a conflict, continues with the present version of the key, or reports that it was deleted. */
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

/** Returns a notice of what another user has changed, for a dialog that opens again after a conflict. */
const news = (was, key) => was && notice('warn', { role: 'alert' },
	h('p', h('strong', t('conflict.edit'))),
	h('ul', Object.entries(MEMBERS).filter(([, show]) => show(was) !== show(key)).map(([name, show]) => h('li',
		rich('conflict.change', { field: t(`field.${name}`), old: show(was), new: show(key) })))));

/** Opens the form again after a conflict: typed values stay, all others follow the key's present version. */
function editDialog(parts) {
	const { key, session, onChanged, was, typed } = parts;
	const before = shownOf(key, session.resources);
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
				announce([rich('edit.saved', { name: saved.name }), ' ', body.expires_in || body.expires_at ? endOf(saved) : '']);
			};
		} catch (problem) {
			return recover(problem, parts, (fresh) => editDialog({ ...parts, key: fresh, was: key, typed: changed }));
		}
	};
	openDialog({ id: 'edit', name: key.name, action: 'save', body: [news(was, key), form.node], submit });
}

function rotateDialog(parts) {
	const { key, session, onChanged, was, typed = GRACE_PERIODS[0] } = parts;
	const choices = radios('grace_period', GRACE_PERIODS.map((each) => [each, t(`grace_period.${each}`)]), typed);
	const request = requests((grace_period) => ({ grace_period: Number(grace_period) || grace_period }));
	openDialog({
		id: 'rotate', name: key.name, action: 'rotate',
		body: [news(was, key), notice('warn', h('p', t('rotate.warning'))), field('grace_period', choices)],
		submit: async () => {
			const grace_period = checked(choices, 'grace_period');
			try {
				const { version } = key;
				const answer = await call('POST', keyPath(key, '/rotate'), { version, ...request(grace_period) });
				return () => {
					onChanged(answer.key);
					showIssued(answer, { session, onChanged, title: 'once.title_rotated' });
				};
			} catch (problem) {
				return recover(problem, parts, (fresh) =>
					rotateDialog({ ...parts, key: fresh, was: key, typed: grace_period }));
			}
		},
	});
}

// The user must not have to type characters that cannot be typed or seen.
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

/** The dialogs that a key's buttons open. */
export const dialogs = {
	edit: editDialog, rotate: rotateDialog, usage: usageDialog, history: historyDialog, delete: deleteDialog,
};
