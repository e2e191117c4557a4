import { call, get, tenantPath } from './api.js';
import { announce, banner, button, chip, day, h, notice } from './dom.js';
import { checked, fault, field, openDialog, problemNotice, radios } from './forms.js';
import { keyCard, stateChip, suspensionOf } from './keys.js';
import { pagedList } from './list.js';
import { rich, t, tn } from './text.js';

/** The operator's page: all tenants, or the keys of one, as the address says. */
export function operatorView({ place, session, onProblem }) {
	const show = (moved) => {
		banner();
		const id = new URLSearchParams(location.hash.slice(1)).get('tenant');
		place.replaceChildren(...(id ? tenantKeys({ id, onProblem }) : tenants({ session, onProblem })));
		if (moved) place.querySelector('h2').focus();
	};
	// A page that is started again still listens once.
	window.onhashchange = () => show(true);
	show(false);
}

function section(what, title, options) {
	const list = pagedList({
		...options,
		describe: (size) => ({ said: tn(what, size), empty: h('strong', t(`${what}.empty`)) }),
	});
	list.load();
	return { list, node: h('section', h('h2', { tabindex: '-1' }, title), list.nodes) };
}

function tenants({ session, onProblem }) {
	const { list, node } = section('tenants', t('tenants.heading'), {
		kind: 'tenant', card, onProblem, path: () => 'tenants?',
	});

	function card(tenant) {
		const { id, tier, held, allowed, created_at: created, state } = tenant;
		const open = () => {
			location.hash = new URLSearchParams({ tenant: id });
		};
		return {
			title: id,
			facts: {
				tier: h('bdi', tier),
				keys: [t('quota', { held, allowed }), held > allowed && chip('warn', tn('quota.over', held - allowed))],
				created: day(created),
				status: stateChip(state),
			},
			buttons: [
				button('open', { of: id }, open),
				button('tier', { of: id }, () => tierDialog({ tenant, session, onChanged: list.update })),
				suspension(tenant, id, tenantPath(id, '/suspension'), { list, onProblem }),
			],
			notes: suspensionOf(tenant),
		};
	}
	return [h('div.lead', h('p', t('operator.lead')), button('leak', {}, leakDialog)), node];
}

function tenantKeys({ id, onProblem }) {
	const { list, node } = section('list', rich('tenants.keys_of', { tenant: id }), {
		kind: 'key', onProblem, path: () => tenantPath(id, '/keys?'),
		card: (key) => keyCard(key, suspension(key, key.name,
			tenantPath(id, `/keys/${key.id}/suspension`), { list, onProblem })),
	});
	return [h('p', h('a.button', { href: '#', 'data-action': 'back' }, t('tenants.heading'))), node];
}

/** The button that suspends a key or a tenant, or lifts that. */
function suspension(item, name, path, { list, onProblem }) {
	async function resume() {
		try {
			list.update(await call('DELETE', path));
			announce(rich('resume.done', { name }));
		} catch (problem) {
			onProblem(problem, resume);
		}
	}
	function suspend() {
		const reason = h('textarea', { name: 'reason', rows: 2, autofocus: true });
		openDialog({
			id: 'suspend', name, action: 'suspend', look: 'danger',
			body: [notice('warn', h('p', t('suspend.text'))), field('reason', reason, t('hint.reason'))],
			submit: async () => {
				const changed = await call('PUT', path, { body: { reason: reason.value, until: null } });
				return () => {
					list.update(changed);
					announce(rich('suspend.done', { name }));
				};
			},
		});
	}
	const action = item.suspension ? 'resume' : 'suspend';
	return button(action, { of: name }, item.suspension ? resume : suspend);
}

function tierDialog({ tenant, session, onChanged }) {
	const { id } = tenant;
	const preview = h('div', { role: 'status', id: 'tier-preview' });
	const others = session.tiers.filter(({ name }) => name !== tenant.tier);
	const select = h('select', { name: 'tier', autofocus: true, change: look },
		h('option', { value: '' }, t('tier.choose')),
		others.map(({ name, keys }) => h('option', { value: name }, t('tier.option', { tier: name, keys }))));

	async function look() {
		const tier = select.value;
		preview.replaceChildren();
		if (!tier) return;
		const shown = await get(tenantPath(id, `/tiers/${encodeURIComponent(tier)}`))
			.then(consequences, (problem) => problemNotice(problem, look));
		if (select.value === tier) preview.replaceChildren(shown);
	}

	openDialog({
		id: 'tier', name: id, action: 'tier',
		body: [field('tier', select), preview],
		submit: async () => {
			if (!select.value) throw fault('tier', 'tier.choose');
			const { to: tier, held, allowed } = await call('PUT', tenantPath(id, '/tier'), { body: { tier: select.value } });
			return () => {
				onChanged({ ...tenant, tier, held, allowed });
				announce(rich('tier.done', { tenant: id, tier }));
			};
		},
	});
}

function consequences({ held, allowed, over, narrowed, complete }) {
	const harmless = !over && !narrowed.length && complete;
	return notice(harmless ? 'good' : 'warn',
		h('p', t('tier.held', { held, allowed })),
		over > 0 && h('p', h('strong', tn('tier.over', over))),
		narrowed.length > 0 && [h('p', tn('tier.narrowed', narrowed.length)),
			h('ul', narrowed.map(({ name, loses }) => h('li', h('bdi', name), `: ${loses.join(', ')}`)))],
		!complete && h('p', t('tier.incomplete')),
		harmless && h('p', t('tier.harmless')));
}

function leakDialog() {
	const token = h('textarea', { name: 'token', rows: 2, spellcheck: 'false', autofocus: true });
	const reason = h('input', { name: 'reason' });
	const result = h('div', { id: 'leak-result', role: 'status' });
	const responses = ['suspend', 'report_only'].map((each) => [each, t(`leak.${each}`)]);
	openDialog({
		id: 'leak', action: 'leak', look: 'danger', cancel: 'done',
		body: [
			field('token', token, t('hint.token')),
			field('reason', reason, t('hint.reason')),
			field('response', radios('response', responses, 'suspend')),
			result,
		],
		submit: async (form) => {
			result.replaceChildren();
			const body = { token: token.value.trim(), reason: reason.value, response: checked(form, 'response') };
			const { found, key, response } = await call('POST', 'leaks', { body });
			token.value = '';
			result.append(notice(found ? 'warn' : 'good', h('p', t(found ? `leak.found_${response}` : 'leak.not_found')),
				key && h('p', rich('leak.key', { name: key.name, tenant: key.tenant, hint: key.hint }))));
			return false;
		},
	});
}
