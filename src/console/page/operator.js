import { call, get, tenantPath } from './api.js';
import { announce, banner, bdi, button, freshId, h, rememberFocus, when } from './dom.js';
import { checked, explain, field, fromLocal, group, notice, openDialog, radios, toLocal } from './forms.js';
import { chip, keyList } from './keys.js';
import { date, now, number, plural, rich, t } from './text.js';

const PAGE = 50;
const KEYS_OF = '#tenant=';
const COLUMNS = ['tenant', 'tier', 'keys', 'since', 'status'];

/** The page of the service's operator: all tenants, or the keys of one, as the address says. */
export function operatorView({ place, session, firstPage, onProblem }) {
  const show = (moved) => {
    const id = location.hash.startsWith(KEYS_OF) ? decodeURIComponent(location.hash.slice(KEYS_OF.length)) : null;
    banner(null);
    if (id) tenantKeys({ place, session, id, onProblem });
    else tenants({ place, session, onProblem, firstPage });
    firstPage = undefined;
    if (moved) place.querySelector('h2').focus();
  };
  // A page may be started more than once, but it listens once.
  window.onhashchange = () => show(true);
  show(false);
}

/** Loads page after page into `add`, with a count, a button for more, and a word when there is nothing. */
function pages({ path, add, size, content, empty, counted, onProblem, firstPage }) {
  let next = null;
  const count = h('p', { class: 'count', role: 'status' });
  const results = h('div', { id: 'results' });
  const more = button('more', { look: 'wide', hidden: true }, () => load());

  async function load(answer) {
    const query = new URLSearchParams({ limit: PAGE, ...(next ? { after: next } : {}) });
    const later = Boolean(next);
    results.setAttribute('aria-busy', 'true');
    try {
      const page = await (answer ?? get(`${path}?${query}`));
      next = page.next;
      const first = add(page);
      results.replaceChildren(size() ? content : h('div', { class: 'empty' }, h('p', { class: 'big' }, t(empty))));
      count.textContent = next ? t(`${counted}.some`, { count: number(size()) })
        : t(plural(`${counted}.all`, size()), { count: number(size()) });
      more.hidden = !next;
      if (later) first?.querySelector('h3').focus();
      banner(null);
    } catch (problem) {
      onProblem(problem, () => load());
    }
    results.removeAttribute('aria-busy');
  }
  load(firstPage);
  return [count, results, more];
}

function tenants({ place, session, onProblem, firstPage }) {
  const list = h('ul', { class: 'keys' });
  const table = h('div', { class: 'table tenants' },
    h('div', { class: 'head', 'aria-hidden': 'true' }, COLUMNS.map((name) => h('span', {}, t(`column.${name}`)))), list);

  const update = (tenant) => {
    const old = list.querySelector(`[data-tenant="${CSS.escape(tenant.id)}"]`);
    const restore = old?.contains(document.activeElement) ? rememberFocus() : null;
    old?.replaceWith(card(tenant));
    restore?.();
  };

  function card(tenant) {
    const of = tenant.id;
    const over = tenant.held - tenant.allowed;
    const suspended = tenant.state === 'suspended';
    return h('li', { class: 'key', 'data-tenant': tenant.id, 'data-state': tenant.state },
      h('div', { class: 'who' }, h('h3', { tabindex: '-1' }, bdi(tenant.id))),
      h('dl', { class: 'facts' },
        fact('tier', bdi(tenant.tier)),
        fact('keys', t('quota', { held: number(tenant.held), allowed: number(tenant.allowed) }),
          over > 0 && chip('warn', t(plural('quota.over', over), { count: number(over) }))),
        fact('since', when(tenant.created_at, { day: true })),
        fact('status', chip(suspended ? 'bad' : 'good', t(`tenant.${suspended ? 'is_suspended' : 'is_active'}`)))),
      h('div', { class: 'actions' },
        button('open', { of, look: 'icon' }, () => {
          location.hash = KEYS_OF + encodeURIComponent(tenant.id);
        }),
        button('tier', { of, look: 'icon' }, () => tierDialog({ tenant, session, onChanged: update })),
        suspended
          ? button('resume', { of, look: 'icon' }, () => resume({ path: tenantPath(of, '/suspension'), name: of, update, onProblem }))
          : button('suspend', { of, look: 'icon' }, () => suspendDialog({
            path: tenantPath(of, '/suspension'), name: of, about: 'suspend.tenant', update }))),
      h('div', { class: 'notes' }, tenant.suspension && why(tenant.suspension)));
  }

  place.replaceChildren(
    h('div', { class: 'lead' },
      h('p', {}, t('operator.lead')),
      button('leak', {}, leakDialog)),
    h('section', { 'aria-labelledby': 'tenants-heading' },
      h('h2', { id: 'tenants-heading', tabindex: '-1' }, t('tenants.heading')),
      pages({
        path: 'tenants', content: table, empty: 'tenants.empty', counted: 'tenants', onProblem, firstPage,
        size: () => list.children.length,
        add: (page) => {
          const cards = page.items.map(card);
          list.append(...cards);
          return cards[0];
        },
      })));
}

const fact = (name, ...content) => h('div', { class: `fact ${name}` }, h('dt', {}, t(`column.${name}`)), h('dd', {}, content));

const why = ({ reason, until }) => h('p', {}, rich(until ? 'tenant.why_until' : 'tenant.why', { reason, date: until && date(until) }));

