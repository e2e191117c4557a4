import { freshId, h } from './dom.js';
import { rich, t } from './text.js';

/**
 * Creates the scope catalog as a tree of checkboxes. A scope that another chosen one implies is shown as
 * included. It returns to its previous state when the other one is unchosen.
 */
export function scopeTree(catalogue, held) {
	// The key may have scopes that are no longer in the catalog.
	const unknown = held.filter((each) => !catalogue.some(({ name }) => name === each)).map((name) => ({ name }));
	const chosen = new Set(held);
	const tree = h('ul.tree');
	const lists = new Map();
	const rows = [...catalogue, ...unknown].map((scope) => {
		const { name, description, parent } = scope;
		const id = freshId('scope');
		const box = h('input', {
			type: 'checkbox', name: 'scopes', value: name, id, 'aria-describedby': `${id}-about`, change,
		});
		const note = h('strong');
		const below = h('ul');
		lists.set(name, below);
		(lists.get(parent) ?? tree).append(h('li', h('div.scope',
			box, h('label', { for: id }, h('code', name)),
			h('p.about.hint', { id: `${id}-about` }, h('span', description), ' ', note)), below));
		return { scope, box, note };
	});

	function change({ target }) {
		if (target.checked) chosen.add(target.value);
		else chosen.delete(target.value);
		show();
	}

	function show() {
		for (const { scope: { name, grantable }, box, note } of rows) {
			const by = catalogue.find((other) => other.name !== name && chosen.has(other.name)
				&& other.implies?.includes(name));
			// A scope that the key has can be kept or removed, even if the user could not grant it.
			const forbidden = !grantable && !held.includes(name);
			box.checked = by || chosen.has(name);
			box.disabled = by || forbidden;
			note.replaceChildren(...(by ? rich('scope.included', { scope: by.name }) : [forbidden ? t('scope.forbidden') : '']));
		}
	}
	show();
	return { node: tree, read: () => [...chosen].sort() };
}
