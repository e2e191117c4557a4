import { call, get, keyPath } from './api.js';
import { announce, banner, bdi, button, freshId, h, icon, rememberFocus, when } from './dom.js';
import { createDialog, deleteDialog, editDialog, historyDialog, recover, rotateDialog } from './dialogs.js';
import { explain, notice } from './forms.js';
import { date, daysFromNow, has, number, now, plural, rich, t } from './text.js';

const PAGE = 50;
const TYPING = 120;
const SOON_DAYS = 14;
const CHIPS = 6;
const STATES = ['active', 'disabled', 'suspended', 'expired', 'not_yet_valid'];
const COLUMNS = ['name', 'scopes', 'created', 'last_used', 'expires', 'status'];

/** The keys of one tenant, each a card; wide screens lay the same elements out as a table. */
export function keyList({ session, actions }) {
  const shown = new Map();
  const list = h('ul', { class: 'keys' });
  const head = h('div', { class: 'head', 'aria-hidden': 'true' }, COLUMNS.map((name) => h('span', {}, t(`column.${name}`))));
  const node = h('div', { class: 'table' }, head, list);

  const card = (key) => keyCard(key, session, actions(key));
  const element = (id) => list.querySelector(`[data-key="${CSS.escape(id)}"]`);

  return {
    node,
    size: () => shown.size,
    clear() {
      shown.clear();
      list.replaceChildren();
    },
    /** Adds those that are not there yet and returns the first of them. */
    add(keys, { first = false } = {}) {
      const fresh = keys.filter((key) => !shown.has(key.id));
      for (const key of fresh) shown.set(key.id, key);
      const cards = fresh.map(card);
      if (first) list.prepend(...cards);
      else list.append(...cards);
      return cards[0];
    },
    update(key) {
      const old = element(key.id);
      if (!old) return false;
      const restore = old.contains(document.activeElement) ? rememberFocus() : null;
      shown.set(key.id, key);
      old.replaceWith(card(key));
      restore?.();
      return true;
    },
    remove(id) {
      shown.delete(id);
      element(id)?.remove();
    },
  };
}

function keyCard(key, session, controls) {
  const noteId = freshId('note');
  const notes = notesOf(key);
  return h('li', { class: 'key', 'data-key': key.id, 'data-state': key.state },
    h('div', { class: 'who' },
      h('h3', { tabindex: '-1' }, bdi(key.name)),
      h('p', { class: 'hint' }, h('code', {}, key.hint), key.imported && [' ', chip('plain', t('key.imported'))]),
      h('ul', { class: 'chips' }, Object.entries(key.labels).map(([name, value]) => h('li', {}, bdi(`${name}=${value}`))))),
    h('dl', { class: 'facts' },
      fact('scopes', scopesOf(key)),
      fact('created', h('span', {}, when(key.created_at, { day: true })),
        key.created_by && h('span', { class: 'note' }, rich('key.by', { actor: key.created_by }))),
      fact('last_used', key.last_used
        ? [h('span', {}, when(key.last_used)), h('span', { class: 'note' }, date(key.last_used))]
        : h('span', { class: 'note' }, t('key.unused'))),
      fact('expires', ...expiryOf(key)),
      fact('status', h('span', { class: 'state' }, controls.toggle?.(noteId), stateChip(key)))),
    h('div', { class: 'actions' }, controls.buttons),
    h('div', { class: 'notes', id: noteId }, notes));
}

const fact = (name, ...content) => h('div', { class: `fact ${name}` }, h('dt', {}, t(`column.${name}`)), h('dd', {}, content));

export const chip = (tone, text) => h('span', { class: `chip ${tone}` }, text);

const TONES = { active: 'good', disabled: 'plain', suspended: 'bad', tenant_suspended: 'bad', expired: 'bad', not_yet_valid: 'plain' };
const stateChip = (key) => chip(TONES[key.state] ?? 'plain', has(`state.${key.state}`) ? t(`state.${key.state}`) : key.state);