function tenantKeys({ place, session, id, onProblem }) {
  const path = (key) => tenantPath(id, `/keys/${encodeURIComponent(key.id)}/suspension`);
  const list = keyList({ session, actions: (key) => ({
    buttons: key.suspension
      ? button('resume', { of: key.name, look: 'icon' }, () => resume({ path: path(key), name: key.name, update: list.update, onProblem }))
      : button('suspend', { of: key.name, look: 'icon' }, () => suspendDialog({
        path: path(key), name: key.name, about: 'suspend.key', update: list.update })),
  }) });
  const quota = h('p', { class: 'quota' });
  place.replaceChildren(
    h('p', {}, h('a', { class: 'button', href: '#', 'data-action': 'back' }, t('tenants.back'))),
    h('section', { 'aria-labelledby': 'keys-heading' },
      h('h2', { id: 'keys-heading', tabindex: '-1' }, rich('tenants.keys_of', { tenant: id })),
      quota,
      pages({
        path: tenantPath(id, '/keys'), content: list.node, empty: 'tenants.no_keys', counted: 'list', onProblem,
        size: list.size,
        add: (page) => {
          quota.replaceChildren(h('strong', {}, t('quota', { held: number(page.held), allowed: number(page.allowed) })));
          return list.add(page.items);
        },
      })));
}

function tierDialog({ tenant, session, onChanged }) {
  let turn = 0;
  const preview = h('div', { role: 'status', id: 'tier-preview' });
  const select = h('select', { name: 'tier', autofocus: true, change: look },
    h('option', { value: '' }, t('tier.choose')),
    session.tiers.filter((tier) => tier.name !== tenant.tier).map((tier) =>
      h('option', { value: tier.name }, t(plural('tier.option', tier.keys), { tier: tier.name, count: number(tier.keys) }))));

  async function look() {
    const mine = (turn += 1);
    const tier = select.value;
    preview.replaceChildren(tier ? h('p', {}, t('loading')) : '');
    if (!tier) return;
    try {
      const change = await get(tenantPath(tenant.id, `/tiers/${encodeURIComponent(tier)}`));
      if (mine === turn) preview.replaceChildren(consequences(change));
    } catch (problem) {
      if (mine === turn) preview.replaceChildren(h('p', { class: 'error' }, explain(problem)), button('retry', {}, look));
    }
  }

  openDialog({
    id: 'tier',
    title: t('tier.title'),
    action: 'save-tier',
    body: [h('p', {}, rich('tier.of', { tenant: tenant.id, tier: tenant.tier })), field('tier', select), preview],
    submit: async () => {
      if (!select.value) throw { kind: 'here', field: 'tier', body: { detail: t('tier.missing') } };
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
    h('p', {}, t('tier.held', { held: number(held), allowed: number(allowed) })),
    over > 0 && h('p', {}, h('strong', {}, t(plural('tier.over', over), { count: number(over) }))),
    narrowed.length > 0 && [h('p', {}, t(plural('tier.narrowed', narrowed.length), { count: number(narrowed.length) })),
      h('ul', {}, narrowed.map(({ name, loses }) => h('li', {}, rich('tier.loses', { name, scopes: loses.join(', ') }))))],
    !complete && h('p', {}, t('tier.incomplete')),
    harmless && h('p', {}, t('tier.harmless')));
}

function suspendDialog({ path, name, about, update }) {
  const reason = h('textarea', { name: 'reason', rows: '2', autofocus: true });
  const until = h('input', { type: 'datetime-local', name: 'until', min: toLocal(now()) });
  openDialog({
    id: 'suspend',
    title: t('suspend.title'),
    action: 'suspend',
    look: 'danger',
    body: [
      notice('warn', h('p', {}, rich(about, { name }))),
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

async function resume({ path, name, update, onProblem }) {
  try {
    update(await call('DELETE', path));
    announce(rich('resume.done', { name }));
  } catch (problem) {
    onProblem(problem, () => resume({ path, name, update, onProblem }));
  }
}

function leakDialog() {
  const token = h('textarea', { name: 'token', rows: '2', spellcheck: 'false', autocomplete: 'off', autofocus: true });
  const reason = h('input', { type: 'text', name: 'reason' });
  const result = h('div', { id: 'leak-result', role: 'status' });
  const clear = () => {
    token.value = '';
  };
  window.addEventListener('pagehide', clear);
  openDialog({
    id: 'leak',
    title: t('leak.title'),
    action: 'report',
    look: 'danger',
    cancel: 'done',
    body: [
      h('p', {}, t('leak.text')),
      field('token', token, { hint: t('hint.token') }),
      field('reason', reason, { hint: t('hint.leak_reason') }),
      group('response', radios('response', ['suspend', 'report_only'].map((value) => ({ value, label: t(`leak.${value}`) })), 'suspend'),
        { role: 'radiogroup' }),
      result,
    ],
    submit: async (dialog) => {
      result.replaceChildren();
      const body = { token: token.value.trim(), reason: reason.value, response: checked(dialog, 'response') };
      const answer = await call('POST', 'leaks', { body });
      clear();
      const outcome = answer.found ? `leak.found_${answer.response}` : 'leak.not_found';
      result.append(notice(answer.found ? 'warn' : 'good', h('p', {}, t(outcome)),
        answer.key && h('p', {}, rich('leak.key', { name: answer.key.name, tenant: answer.key.tenant, hint: h('code', {}, answer.key.hint) }))));
      return false;
    },
    onClose: () => {
      clear();
      window.removeEventListener('pagehide', clear);
    },
  });
}
