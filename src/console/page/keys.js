import { call, get, keyPath } from './api.js';
import { announce, bdi, button, chip, day, freshId, h, icon, when } from './dom.js';
import { createDialog, deleteDialog, editDialog, historyDialog, recover, rotateDialog } from './dialogs.js';
import { notice } from './forms.js';
import { fact, pagedList } from './list.js';
import { date, daysFromNow, has, number, now, rich, t, tn } from './text.js';

const TYPING = 120;
const SOON_DAYS = 14;
const CHIPS = 6;
const STATES = ['active', 'disabled', 'suspended', 'expired', 'not_yet_valid'];
const TONES = { active: 'good', suspended: 'bad', tenant_suspended: 'bad', expired: 'bad' };

export const KEY_COLUMNS = ['name', 'scopes', 'created', 'last_used', 'expires', 'status'];

export const quotaOf = ({ held, allowed }) => t('quota', { held: number(held), allowed: number(allowed) });

/** Why something is suspended, and until when. */
export const reasonOf = ({ reason, until }) =>
	h('p', rich(until ? 'suspended_until' : 'suspended', { reason, date: until && date(until) }));

const note = (...content) => h('span.note', content);

/** A key. Only who may switch it has a `toggle`. */
export function keyCard(key, buttons, toggle) {
	const id = freshId('note');
	const state = has(`state.${key.state}`) ? t(`state.${key.state}`) : key.state;
	const ahead = (text) => text && Date.parse(text) > now();
	return h('li.key', { 'data-key': key.id, 'data-state': key.state },
		h('div.who',
			h('h3', { tabindex: '-1' }, bdi(key.name)),
			h('p.hint', h('code', key.hint), key.imported && [' ', chip('plain', t('key.imported'))]),
			h('ul.chips', Object.entries(key.labels).map(([name, value]) => h('li', bdi(`${name}=${value}`))))),
		h('dl.facts',
			fact('scopes', scopesOf(key.scopes)),
			fact('created', day(key.created_at), key.created_by && note(rich('key.by', { actor: key.created_by }))),
			fact('last_used', key.last_used ? [when(key.last_used), note(date(key.last_used))] : note(t('never'))),
			fact('expires', expiryOf(key.expires_at)),
			fact('status', h('span.state', toggle?.(id), chip(TONES[key.state] ?? 'plain', state)))),
		h('div.actions', buttons),
		h('div.notes', { id },
			key.suspension && [reasonOf(key.suspension), toggle && h('p', t('key.cannot_lift'))],
			ahead(key.not_before) && h('p', rich('key.starts', { when: when(key.not_before), date: date(key.not_before) })),
			ahead(key.overlap_until) && h('p', rich('key.overlap', { when: when(key.overlap_until) }))));
}

function scopesOf(scopes) {
	if (!scopes.length) return note(t('key.no_scopes'));
	const rest = scopes.length - CHIPS;
	return h('ul.chips', scopes.slice(0, CHIPS).map((scope) => h('li', scope)),
		rest > 0 && h('li', t('key.more_scopes', { count: number(rest) })));
}

function expiryOf(text) {
	if (!text) return note(t('never'));
	const time = Date.parse(text);
	const soon = time > now() && time < daysFromNow(SOON_DAYS);
	return [day(text), soon ? chip('warn', t('key.expires_soon'), ' ', when(text)) : note(when(text))];
}

