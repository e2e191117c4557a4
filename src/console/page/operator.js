import { call, get, tenantPath } from './api.js';
import { announce, banner, bdi, button, chip, day, h } from './dom.js';
import { checked, explain, fault, field, fromLocal, group, notice, openDialog, radios, toLocal } from './forms.js';
import { KEY_COLUMNS, keyCard, quotaOf, reasonOf } from './keys.js';
import { fact, pagedList } from './list.js';
import { number, now, rich, t, tn } from './text.js';

/** The page of the service's operator: all tenants, or the keys of one, as the address says. */
export function operatorView({ place, session, onProblem }) {
	const show = (moved) => {
		banner(null);
		const id = new URLSearchParams(location.hash.slice(1)).get('tenant');
		if (id) tenantKeys({ place, id, onProblem });
		else tenants({ place, session, onProblem });
		if (moved) place.querySelector('h2').focus();
	};
	// A page may be started more than once, but it listens once.
	window.onhashchange = () => show(true);
	show(false);
}

const describer = (key) => ({ size, next }) => ({
	said: next ? t(`${key}.some`, { count: number(size) }) : tn(`${key}.all`, size),
	empty: h('p.big', t(`${key}.empty`)),
});

function tenants({ place, session, onProblem }) {
	const list = pagedList({
		kind: 'tenant', columns: ['tenant', 'tier', 'keys', 'created', 'status'], card, onProblem,
		path: () => ['tenants'], describe: describer('tenants'),
	});

	function card(tenant) {
		const of = tenant.id;
		const over = tenant.held - tenant.allowed;
		const open = () => {
			location.hash = new URLSearchParams({ tenant: of });
		};
		return h('li.key', { 'data-tenant': of, 'data-state': tenant.state },
			h('div.who', h('h3', { tabindex: '-1' }, bdi(of))),
			h('dl.facts',
				fact('tier', bdi(tenant.tier)),
				fact('keys', quotaOf(tenant), over > 0 && chip('warn', tn('quota.over', over))),
				fact('created', day(tenant.created_at)),
				fact('status', chip(tenant.state === 'suspended' ? 'bad' : 'good', t(`state.${tenant.state}`)))),
			h('div.actions',
				button('open', { of, look: 'icon' }, open),
				button('tier', { of, look: 'icon' }, () => tierDialog({ tenant, session, onChanged: list.update })),
				suspension(tenant, of, tenantPath(of, '/suspension'), { about: 'suspend.tenant', list, onProblem })),
			h('div.notes', tenant.suspension && reasonOf(tenant.suspension)));
	}

	place.replaceChildren(
		h('div.lead', h('p', t('operator.lead')), button('leak', {}, leakDialog)),
		h('section', { 'aria-labelledby': 'tenants-heading' },
			h('h2', { id: 'tenants-heading', tabindex: '-1' }, t('tenants.heading')),
			list.nodes));
	list.load();
}

function tenantKeys({ place, id, onProblem }) {
	const quota = h('p.quota');
	const list = pagedList({
		kind: 'key', columns: KEY_COLUMNS, onProblem, describe: describer('list'),
		path: () => [tenantPath(id, '/keys')],
		onPage: (page) => quota.replaceChildren(h('strong', quotaOf(page))),
		card: (key) => keyCard(key, suspension(key, key.name,
			tenantPath(id, `/keys/${encodeURIComponent(key.id)}/suspension`), { about: 'suspend.key', list, onProblem })),
	});
	place.replaceChildren(
		h('p', h('a.button', { href: '#', 'data-action': 'back' }, t('tenants.back'))),
		h('section', { 'aria-labelledby': 'keys-heading' },
			h('h2', { id: 'keys-heading', tabindex: '-1' }, rich('tenants.keys_of', { tenant: id })),
			quota, list.nodes));
	list.load();
}

/** The button that suspends a key or a tenant, or lifts that. */
function suspension(item, name, path, { about, list, onProblem }) {
	async function resume() {
		try {
			list.update(await call('DELETE', path));
			announce(rich('resume.done', { name }));
		} catch (problem) {
			onProblem(problem, resume);
		}
	}
	return item.suspension
		? button('resume', { of: name, look: 'icon' }, resume)
		: button('suspend', { of: name, look: 'icon' }, () => suspendDialog({ path, name, about, update: list.update }));
}