function scopesOf(key) {
  if (!key.scopes.length) return h('span', { class: 'note' }, t('key.no_scopes'));
  const rest = key.scopes.length - CHIPS;
  return h('ul', { class: 'chips' },
    key.scopes.slice(0, CHIPS).map((scope) => h('li', {}, scope)),
    rest > 0 && h('li', {}, t('key.more_scopes', { count: number(rest) })));
}

function expiryOf(key) {
  if (!key.expires_at) return [h('span', { class: 'note' }, t('key.never'))];
  const time = Date.parse(key.expires_at);
  const soon = time > now() && time < daysFromNow(SOON_DAYS);
  return [
    h('span', {}, when(key.expires_at, { day: true })),
    soon ? chip('warn', [t('key.expires_soon'), ' ', when(key.expires_at)])
      : h('span', { class: 'note' }, when(key.expires_at)),
  ];
}

function notesOf(key) {
  const { suspension: held, not_before: start, overlap_until: overlap } = key;
  return [
    held && h('p', {}, rich(held.until ? 'key.suspended_until' : 'key.suspended', {
      reason: held.reason, date: held.until && date(held.until) })),
    start && Date.parse(start) > now() && h('p', {}, rich('key.starts', { when: when(start), date: date(start) })),
    overlap && Date.parse(overlap) > now() && h('p', {}, rich('key.overlap', { when: when(overlap) })),
  ];
}

