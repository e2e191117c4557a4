import { get } from './api.js';
import { banner, button, h, rememberFocus } from './dom.js';
import { t } from './text.js';

/** Items page by page. `card` gives the parts of one, `describe` what is said of all or of none. */
export function pagedList({ kind, card, path, describe, onPage, onProblem }) {
	let next = null;
	let turn = 0;

	const head = h('div.head', { 'aria-hidden': 'true' });
	const list = h('ul.cards', { role: 'list' });
	const table = h(`div.table.${kind}s`, head, list);
	const count = h('p.count', { role: 'status' });
	const results = h('div', { id: 'results' });
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

	/** Shows what `request` answers, unless a later one has overtaken it. */
	async function load(request = () => get(pathOf()), append = false) {
		turn += 1;
		const mine = turn;
		results.setAttribute('aria-busy', 'true');
		try {
			const page = await request();
			if (mine !== turn) return;
			if (!append) list.replaceChildren();
			// One that is new may be there already.
			const elements = page.items.filter(({ id }) => !find(id)).map(elementOf);
			list.append(...elements);
			next = page.next;
			onPage?.(page);
			render();
			if (append) elements[0]?.querySelector('h3').focus();
			banner();
		} catch (problem) {
			if (mine === turn) onProblem(problem, () => load(request, append));
		}
		if (mine === turn) results.removeAttribute('aria-busy');
	}

	return {
		nodes: [count, results, more],
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