function suspendDialog({ path, name, about, update }) {
	const reason = h('textarea', { name: 'reason', rows: '2', autofocus: true });
	const until = h('input', { type: 'datetime-local', name: 'until', min: toLocal(now()) });
	openDialog({
		id: 'suspend',
		action: 'suspend',
		look: 'danger',
		body: [
			notice('warn', h('p', rich(about, { name }))),
			field('reason', reason, { hint: t('hint.reason') }),
			field('until', until, { optional: true, hint: t('hint.until') }),
		],
		submit: async () => {
			const changed = await call('PUT', path, { body: { reason: reason.value, until: fromLocal(until.value) } });
			return () => {
				update(changed);
				announce(rich('suspend.done', { name }));
			};
		},
	});
}

function tierDialog({ tenant, session, onChanged }) {
	let turn = 0;
	const preview = h('div', { role: 'status', id: 'tier-preview' });
	const others = session.tiers.filter(({ name }) => name !== tenant.tier);
	const select = h('select', { name: 'tier', autofocus: true, change: look },
		h('option', { value: '' }, t('tier.choose')),
		others.map(({ name, keys }) => h('option', { value: name }, tn('tier.option', keys, { tier: name }))));

	async function look() {
		const mine = (turn += 1);
		const tier = select.value;
		preview.replaceChildren(tier && t('loading'));
		if (!tier) return;
		const shown = await get(tenantPath(tenant.id, `/tiers/${encodeURIComponent(tier)}`)).then(consequences,
			(problem) => h('div', h('p.error', explain(problem)), button('retry', {}, look)));
		if (mine === turn) preview.replaceChildren(shown);
	}

	openDialog({
		id: 'tier',
		action: 'tier',
		body: [h('p', rich('tier.of', { tenant: tenant.id, tier: tenant.tier })), field('tier', select), preview],
		submit: async () => {
			if (!select.value) throw fault('tier', 'tier.choose');
			const change = await call('PUT', tenantPath(tenant.id, '/tier'), { body: { tier: select.value } });
			return () => {
				onChanged({ ...tenant, tier: change.to, held: change.held, allowed: change.allowed });
				announce(rich('tier.done', { tenant: tenant.id, tier: change.to }));
			};
		},
	});
}

function consequences({ held, allowed, over, narrowed, complete }) {
	const harmless = !over && !narrowed.length && complete;
	return notice(harmless ? 'good' : 'warn',
		h('p', t('tier.held', { held: number(held), allowed: number(allowed) })),
		over > 0 && h('p', h('strong', tn('tier.over', over))),
		narrowed.length > 0 && [h('p', tn('tier.narrowed', narrowed.length)),
			h('ul', narrowed.map(({ name, loses }) => h('li', rich('tier.loses', { name, scopes: loses.join(', ') }))))],
		!complete && h('p', t('tier.incomplete')),
		harmless && h('p', t('tier.harmless')));
}

function leakDialog() {
	const token = h('textarea', { name: 'token', rows: '2', spellcheck: 'false', autofocus: true });
	const reason = h('input', { type: 'text', name: 'reason' });
	const result = h('div', { id: 'leak-result', role: 'status' });
	const responses = ['suspend', 'report_only'].map((value) => ({ value, label: t(`leak.${value}`) }));
	const clear = () => {
		token.value = '';
	};
	window.addEventListener('pagehide', clear);
	openDialog({
		id: 'leak',
		action: 'report',
		look: 'danger',
		cancel: 'done',
		body: [
			h('p', t('leak.text')),
			field('token', token, { hint: t('hint.token') }),
			field('reason', reason, { hint: t('hint.leak_reason') }),
			group('response', radios('response', responses, 'suspend'), { role: 'radiogroup' }),
			result,
		],
		submit: async (dialog) => {
			result.replaceChildren();
			const body = { token: token.value.trim(), reason: reason.value, response: checked(dialog, 'response') };
			const { found, key, response } = await call('POST', 'leaks', { body });
			clear();
			result.append(notice(found ? 'warn' : 'good', h('p', t(found ? `leak.found_${response}` : 'leak.not_found')),
				key && h('p', rich('leak.key', { name: key.name, tenant: key.tenant, hint: h('code', key.hint) }))));
			return false;
		},
		onClose: () => {
			clear();
			window.removeEventListener('pagehide', clear);
		},
	});
}
