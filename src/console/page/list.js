import { get } from './api.js';
import { banner, button, h, rememberFocus } from './dom.js';
import { t } from './text.js';

const PAGE = 50;

/**
 * Items that come page by page, each a card; wide screens lay the same elements out as a table. `kind` names
 * the attribute that holds an item's id. `describe` says how many there are, or shows that there are none.
 */
export function pagedList({ kind, columns, card, path, describe, onPage, onProblem }) {
	const shown = new Set();
	let next = null;
	let turn = 0;

	const list = h('ul.cards', { role: 'list' });
	const table = h(`div.table.${kind}s`,
		h('div.head', { 'aria-hidden': 'true' }, columns.map((name) => h('span', t(`column.${name}`)))), list);
	const count = h('p.count', { role: 'status' });
	const results = h('div', { id: 'results' });
	const more = button('more', { look: 'wide', hidden: true }, () => load(() => get(pathOf(next)), { append: true }));

	const find = (id) => list.querySelector(`[data-${kind}="${CSS.escape(id)}"]`);

	function pathOf(after) {
		const [address, query] = path();
		return `${address}?${new URLSearchParams({ limit: PAGE, ...query, ...(after ? { after } : {}) })}`;
	}

	function add(items, { first = false } = {}) {
		const cards = items.filter(({ id }) => !shown.has(id)).map(card);
		for (const { id } of items) shown.add(id);
		if (first) list.prepend(...cards);
		else list.append(...cards);
		return cards[0];
	}

	function render() {
		const { said, empty } = describe({ size: shown.size, next });
		count.replaceChildren(...[said].flat());
		results.replaceChildren(shown.size ? table : h('div.empty', empty));
		more.hidden = !next;
	}

	/** Shows what `request` answers. An answer that was overtaken by a later request is dropped. */
	async function load(request = () => get(pathOf()), { append = false } = {}) {
		const mine = (turn += 1);
		results.setAttribute('aria-busy', 'true');
		try {
			const page = await request();
			if (mine !== turn) return;
			if (!append) {
				shown.clear();
				list.replaceChildren();
			}
			next = page.next ?? null;
			const first = add(page.items);
			onPage?.(page);
			render();
			if (append) first?.querySelector('h3').focus();
			banner(null);
		} catch (problem) {
			if (mine === turn) onProblem(problem, () => load(request, { append }));
		}
		if (mine === turn) results.removeAttribute('aria-busy');
	}

	return {
		nodes: [count, results, more],
		load,
		render,
		/** An item that is new, to be seen first. */
		prepend(item) {
			add([item], { first: true });
			render();
		},
		update(item) {
			const old = find(item.id);
			if (!old) return false;
			const restore = old.contains(document.activeElement) ? rememberFocus() : null;
			old.replaceWith(card(item));
			restore?.();
			return true;
		},
		remove(id) {
			shown.delete(id);
			find(id)?.remove();
			render();
		},
	};
}

export const fact = (name, ...content) => h(`div.fact.${name}`, h('dt', t(`column.${name}`)), h('dd', content));
