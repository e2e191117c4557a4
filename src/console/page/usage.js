import { at, get, keyPath } from './api.js';
import { button, freshId, h } from './dom.js';
import { openDialog, problemNotice } from './forms.js';
import { allowanceText, moment, number, t, tn, utcDay } from './text.js';

/** The outcomes in the order in which a bar has them from below. Their bars also differ in width. */
const OUTCOMES = ['admitted', 'forbidden', 'limited'];
const HEIGHT = 100;
const WIDTHS = { admitted: 14, forbidden: 9, limited: 4 };

const totalOf = (counts) => OUTCOMES.reduce((sum, outcome) => sum + counts[outcome], 0);
const sumOf = (days, outcome) => days.reduce((sum, each) => sum + each[outcome], 0);
const legend = (counts) => OUTCOMES.map((outcome) =>
	t('usage.legend', { outcome: t(`field.${outcome}`), count: counts[outcome] }));

function draw(tag, attributes, ...content) {
	const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
	for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
	element.append(...content);
	return element;
}

/** Draws one bar for each day. */
function chart(days, most) {
	const bars = days.map((each, place) => {
		let y = HEIGHT;
		const parts = OUTCOMES.filter((outcome) => each[outcome]).map((outcome) => {
			const width = WIDTHS[outcome];
			// A single request among many is seen as well.
			const height = Math.max(2, (each[outcome] / most) * (HEIGHT - 6));
			y -= height;
			return draw('rect', { class: outcome, x: place * 20 + (20 - width) / 2, y, width, height });
		});
		const title = draw('title', {}, [utcDay(each.day), ...legend(each)].join(', '));
		return draw('g', {}, title, draw('rect', { x: place * 20, y: 0, width: 20, height: HEIGHT }), ...parts);
	});
	const size = { viewBox: `0 0 ${days.length * 20} ${HEIGHT}`, preserveAspectRatio: 'none' };
	return draw('svg', { class: 'chart', role: 'img', ...size }, draw('title', {}, t('usage.chart')), ...bars);
}

/** Creates a chart with a table of its numbers, which is hidden from view at first. `tools` are beside its button. */
export function usageView(...tools) {
	const shown = h('div.usage', h('div.chart'));
	const numbers = h('div.numbers.hidden', { id: freshId('numbers') });
	const toggle = button('numbers', {
		'aria-pressed': 'false',
		'aria-controls': numbers.id,
	}, () => {
		toggle.ariaPressed = String(!numbers.classList.toggle('hidden'));
	});

	function show(days) {
		const most = Math.max(...days.map(totalOf));
		const sums = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, sumOf(days, outcome)]));
		shown.replaceChildren(
			chart(days, most),
			h('p.ends', { 'aria-hidden': 'true' }, h('span', utcDay(days[0].day)),
				h('span', t('usage.most', { count: most })), h('span', utcDay(days.at(-1).day))),
			h('ul.legend', legend(sums).map((text, place) => h(`li.${OUTCOMES[place]}`, text))));
		numbers.replaceChildren(h('table',
			h('caption', t('usage.heading')),
			h('thead', h('tr', ['day', ...OUTCOMES].map((name) => h('th', { scope: 'col' }, t(`field.${name}`))))),
			h('tbody', days.map((each) => h('tr', h('th', { scope: 'row' }, utcDay(each.day)),
				OUTCOMES.map((outcome) => h('td', number(each[outcome]))))))));
	}
	return { show, shown, nodes: [shown, h('div.row', toggle, tools), numbers] };
}

/** Creates the section with the requests of all keys, and the notes with the number of each key's. */
export function usageSection(...tools) {
	const { show, shown, nodes } = usageView(...tools);
	const notes = new Map();
	const noteOf = (id) => notes.get(id) ?? '';

	async function load(path) {
		try {
			const { days, keys = [] } = await get(path);
			show(days);
			for (const { id, days: own } of keys) {
				const count = own.reduce((sum, each) => sum + totalOf(each), 0);
				notes.set(id, tn('usage.of_key', count, { days: own.length }));
			}
			for (const each of document.querySelectorAll('[data-usage]')) each.textContent = noteOf(each.dataset.usage);
		} catch (problem) {
			if (problem.kind === undefined) throw problem;
			shown.replaceChildren(problemNotice(problem, () => load(path)));
		}
	}
	return {
		load,
		node: h('section', { id: 'requests' }, h('h2', t('usage.heading')), nodes),
		note: ({ id }) => h('span.hint', { 'data-usage': id }, noteOf(id)),
	};
}

/** Creates the list of what is left of the allowances at `path`, which has nothing without any. */
export function allowanceList(path) {
	const node = h('div', { id: 'allowances' });
	const item = ({ used, left, ends_at, ...allowance }) => h('li',
		t('allowance.left', { left, allowance: allowanceText(allowance), end: moment(ends_at) }), ' ',
		h('meter', { value: used, max: allowance.units, 'aria-hidden': 'true' }));

	async function load() {
		try {
			const { items } = await get(path);
			node.replaceChildren(items.length ? h('ul', items.map(item)) : '');
		} catch (problem) {
			if (problem.kind === undefined) throw problem;
			node.replaceChildren(problemNotice(problem, load));
		}
	}
	load();
	return { node, load };
}

/** Creates the link to the file for spreadsheets. */
export const fileLink = () =>
	h('a.button', { href: at('api/usage.csv'), download: true, 'data-action': 'csv' }, t('action.csv'));

export async function usageDialog({ key, onProblem }) {
	try {
		const { days } = await get(keyPath(key, '/usage'));
		const { show, nodes } = usageView();
		show(days);
		openDialog({ id: 'usage', name: key.name, cancel: 'done', body: [h('p.hint', t('usage.heading')), nodes] });
	} catch (problem) {
		onProblem(problem, () => usageDialog({ key, onProblem }));
	}
}
