import { h, freshId } from './dom.js';
import { rich, t } from './text.js';

/**
 * The catalogue as a tree of checkboxes. A scope that another chosen one implies is shown as included;
 * it comes back as it was when that one is unchosen.
 */
export function scopeTree(catalogue, held) {
	const known = new Set(catalogue.map((scope) => scope.name));
	const unknown = held.filter((name) => !known.has(name))
		.map((name) => ({ name, description: t('scope.unknown'), parent: null, grantable: false }));
	const all = [...catalogue, ...unknown];
	const chosen = new Set(held);
	const rows = new Map();
	const list = h('ul.tree');

	for (const scope of all) {
		const row = scopeRow(scope, (on) => {
			if (on) chosen.add(scope.name);
			else chosen.delete(scope.name);
			update();
		});
		rows.set(scope.name, row);
		const parent = rows.get(scope.parent);
		if (!parent) {
			list.append(row.item);
			continue;
		}
		if (!parent.children) parent.item.append(parent.children = h('ul'));
		parent.children.append(row.item);
	}

	function update() {
		for (const scope of all) {
			const { box, note } = rows.get(scope.name);
			const by = all.find((other) => chosen.has(other.name) && other.name !== scope.name
				&& other.implies?.includes(scope.name));
			// What the key has already may be kept or taken away, even if it could not be granted now.
			const forbidden = !scope.grantable && !held.includes(scope.name);
			box.checked = Boolean(by) || chosen.has(scope.name);
			box.disabled = Boolean(by) || forbidden;
			const why = by ? rich('scope.included', { scope: by.name }) : [forbidden ? t('scope.forbidden') : ''];
			note.replaceChildren(...why);
		}
	}
	update();
	return { node: list, read: () => all.map((scope) => scope.name).filter((name) => chosen.has(name)) };
}

function scopeRow(scope, onchange) {
	const id = freshId('scope');
	const box = h('input', {
		type: 'checkbox',
		name: 'scopes',
		value: scope.name,
		id,
		'aria-describedby': `${id}-about ${id}-note`,
		change: () => onchange(box.checked),
	});
	const note = h('span.note', { id: `${id}-note` });
	const label = h('label', { for: id }, h('code', scope.name));
	const about = h('span.about', h('span', { id: `${id}-about` }, scope.description), ' ', note);
	return { box, note, item: h('li', h('div.scope', box, label, about)) };
}