/** The page of a tenant's administrator. */
export function tenantView({ place, session, firstPage, onProblem }) {
	const { tenant, service } = session;
	// What is shown instead of the pages, if anything: `{ full }`, whether it was found by a whole key.
	let searching = null;
	let pasted = false;
	let timer;

	const quota = h('div.quota', { id: 'quota' });
	const alerts = h('div');
	const text = h('input', {
		type: 'search', id: 'search', name: 'search', autocomplete: 'off', spellcheck: 'false',
		'aria-describedby': 'search-hint', input: typed,
	});
	const clear = button('clear', { look: 'icon.quiet', hidden: true }, () => {
		text.value = '';
		stopSearch();
		text.focus();
	});
	const states = tenant.state === 'suspended' ? [...STATES, 'tenant_suspended'] : STATES;
	const refilter = () => (text.value.trim() ? search() : stopSearch());
	const filter = h('select', { id: 'filter', name: 'state', change: refilter },
		h('option', { value: '' }, t('filter.all')),
		states.map((state) => h('option', { value: state }, t(`state.${state}`))));

	const list = pagedList({
		kind: 'key', columns: KEY_COLUMNS, card, describe, onProblem,
		path: () => ['keys', filter.value && { state: filter.value }],
		onPage: ({ held = tenant.held, allowed = tenant.allowed }) => showQuota({ held, allowed }),
	});

	place.replaceChildren(
		h('div.lead', h('p', t('lead')), button('create', { look: 'primary', 'aria-describedby': 'quota' }, create)),
		alerts,
		h('section', { 'aria-labelledby': 'keys-heading' },
			h('h2.hidden', { id: 'keys-heading' }, t('keys.heading')),
			h('div.tools', quota,
				h('div.find', { role: 'search' },
					h('div.tool.grow', h('label', { for: 'search' }, t('search.label')),
						h('div.input', icon('search'), text, clear), h('p.hidden', { id: 'search-hint' }, t('search.hint'))),
					h('div.tool', h('label', { for: 'filter' }, t('column.status')), filter))),
			list.nodes));
	showQuota(tenant);
	list.load(() => {
		const answer = firstPage ?? get('keys?limit=50');
		firstPage = undefined;
		return answer;
	});

	function card(key) {
		const of = key.name;
		const open = (dialog) => () => dialog({ key, session, onChanged: list.update, onGone });
		const toggle = (noteId) => h('button.switch', {
			type: 'button', role: 'switch', 'data-action': 'toggle', 'aria-checked': String(key.enabled),
			'aria-label': t('key.switch', { name: of }), 'aria-describedby': noteId,
			'aria-disabled': key.suspension && 'true', title: t(key.enabled ? 'on' : 'off'),
			click: (event) => switchKey(key, event.currentTarget),
		});
		const dialogs = { edit: editDialog, rotate: rotateDialog, history: historyDialog, delete: deleteDialog };
		const buttons = Object.entries(dialogs)
			.map(([action, dialog]) => button(action, { of, look: 'icon' }, open(dialog)));
		return keyCard(key, buttons, toggle);
	}

	function showQuota(changes) {
		Object.assign(tenant, changes);
		const over = tenant.held - tenant.allowed;
		const bar = h('i');
		bar.style.width = `${Math.min(100, (100 * tenant.held) / Math.max(1, tenant.allowed))}%`;
		quota.replaceChildren(
			h('p', h('strong', quotaOf(tenant)), ' ', note(rich('quota.tier', { tier: tenant.tier }))),
			h(`span.bar${over < 0 ? '' : '.full'}`, { 'aria-hidden': 'true' }, bar));
		alerts.replaceChildren(...[
			tenant.state === 'suspended' && notice('bad', h('p', h('strong', t('tenant.suspended'))),
				tenant.suspension && reasonOf(tenant.suspension), support('tenant.ask')),
			over >= 0 && notice('warn', h('p', h('strong', over ? tn('quota.over', over) : t('quota.full'))),
				h('p', t(over ? 'quota.over_advice' : 'quota.full_advice')), support('quota.ask')),
		].filter(Boolean));
	}

	function support(key) {
		const address = service.support;
		const href = /^https?:/.test(address) ? address : address?.includes('@') && `mailto:${address}`;
		return address && h('p', rich(key, { support: href ? h('a', { href }, address) : address }));
	}

	function describe({ size, next }) {
		const whole = searching?.full ? ` ${t('search.full')}` : '';
		if (size) {
			if (searching) return { said: tn('search.found', size) + whole };
			return { said: next ? t('list.some', { count: number(size) }) : tn('list.all', size) };
		}
		const kind = searching ? 'nothing' : filter.value ? 'none' : 'empty';
		return {
			said: kind === 'empty' ? '' : t(`${kind}.title`) + whole,
			empty: [h('p.big', t(`${kind}.title`)), h('p', t(`${kind}.text`)),
				kind === 'empty' && button('create', { look: 'primary', 'data-action': 'create-first' }, create)],
		};
	}

	function typed(event) {
		pasted = /^insertFrom(Paste|Drop)/.test(event.inputType ?? '');
		clearTimeout(timer);
		if (!text.value.trim()) return stopSearch();
		clear.hidden = false;
		timer = setTimeout(search, TYPING);
	}

	function search() {
		const wanted = text.value.trim();
		return list.load(async () => {
			const { items } = await call('POST', 'keys/search', { body: { text: wanted } });
			// A later request has its own text, and this answer will be dropped.
			if (text.value.trim() === wanted) {
				const full = isToken(wanted, items, pasted);
				// A whole key has no business on the page.
				if (full) text.value = '';
				searching = { full };
			}
			return { items: items.filter((key) => !filter.value || key.state === filter.value) };
		});
	}

	function stopSearch() {
		clearTimeout(timer);
		clear.hidden = true;
		searching = null;
		list.load();
	}

	async function create() {
		if (tenant.held >= tenant.allowed) {
			// Somebody may have made room since.
			try {
				showQuota((await get('session')).tenant);
			} catch (problem) {
				return onProblem(problem, create);
			}
			if (tenant.held >= tenant.allowed) {
				alerts.lastElementChild.setAttribute('tabindex', '-1');
				return alerts.lastElementChild.focus();
			}
		}
		createDialog({ session, onCreated, onFull: ({ held, allowed, tier }) => showQuota({ held, allowed, tier }) });
	}

	function onCreated(key, known) {
		if (list.update(key)) return;
		if (!known) showQuota({ held: tenant.held + 1 });
		list.prepend(key);
	}

	function onGone(key) {
		showQuota({ held: Math.max(0, tenant.held - 1) });
		list.remove(key.id);
		document.querySelector('#title').focus();
		announce(rich('delete.done', { name: key.name }));
	}

	async function switchKey(key, control) {
		if (key.suspension) return announce(t('key.cannot_lift'), { stay: true });
		if (control.hasAttribute('aria-busy')) return;
		control.setAttribute('aria-busy', 'true');
		try {
			const saved = await call('PATCH', keyPath(key), { version: key.version, body: { enabled: !key.enabled } });
			list.update(saved);
			announce(rich(saved.enabled ? 'toggle.on' : 'toggle.off', { name: saved.name }));
		} catch (problem) {
			await recover(problem, key, { onGone, onFresh: (fresh) => {
				list.update(fresh);
				announce(rich('conflict.toggle', { name: fresh.name }), { stay: true });
			} }).then((done) => done && done(), (other) => onProblem(other, () => switchKey(key, control)));
		} finally {
			control.removeAttribute('aria-busy');
		}
	}
}

const SHAPE = /^[^\s_]+_[^\s_]+_[0-9A-Za-z]{30,}$/;

/** Whether what was searched for is a whole key: by its shape, or because nothing else explains the answer. */
function isToken(text, items, pasted) {
	if (SHAPE.test(text)) return true;
	if (text.length < 20 || /\s/.test(text)) return false;
	const small = text.toLowerCase();
	const explained = items.some((key) => `${key.name}\n${key.id}\n${key.hint}`.toLowerCase().includes(small));
	return !explained && (items.length === 1 || pasted);
}
