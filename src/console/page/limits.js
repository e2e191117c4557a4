import { h } from './dom.js';
import { checked, radios } from './forms.js';
import { t } from './text.js';

/** Returns the entries of a text, which are separated by commas or lines. A line of `held` is one entry as it is. */
const entries = (text, held) => text.split('\n').flatMap((line) =>
	(held.includes(line) ? [line] : line.split(',').map((each) => each.trim()).filter(Boolean)));

/** Creates radio buttons, of which `only` has a text for a list. `words` are the values of the others. */
function choice({ name, prefix, words, held }) {
	const list = Array.isArray(held) ? held : [];
	const text = h('textarea', {
		name: `${name}-list`, rows: 2, spellcheck: 'false', autocapitalize: 'none', 'aria-label': t(`${prefix}.list`),
		input: () => node.querySelector('[value=only]').click(),
	}, list.join('\n'));
	const values = Object.keys(words);
	const selected = list.length ? 'only' : values.find((word) => JSON.stringify(words[word]) === JSON.stringify(held));
	const node = radios(name, [...values, 'only'].map((word) => [word, t(`${prefix}.${word}`)]), selected);
	node.querySelector('[value=only]').parentElement.append(text);
	const read = () => {
		const word = checked(node, name);
		return word in words ? words[word] : entries(text.value, list);
	};
	return { node, read };
}

/** Creates the choices of the resources of each kind. */
export function resourceChoices(kinds, held) {
	const words = { none: [], all: 'all' };
	const choices = kinds.map(({ name, description }) => [name, description,
		choice({ name: `resource-${name}`, prefix: 'resource', words, held: held[name] ?? [] })]);
	return {
		node: h('div', choices.map(([name, description, { node }]) =>
			h('div', { role: 'radiogroup', 'aria-label': name },
				h('p', h('code', name), ' ', h('span.hint', description)), node))),
		read: () => Object.fromEntries(choices.map(([name, , { read }]) => [name, read()])),
	};
}

/** Creates the choice of the networks from which a key may be used. */
export const networkChoice = (held) =>
	choice({ name: 'networks', prefix: 'network', words: { any: null }, held });

/** Returns the limits of a key as texts. A key may touch no resource of a kind that it does not name. */
export const limitTexts = ({ resources, networks }) => [
	...new Set([...limitTexts.kinds.map(({ name }) => name), ...Object.keys(resources)]),
].map((kind) => {
	const ids = resources[kind] ?? [t('resource.none')];
	return t('key.resources', { kind, ids: ids === 'all' ? t('resource.all') : ids.join(', ') });
}).concat(networks ? t('key.networks', { networks: networks.join(', ') }) : []);
