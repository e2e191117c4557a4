import { date, moment, relative, t } from './text.js';

/** Creates an element: `h('p.hint', { id }, 'text')`. Functions become listeners. Nothing is parsed as HTML. */
export function h(shape, ...content) {
	const [tag, ...classes] = shape.split('.');
	const element = document.createElement(tag);
	element.classList.add(...classes.filter(Boolean));
	const attributes = content[0]?.constructor === Object ? content.shift() : {};
	for (const [name, value] of Object.entries(attributes)) {
		if ((value ?? false) === false) continue;
		if (typeof value === 'function') element.addEventListener(name, value);
		else if (name === 'value') element.value = value;
		else element.setAttribute(name, value === true ? '' : value);
	}
	element.append(...content.flat(3).filter(Boolean));
	return element;
}

const ICONS = {
	edit: 'M4 20h4L19 9l-4-4L4 16zM13 7l4 4',
	rotate: 'M20 11a8 8 0 1 0-2.3 6.7M20 4v7h-7',
	history: 'M12 7v5l3 3M3.5 12a8.5 8.5 0 1 0 2.5-6M3.5 4v4h4',
	delete: 'M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5',
	create: 'M12 5v14M5 12h14',
	close: 'M6 6l12 12M18 6L6 18',
	suspend: 'M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18zM6 6l12 12',
	resume: 'M8 5l11 7l-11 7z',
	tier: 'M7 20V6M4 9l3-3 3 3M17 4v14M14 15l3 3 3-3',
	usage: 'M5 20v-7M12 20V4M19 20V9',
	open: 'M5 12h14M13 6l6 6-6 6',
};
ICONS.clear = ICONS.close;

function icon(name) {
	const [image, path] = ['svg', 'path'].map((tag) => document.createElementNS('http://www.w3.org/2000/svg', tag));
	image.setAttribute('viewBox', '0 0 24 24');
	image.setAttribute('aria-hidden', 'true');
	path.setAttribute('d', ICONS[name]);
	image.append(path);
	return image;
}

/** Creates a button. `of` names the item that it acts on, for users who cannot see its position. */
export function button(action, { of, look = of ? 'icon' : '', ...attributes } = {}, click) {
	const label = t(`action.${action}`);
	return h(`button.button.${look}`, {
		type: 'button',
		'data-action': action,
		'aria-label': of && t('action.of', { action: label, name: of }),
		title: look === 'icon' && label,
		click,
		...attributes,
	}, ICONS[action] && icon(action), h('span', label));
}

export const chip = (tone, ...text) => h(`span.chip.${tone}`, text);
export const notice = (tone, ...content) => h(`div.notice.${tone}`, ...content);

const time = (text, shown) => h('time', { datetime: text, title: moment(text) }, shown);
export const day = (text) => time(text, date(text));
export const when = (text) => time(text, relative(text));

let counter = 0;
export const freshId = (prefix) => `${prefix}-${(counter += 1)}`;

/** Announces an outcome. If a dialog is open, announces it there, because the rest of the page is inert. */
export function announce(content) {
	const said = h('p', content);
	(document.querySelector('dialog[open] .live') ?? document.querySelector('#status')).replaceChildren(said);
	setTimeout(() => said.remove(), 12_000);
}

export const banner = (...nodes) => document.querySelector('#banner').replaceChildren(...nodes);

/** Returns a function that restores the present focus, even after the element was rendered again. */
export function rememberFocus() {
	const element = document.activeElement;
	const { action } = element.dataset;
	const item = element.closest('li')?.id;
	return () => {
		if (element.isConnected && element !== document.body) return element.focus();
		const place = document.getElementById(item ?? 'main');
		const again = place?.querySelector(`[data-action="${action}"]`) ?? place?.querySelector('h3');
		(again ?? document.querySelector('#title')).focus();
	};
}