/** The page of a tenant's administrator. */
export function tenantView({ place, session, firstPage, onProblem }) {
  const tenant = session.tenant;
  let next = null;
  let state = '';
  let pending = 0;
  let timer;
  let searching = null;
  let pasted = false;

  const quota = h('div', { class: 'quota' });
  const alerts = h('div', {});
  const count = h('p', { class: 'count', role: 'status' });
  const results = h('div', { id: 'results' });
  const more = button('more', { look: 'wide', hidden: true }, showMore);
  const text = h('input', {
    type: 'search', name: 'search', id: 'search', autocomplete: 'off', spellcheck: 'false',
    'aria-describedby': 'search-hint', input: typed,
  });
  const clear = button('clear', { look: 'icon quiet', hidden: true, text: t('search.clear') }, () => {
    text.value = '';
    stopSearch();
    text.focus();
  });
  const states = tenant.state === 'suspended' ? [...STATES, 'tenant_suspended'] : STATES;
  const filter = h('select', { name: 'state', id: 'filter', change: () => {
    state = filter.value;
    if (searching) showFound(searching);
    else reload();
  } }, h('option', { value: '' }, t('filter.all')), states.map((each) => h('option', { value: each }, t(`state.${each}`))));

  const keys = keyList({ session, actions });
  const dialog = { session, onChanged: (key) => keys.update(key), onGone };
  const open = (show) => (key) => show({ ...dialog, key });
  const [edit, rotate, remove, history] = [editDialog, rotateDialog, deleteDialog, historyDialog].map(open);

  place.replaceChildren(
    h('div', { class: 'lead' },
      h('p', {}, t('lead')),
      button('create', { look: 'primary', 'aria-describedby': 'quota' }, create)),
    alerts,
    h('section', { 'aria-labelledby': 'keys-heading' },
      h('h2', { id: 'keys-heading', class: 'hidden' }, t('keys.heading')),
      h('div', { class: 'tools' },
        quota,
        h('search', { class: 'find', role: 'search' },
          h('div', { class: 'tool grow' }, h('label', { for: 'search' }, t('search.label')),
            h('div', { class: 'input' }, icon('search'), text, clear),
            h('p', { id: 'search-hint', class: 'hidden' }, t('search.hint'))),
          h('div', { class: 'tool' }, h('label', { for: 'filter' }, t('filter.label')), filter))),
      count, results, more));
  quota.id = 'quota';
  showQuota();
  load(firstPage);

  function actions(key) {
    const of = key.name;
    return {
      toggle: (noteId) => h('button', {
        type: 'button', class: 'switch', role: 'switch', 'data-action': 'toggle', 'aria-checked': String(key.enabled),
        'aria-label': t('key.switch', { name: of }), 'aria-describedby': noteId,
        'aria-disabled': key.suspension && 'true', title: t(key.enabled ? 'key.on' : 'key.off'),
        click: (event) => toggle(key, event.currentTarget),
      }),
      buttons: [
        button('edit', { of, look: 'icon' }, () => edit(key)),
        button('rotate', { of, look: 'icon' }, () => rotate(key)),
        button('history', { of, look: 'icon' }, () => history(key)),
        button('delete', { of, look: 'icon' }, () => remove(key)),
      ],
    };
  }

  function showQuota() {
    const { held, allowed, tier } = tenant;
    const over = held - allowed;
    const bar = h('span', { class: `bar ${over >= 0 ? 'full' : ''}`, 'aria-hidden': 'true' }, h('i', {}));
    bar.firstChild.style.width = `${Math.min(100, (100 * held) / Math.max(1, allowed))}%`;
    quota.replaceChildren(
      h('p', {}, h('strong', {}, t('quota', { held: number(held), allowed: number(allowed) })),
        h('span', { class: 'note' }, ' ', rich('quota.tier', { tier }))), bar);

    const { suspension } = tenant;
    const notices = [
      tenant.state === 'suspended' && notice('bad', h('p', {}, h('strong', {}, t('tenant.suspended'))),
        suspension && h('p', {}, rich(suspension.until ? 'tenant.why_until' : 'tenant.why', {
          reason: suspension.reason, date: suspension.until && date(suspension.until) })), support('tenant.ask')),
      over >= 0 && notice('warn', h('p', {}, h('strong', {}, over > 0
        ? t(plural('quota.over', over), { count: number(over) }) : t('quota.full'))),
      h('p', {}, t(over > 0 ? 'quota.over_advice' : 'quota.full_advice')), support('quota.ask')),
    ].filter(Boolean);
    notices.at(-1)?.setAttribute('tabindex', '-1');
    alerts.replaceChildren(...notices);
  }

  function support(key) {
    const address = session.service.support;
    if (!address) return null;
    const href = /^https?:/.test(address) ? address : address.includes('@') ? `mailto:${address}` : null;
    return h('p', {}, rich(key, { support: href ? h('a', { href }, address) : address }));
  }

  async function load(answer) {
    const turn = (pending += 1);
    results.setAttribute('aria-busy', 'true');
    try {
      const page = await (answer ?? get(listPath()));
      if (turn !== pending) return;
      keys.clear();
      keys.add(page.items);
      takePage(page);
      banner(null);
    } catch (problem) {
      if (turn === pending) onProblem(problem, () => reload());
    }
    results.removeAttribute('aria-busy');
  }

  const reload = () => load();

  function listPath(after) {
    const query = new URLSearchParams({ limit: PAGE });
    if (after) query.set('after', after);
    if (state) query.set('state', state);
    return `keys?${query}`;
  }

  function takePage(page) {
    next = page.next;
    Object.assign(tenant, { held: page.held, allowed: page.allowed });
    showQuota();
    showList();
  }

  function showList() {
    more.hidden = Boolean(searching) || !next;
    if (keys.size()) {
      results.replaceChildren(keys.node);
      const shown = keys.size();
      if (searching) count.textContent = t(plural('search.found', shown), { count: number(shown) });
      else count.textContent = next ? t('list.some', { count: number(shown) }) : t(plural('list.all', shown), { count: number(shown) });
      if (searching?.full) count.append(' ', t('search.full'));
      return;
    }
    const kind = searching ? 'nothing' : state ? 'none' : 'empty';
    count.textContent = kind === 'empty' ? '' : t(`${kind}.title`);
    if (searching?.full) count.append(' ', t('search.full'));
    results.replaceChildren(h('div', { class: 'empty' },
      h('p', { class: 'big' }, t(`${kind}.title`)), h('p', {}, t(`${kind}.text`)),
      kind === 'empty' && button('create', { look: 'primary', 'data-action': 'create-first' }, create)));
  }

  async function showMore() {
    const turn = pending;
    more.setAttribute('aria-disabled', 'true');
    try {
      const page = await get(listPath(next));
      if (turn !== pending) return;
      const first = keys.add(page.items);
      takePage(page);
      (first?.querySelector('h3') ?? more).focus();
      banner(null);
    } catch (problem) {
      onProblem(problem, showMore);
    } finally {
      more.removeAttribute('aria-disabled');
    }
  }

  function typed(event) {
    pasted = /^insertFrom(Paste|Drop)/.test(event.inputType ?? '');
    clear.hidden = !text.value;
    clearTimeout(timer);
    if (text.value.trim()) timer = setTimeout(search, TYPING);
    else stopSearch();
  }

  async function search() {
    const turn = (pending += 1);
    const wanted = text.value.trim();
    results.setAttribute('aria-busy', 'true');
    try {
      const { items } = await call('POST', 'keys/search', { body: { text: wanted } });
      if (turn !== pending) return;
      const full = isToken(wanted, items, pasted);
      // A whole key has no business on the page.
      if (full) text.value = '';
      showFound({ items, full });
      banner(null);
    } catch (problem) {
      if (turn !== pending) return;
      if (problem.field) count.textContent = explain(problem);
      else onProblem(problem, search);
    }
    results.removeAttribute('aria-busy');
  }

  function showFound(found) {
    searching = found;
    clear.hidden = false;
    keys.clear();
    keys.add(found.items.filter((key) => !state || key.state === state));
    showList();
  }

  function stopSearch() {
    clearTimeout(timer);
    clear.hidden = true;
    searching = null;
    reload();
  }

  async function create() {
    if (tenant.held >= tenant.allowed) {
      // Somebody may have made room since.
      try {
        Object.assign(tenant, (await get('session')).tenant);
      } catch (problem) {
        return onProblem(problem, create);
      }
      showQuota();
      if (tenant.held >= tenant.allowed) return alerts.lastElementChild.focus();
    }
    createDialog({ session, onCreated });
  }

  function onCreated(key, known) {
    if (keys.update(key)) return;
    if (!known) tenant.held += 1;
    keys.add([key], { first: true });
    showQuota();
    showList();
  }

  function onGone(key) {
    keys.remove(key.id);
    if (searching) searching.items = searching.items.filter((each) => each.id !== key.id);
    tenant.held = Math.max(0, tenant.held - 1);
    showQuota();
    showList();
    document.querySelector('#title').focus();
    announce(rich('delete.done', { name: key.name }));
  }

  async function toggle(key, control) {
    if (control.getAttribute('aria-disabled') === 'true') return announce(t('key.cannot_lift'), { stay: true });
    if (control.getAttribute('aria-busy') === 'true') return;
    control.setAttribute('aria-busy', 'true');
    try {
      const saved = await call('PATCH', keyPath(key), { version: key.version, body: { enabled: !key.enabled } });
      keys.update(saved);
      announce(rich(saved.enabled ? 'toggle.on' : 'toggle.off', { name: saved.name }));
      return;
    } catch (problem) {
      try {
        const done = await recover(problem, key, { onGone, onFresh: (fresh) => {
          keys.update(fresh);
          announce(rich('conflict.toggle', { name: fresh.name }), { stay: true });
        } });
        if (done) done();
      } catch (other) {
        onProblem(other, () => toggle(key, control));
      }
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
  const explained = items.some((key) => [key.name, key.id, key.hint].some((each) => each.toLowerCase().includes(small)));
  return !explained && (items.length === 1 || pasted);
}
