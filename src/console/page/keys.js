import { call, keyPath, ownerPath } from './api.js';
import { bulkDialog } from './bulk.js';
import { announce, button, chip, day, h, notice, rememberFocus, when } from './dom.js';
import { createDialog, dialogs, recover } from './dialogs.js';
import { openDialog } from './forms.js';
import { limitTexts } from './limits.js';
import { pagedList } from './list.js';
import { date, daysFromNow, now, rich, t, tn } from './text.js';
import { allowanceList, fileLink, usageSection } from './usage.js';

const TYPING = 120;
const SOON_DAYS = 14;
/** The filter of the keys that end soon or may be disabled soon. The others are states. */
const DUE = 'due';
const TONES = {
	active: 'good', disabled: 'off', owner_disabled: 'off', suspended: 'bad', tenant_suspended: 'bad', expired: 'bad',
	not_yet_valid: 'off', unknown_tier: 'bad',
};

const hint = (...content) => h('span.hint', content);
export const chips = (texts) => h('ul.chips', texts.map((text) => h('li', h('bdi', text))));
const isAhead = (text) => text && Date.parse(text) > now();
const isSoon = (text) => isAhead(text) && Date.parse(text) < daysFromNow(SOON_DAYS);
const isDue = (key) => key.state === 'active'
	&& [key.effective_expires_at, key.idle_until].some((end) => end && Date.parse(end) < daysFromNow(SOON_DAYS));

export const stateChip = (state) => chip(TONES[state], t(`state.${state}`));

export const suspensionOf = ({ suspension }) => suspension && h('p',
	rich(suspension.until ? 'suspended_until' : 'suspended',
		{ reason: suspension.reason, date: suspension.until && date(suspension.until) }));

/** Returns the parts of a key's card. `toggle` is only for users who can enable and disable the key. */
export function keyCard(key, buttons, toggle, usage) {
	const { name, scopes, owner, effective_expires_at: end } = key;
	const soon = isSoon(end);
	const idle = isSoon(key.idle_until) && key.state === 'active';
	return {
		title: name,
		about: [
			h('p.hint', h('code', key.masked)), owner && h('p.hint', rich('key.owner', { owner })),
			chips(Object.entries(key.labels).map((label) => label.join('='))),
		],
		facts: {
			scopes: [
				scopes.length ? chips(scopes) : hint(t('key.no_scopes')),
				chips(limitTexts(key).concat(key.children === 'off' ? [] : t('key.children'))),
			],
			created: [day(key.created_at), key.created_by && hint(rich('key.by', { actor: key.created_by }))],
			last_used: [key.last_used ? when(key.last_used) : hint(t('never')), usage],
			expires: end ? [day(end), soon ? chip('warn', t('key.expires_soon'), ' ', when(end)) : hint(when(end))]
				: hint(t('never')),
			status: h('span.row', toggle, stateChip(key.state)),
		},
		buttons,
		notes: [
			suspensionOf(key),
			key.suspension && toggle && h('p', t('key.cannot_lift')),
			isAhead(key.grace_until) && h('p', rich('key.grace_period', { when: when(key.grace_until) })),
			idle && h('p', rich('key.idle', { when: when(key.idle_until) })),
			key.children === 'after_rotation' && h('p', t('key.children_after_rotation')),
		],
	};
}

