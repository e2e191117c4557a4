import { call, get, tenantPath } from './api.js';
import { announce, banner, button, chip, day, h, notice, rememberFocus } from './dom.js';
import { consequences, exceptionsDialog, exceptionTexts } from './exceptions.js';
import { checked, fault, field, openDialog, problemNotice, radios } from './forms.js';
import { chips, keyCard, stateChip, suspensionOf } from './keys.js';
import { pagedList } from './list.js';
import { rich, t, tn } from './text.js';
import { allowanceList, usageSection } from './usage.js';

/** Shows the operator's page: all tenants, or the keys of the tenant in the address. */
export function operatorView({ place, session, onProblem }) {
	const show = (moved) => {
		banner();
		const id = new URLSearchParams(location.hash.slice(1)).get('tenant');
		place.replaceChildren(...(id ? tenantKeys({ id, session, onProblem }) : tenants({ session, onProblem })));
		if (moved) place.querySelector('h2').focus();
	};
	// A property and not a listener, so that a page which is started again has one handler only.
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
	const { without } = session;
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
				keys: [tn('quota', allowed, { held, allowed }), held > allowed && chip('warn', tn('quota.over', held - allowed))],
				created: day(created),
				status: stateChip(state),
			},
			buttons: [
				button('open', { of: id }, open),
				!without.includes('tiers') && button('tier', { of: id }, () => tierDialog({ tenant, session, list })),
				!without.includes('suspensions') && suspension(tenant, id, tenantPath(id, '/suspension'), { list, onProblem }),
			],
			notes: suspensionOf(tenant),
		};
	}
	return [h('div.lead', h('p', t('operator.lead')), !without.includes('leak_reports') && button('leak', {}, leakDialog)), node];
}

function tenantKeys({ id, session, onProblem }) {
	const about = h('div', { id: 'about' });
	const usage = session.usage && usageSection();
	if (usage) usage.load(tenantPath(id, '/usage'));
	const { list, node } = section('list', rich('tenants.keys_of', { tenant: id }), {
		kind: 'key', onProblem, path: () => tenantPath(id, '/keys?'),
		read: async (path) => {
			const [tenant, page] = await Promise.all([get(tenantPath(id)), get(path)]);
			describeTenant(tenant);
			return page;
		},
		card: (key) => keyCard(key, !session.without.includes('suspensions') && suspension(key, key.name,
			tenantPath(id, `/keys/${key.id}/suspension`), { list, onProblem })),
	});
	const allowances = session.allowances && allowanceList(tenantPath(id, '/allowances'));
	node.firstChild.after(about, allowances ? allowances.node : '', usage ? usage.node : '');

	function describeTenant(tenant) {
		const { tier, held, allowed, exceptions } = tenant;
		const set = exceptionTexts(exceptions);
		const onSaved = () => {
			list.load();
			if (allowances) allowances.load();
		};
		const edit = () => exceptionsDialog({ tenant, session, onSaved, onConflict: raced(list, id) });
		const restore = about.contains(document.activeElement) && rememberFocus();
		about.replaceChildren(h('div.lead',
			h('div', h('p', h('strong', tn('quota', allowed, { held, allowed })), ' ', rich('quota.tier', { tier })),
				set.length > 0 && [h('p', t('exceptions.set')), chips(set)]),
			!session.without.includes('exceptions') && button('exceptions', { of: id, look: '' }, edit)));
		if (restore) restore();
	}
	return [h('p', h('a.button', { href: '#', 'data-action': 'back' }, t('tenants.heading'))), node];
}

/** After a conflict, reads the list again, so that the next attempt is for the present version. */
const raced = (list, name) => (problem) => {
	if (problem.kind !== 'changed') throw problem;
	return () => {
		list.load();
		announce(rich('conflict.toggle', { name }));
	};
};

/** Creates the button that suspends or resumes a key or a tenant. */
function suspension(item, name, path, { list, onProblem }) {
	const { version } = item;
	const resume = () => call('DELETE', path, { version }).then((resumed) => () => {
		list.update(resumed);
		announce(rich('resume.done', { name }));
	}).catch(raced(list, name)).then((show) => show(), (problem) => onProblem(problem, resume));
	function suspend() {
		const reason = h('textarea', { name: 'reason', rows: 2, autofocus: true });
		openDialog({
			id: 'suspend', name, action: 'suspend', look: 'danger',
			body: [notice('warn', h('p', t('suspend.text'))), field('reason', reason, t('hint.reason'))],
			submit: () => call('PUT', path, { version, body: { reason: reason.value, until: null } }).then((changed) => () => {
				list.update(changed);
				announce(rich('suspend.done', { name }));
			}).catch(raced(list, name)),
		});
	}
	const action = item.suspension ? 'resume' : 'suspend';
	return button(action, { of: name }, item.suspension ? resume : suspend);
}

function tierDialog({ tenant, session, list }) {
	const { id, version } = tenant;
	const preview = h('div', { role: 'status', id: 'tier-preview' });
	const others = session.tiers.filter(({ name }) => name !== tenant.tier);
	const select = h('select', { name: 'tier', autofocus: true, change: look },
		h('option', { value: '' }, t('tier.choose')),
		others.map(({ name, keys }) => h('option', { value: name }, tn('tier.option', keys, { tier: name, keys }))));

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
			const body = { tier: select.value };
			return call('PUT', tenantPath(id, '/tier'), { version, body }).then(({ to: tier, ...change }) => () => {
				const { held, allowed } = change;
				list.update({ ...tenant, tier, held, allowed, version: change.version });
				announce(rich('tier.done', { tenant: id, tier }));
			}).catch(raced(list, id));
		},
	});
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
				key && h('p', rich('leak.key', { name: key.name, tenant: key.tenant, masked: key.masked }))));
			return false;
		},
	});
}
