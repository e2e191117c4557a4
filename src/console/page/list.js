import { get } from './api.js';
import { banner, button, h, notice, rememberFocus } from './dom.js';
import { t, tn } from './text.js';

/**
 * Creates a list that loads page by page. `card` returns the parts of an item, `describe` the texts of the list, and
 * `read` the first page. `onPage` gets a page and the path from which it was read.
 */
export function pagedList({ kind, card, path, describe, onPage, onProblem, read = get }) {
	let next = null;
	let turn = 0;

	const head = h('div.head', { 'aria-hidden': 'true' });
	const list = h('ul.cards', { role: 'list' });
	const table = h(`div.table.${kind}s`, head, list);
	const count = h('p.count', { role: 'status' });
	const results = h('div', { id: 'results' });
	// Rows that cannot be read are reported here, and the others are shown.
	const broken = h('div', { id: 'broken' });
	const more = button('more', { hidden: true }, () => load(() => get(pathOf(next)), true));

	const idOf = (id) => `${kind}-${id}`;
	const find = (id) => document.getElementById(idOf(id));
	const pathOf = (after) => `${path()}limit=50${after ? `&after=${encodeURIComponent(after)}` : ''}`;

	function elementOf(item) {
		const { title, about, facts, buttons, notes } = card(item);
		const names = Object.keys(facts);
		head.replaceChildren(...[kind, ...names].map((name) => h('span', t(`field.${name}`))));
		return h('li.key', { id: idOf(item.id), [`data-${kind}`]: item.id, 'data-state': item.state },
			h('div.who', h('h3', { tabindex: '-1' }, h('bdi', title)), about),
			h('dl.facts', names.map((name) =>
				h(`div.fact.${name}`, h('dt', t(`field.${name}`)), h('dd', facts[name])))),
			h('div.actions', buttons),
			h('div.notes', { id: `notes-${item.id}` }, notes));
	}

	function render() {
		const { said, empty } = describe(list.childElementCount);
		count.textContent = said;
		results.replaceChildren(list.firstChild ? table : h('div.empty', empty));
		more.hidden = !next;
	}

	/** Shows the response of `request`, unless a later request was made in between. */
	async function load(request = () => read(pathOf()), append = false) {
		turn += 1;
		const mine = turn;
		const from = pathOf(append && next);
		results.setAttribute('aria-busy', 'true');
		try {
			const page = await request();
			if (mine !== turn) return;
			if (!append) [list, broken].forEach((each) => each.replaceChildren());
			if (page.broken?.length) {
				const ids = page.broken.map(({ id }) => id ?? t('broken.unknown')).join(', ');
				broken.append(notice('bad', h('p', tn(`broken.${kind}`, page.broken.length, { ids }))));
			}
			// An item that was created on this page may be in the list already.
			const elements = page.items.filter(({ id }) => !find(id)).map(elementOf);
			list.append(...elements);
			next = page.next;
			onPage?.(page, from);
			render();
			if (append) elements[0]?.querySelector('h3').focus();
			banner();
		} catch (problem) {
			if (mine === turn) onProblem(problem, () => load(request, append));
		}
		if (mine === turn) results.removeAttribute('aria-busy');
	}

	return {
		nodes: [count, broken, results, more],
		load,
		prepend(item) {
			list.prepend(elementOf(item));
			render();
		},
		update(item) {
			const old = find(item.id);
			if (!old) return false;
			const restore = old.contains(document.activeElement) && rememberFocus();
			old.replaceWith(elementOf(item));
			if (restore) restore();
			return true;
		},
		remove(id) {
			find(id)?.remove();
			render();
		},
	};
}