/** Shows the page of a tenant's administrator. */
export function tenantView({ place, session, onProblem }) {
	const { tenant, service } = session;
	// Set while the list shows the result of a search. `full` if the text was a whole token.
	let searching = null;
	let timer;

	const quota = h('div', { id: 'quota' });
	const alerts = h('div');
	const text = h('input', {
		type: 'search', id: 'search', name: 'search', autocomplete: 'off', spellcheck: 'false',
		placeholder: t('search.hint'), input: () => later(text.value.trim() && TYPING),
	});
	const clear = button('clear', { look: 'icon', hidden: true }, () => {
		text.value = '';
		reload();
		text.focus();
	});
	const filter = h('select', { id: 'filter', name: 'state', change: reload },
		h('option', { value: '' }, t('filter.all')), h('option', { value: DUE }, t('filter.due')),
		Object.keys(TONES).map((state) => h('option', { value: state }, t(`state.${state}`))));
	const owners = h('datalist', { id: 'owners' });
	const owner = h('input', {
		id: 'owner', name: 'owner', list: 'owners', autocomplete: 'off', spellcheck: 'false', input: () => later(TYPING),
	});
	// Shown once a key or a disabled owner is known.
	const ofOwner = h('div', { hidden: true }, h('label', { for: 'owner' }, t('field.owner')), owner, owners);
	const many = h('div.row', { id: 'many' });
	const ownerName = () => owner.value.trim();
	const usage = session.usage && usageSection(fileLink());
	const list = pagedList({
		kind: 'key', card, describe, onProblem, path: filtered,
		onPage: ({ items, held, allowed }, path) => {
			learn(items.map((key) => key.owner));
			// A search has no pages of its own. A found key shows its number if its page was read before.
			if (usage && !searching) usage.load(path.replace(/^keys/, 'usage'));
			if (allowed !== undefined) showQuota({ held, allowed });
		},
	});

	place.replaceChildren(
		h('div.lead', h('p', t('lead'), ' ', tenant.owner && rich('lead.member', { owner: tenant.owner })),
			button('create', { look: 'primary', 'aria-describedby': 'quota' }, create)),
		alerts,
		session.allowances ? allowanceList('allowances').node : '',
		usage ? usage.node : '',
		h('section',
			h('h2.hidden', t('field.keys')),
			h('div.tools', quota, h('div.find', { role: 'search' },
				h('div', h('label', { for: 'search' }, t('search.label')), h('div.input', text, clear)),
				h('div', h('label', { for: 'filter' }, t('field.status')), filter), ofOwner)),
			many,
			list.nodes));
	showQuota(tenant);
	learn(tenant.disabled_owners);
	list.load();

	function card(key) {
		const of = key.name;
		const parts = { key, session, onChanged: list.update, onGone, onProblem };
		const buttons = Object.entries(dialogs).filter(([action]) => action !== 'usage' || usage)
			.map(([action, open]) => button(action, { of }, () => open(parts)));
		return keyCard(key, buttons, h('button.switch', {
			type: 'button', role: 'switch', 'data-action': 'toggle', 'aria-checked': String(key.enabled),
			'aria-label': t('action.of', { action: t('field.enabled'), name: of }), 'aria-describedby': `notes-${key.id}`,
			'aria-disabled': key.suspension && 'true',
			click: ({ target }) => switchKey(key, target),
		}), usage && usage.note(key));
	}

	function showQuota(changes) {
		Object.assign(tenant, changes);
		const { held, allowed, tier, state } = tenant;
		const over = held - allowed;
		quota.replaceChildren(
			h('p', h('strong', tn('quota', allowed, { held, allowed })), ' ', hint(rich('quota.tier', { tier }))),
			h('meter', { value: held, max: allowed, high: allowed - 1, optimum: 0, 'aria-hidden': 'true' }));
		const alert = (tone, title, text) => notice(tone, h('p', h('strong', title)), text, support());
		alerts.replaceChildren(
			state === 'suspended' ? alert('bad', t('tenant.suspended'), suspensionOf(tenant)) : '',
			over < 0 ? '' : alert('warn', over ? tn('quota.over', over) : t('problem.quota-exceeded'),
				h('p', t('quota.advice'))));
	}

	function support() {
		const { support: address } = service;
		const href = /^https?:/.test(address) ? address : `mailto:${address}`;
		return address && h('p', rich('support', { support: h('a', { href }, address) }));
	}

	/** Offers the owners of keys in the filter. A member has only one. */
	function learn(names) {
		const known = [...owners.children].map(({ value }) => value);
		const fresh = new Set(names.filter((name) => name && !tenant.owner && !known.includes(name)));
		owners.append(...[...fresh].map((value) => h('option', { value })));
		ofOwner.hidden = !owners.firstChild;
	}

	/** Returns the path of the keys that the filters leave. */
	function filtered() {
		const query = new URLSearchParams();
		if (filter.value === DUE) query.set('due_before', new Date(daysFromNow(SOON_DAYS)).toISOString());
		else if (filter.value) query.set('state', filter.value);
		if (ownerName()) query.set('owner', ownerName());
		return `keys?${query}${query.size ? '&' : ''}`;
	}

	/** Shows the actions on all keys that the filters leave, of which `size` are in the list, and on their owner. */
	function showMany(size) {
		const name = ownerName();
		const off = tenant.disabled_owners.includes(name);
		const path = filtered();
		const onKeys = !searching && size > 0 && (filter.value || name);
		const onOwner = !searching && !tenant.owner && name && (size > 0 || off);
		const restore = many.contains(document.activeElement) && rememberFocus();
		many.replaceChildren(
			...(onKeys ? ['disable', 'delete'] : []).map((action) => button(`${action}-all`, {},
				() => bulkDialog({ action, path, onDone: () => list.load(), onProblem }))),
			...(onOwner ? [button(off ? 'enable-owner' : 'disable-owner', { of: name, look: '' },
				() => (off ? enableOwner : disableOwner)(name))] : []));
		if (restore) restore();
	}

	async function switchOwner(method, name) {
		const { disabled } = await call(method, ownerPath(name));
		return () => {
			const others = tenant.disabled_owners.filter((other) => other !== name);
			tenant.disabled_owners = disabled ? [...others, name] : others;
			list.load();
			announce(rich(disabled ? 'owner.off' : 'owner.on', { owner: name }));
		};
	}

	function enableOwner(name) {
		switchOwner('DELETE', name).then((show) => show(), (problem) => onProblem(problem, () => enableOwner(name)));
	}

	function disableOwner(name) {
		openDialog({
			id: 'disable-owner', name, action: 'disable', look: 'danger',
			body: notice('warn', h('p', rich('owner.text', { owner: name }))),
			submit: () => switchOwner('PUT', name),
		});
	}

	function describe(size) {
		showMany(size);
		const full = searching?.full ? ` ${t('search.full')}` : '';
		if (size) return { said: tn(searching ? 'search.found' : 'list', size) + full };
		if (searching || filter.value || ownerName()) {
			const nothing = t(searching || ownerName() ? 'empty.found' : 'empty.state');
			return { said: nothing + full, empty: h('strong', nothing) };
		}
		const first = button('create', { look: 'primary', 'data-action': 'create-first' }, create);
		return { said: '', empty: [h('strong', t('empty.title')), h('p', t('empty.text')), first] };
	}

	function later(delay) {
		clearTimeout(timer);
		timer = setTimeout(reload, delay);
	}

	function reload() {
		clearTimeout(timer);
		const wanted = text.value.trim();
		clear.hidden = !wanted;
		if (!wanted) searching = null;
		return list.load(wanted ? () => search(wanted) : undefined);
	}

	async function search(wanted) {
		const { items, broken } = await call('POST', 'keys/search', { body: { text: wanted } });
		// If the text has changed since, a later search follows, and this response changes nothing here.
		if (text.value.trim() === wanted) {
			// A text that is so long and in no name is taken for a whole token, and must not stay in the field.
			const full = /^\S{24,}$/.test(wanted)
				&& !items.some(({ name }) => name.toLowerCase().includes(wanted.toLowerCase()));
			if (full) text.value = '';
			searching = { full };
		}
		const inFilter = (key) => (filter.value === DUE ? isDue(key) : !filter.value || key.state === filter.value);
		const fits = (key) => inFilter(key) && (!ownerName() || key.owner === ownerName());
		return { items: items.filter(fits), broken };
	}

	async function create() {
		// Another user may have deleted a key since.
		if (tenant.held >= tenant.allowed) await reload();
		if (tenant.held < tenant.allowed) return createDialog({ session, onCreated, onFull: showQuota });
		alerts.lastElementChild.setAttribute('tabindex', '-1');
		alerts.lastElementChild.focus();
	}

	// A key that is not in the list is not in the count either, even if an earlier attempt created it.
	function onCreated(key) {
		if (list.update(key)) return;
		showQuota({ held: tenant.held + 1 });
		list.prepend(key);
	}

	function onGone({ id, name }) {
		showQuota({ held: Math.max(0, tenant.held - 1) });
		list.remove(id);
		document.querySelector('#title').focus();
		announce(rich('delete.done', { name }));
	}

	async function switchKey(key, control) {
		if (key.suspension) return announce(t('key.cannot_lift'));
		if (control.ariaBusy) return;
		control.setAttribute('aria-busy', 'true');
		try {
			const saved = await call('PATCH', keyPath(key), { version: key.version, body: { enabled: !key.enabled } });
			list.update(saved);
			announce(rich(saved.enabled ? 'toggle.on' : 'toggle.off', { name: saved.name }));
		} catch (problem) {
			const then = recover(problem, { key, onChanged: list.update, onGone },
				({ name }) => announce(rich('conflict.toggle', { name })));
			await then.then((show) => show(), (other) => onProblem(other, () => switchKey(key, control)));
		}
		control.removeAttribute('aria-busy');
	}
}
