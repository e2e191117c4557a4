import { moment, relative, date, t } from './text.js';

/**
 * An element: `h('p.note', { id }, 'text')`. Functions become listeners, `true` an empty attribute, and
 * nothing is ever parsed as HTML.
 */
export function h(shape, ...content) {
	const [tag, ...classes] = shape.split('.');
	const element = document.createElement(tag);
	element.classList.add(...classes);
	const attributes = content[0]?.constructor === Object ? content.shift() : {};
	for (const [name, value] of Object.entries(attributes)) {
		if (value === undefined || value === null || value === false) continue;
		if (typeof value === 'function') element.addEventListener(name, value);
		else if (name === 'value') element.value = value;
		else element.setAttribute(name, value === true ? '' : value);
	}
	element.append(...content.flat(3).filter((child) => child || child === 0));
	return element;
}

const SHAPES = {
	edit: 'M4 20h4L19 9l-4-4L4 16zM13 7l4 4',
	rotate: 'M20 11a8 8 0 1 0-2.3 6.7M20 4v7h-7',
	history: 'M12 7v5l3 3M3.5 12a8.5 8.5 0 1 0 2.5-6M3.5 4v4h4',
	delete: 'M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5',
	create: 'M12 5v14M5 12h14',
	close: 'M6 6l12 12M18 6L6 18',
	copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
	done: 'M5 13l4 4L19 7',
	search: 'M11 4a7 7 0 1 0 0 14a7 7 0 0 0 0-14zM16 16l4 4',
	suspend: 'M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18zM6 6l12 12',
	resume: 'M8 5l11 7l-11 7z',
	tier: 'M7 20V6M4 9l3-3 3 3M17 4v14M14 15l3 3 3-3',
	open: 'M5 12h14M13 6l6 6-6 6',
	back: 'M19 12H5M11 6l-6 6 6 6',
	leak: 'M12 4l9 16H3zM12 10v4M12 17v.5',
};
const SVG = 'http://www.w3.org/2000/svg';

export function icon(name) {
	const image = document.createElementNS(SVG, 'svg');
	const path = document.createElementNS(SVG, 'path');
	image.setAttribute('viewBox', '0 0 24 24');
	image.setAttribute('aria-hidden', 'true');
	path.setAttribute('d', SHAPES[name]);
	image.append(path);
	return image;
}

/** A button with the text `action.<name>`; `of` names what it acts on for who cannot see where it stands. */
export function button(action, { of, look = '', text, ...attributes } = {}, onclick) {
	const label = text ?? t(`action.${action}`);
	return h(`button.button${look && `.${look}`}`, {
		type: 'button',
		'data-action': action,
		'aria-label': of === undefined ? undefined : t('action.of', { action: label, name: of }),
		title: look.includes('icon') ? label : undefined,
		click: onclick,
		...attributes,
	}, SHAPES[action] && icon(action), h('span', label));
}

export const bdi = (text) => h('bdi', text);
export const chip = (tone, ...text) => h(`span.chip.${tone}`, text);

/** A point in time, by its day or by how far away it is. The whole of it is in the tooltip. */
const time = (text, shown) => h('time', { datetime: text, title: moment(text) }, shown);
export const day = (text) => time(text, date(text));
export const when = (text) => time(text, relative(text));

let counter = 0;
export const freshId = (prefix) => `${prefix}-${(counter += 1)}`;

/** Says what happened, to everyone: in the open dialog if there is one, for the rest of the page is inert. */
export function announce(content, { stay = false } = {}) {
	const open = [...document.querySelectorAll('dialog[open]')].at(-1);
	const region = open?.querySelector('.live') ?? document.querySelector('#status');
	const toast = h('p.toast', h('span', content));
	region.replaceChildren(toast);
	if (open) return;
	const dismiss = () => toast.remove();
	if (stay) toast.append(button('close', { look: 'icon.quiet', text: t('action.dismiss') }, dismiss));
	else setTimeout(dismiss, 8_000);
}

/** Something that must not be missed, at the top of the page, with a way on. */
export function banner(content, action) {
	const place = document.querySelector('#banner');
	place.replaceChildren(...(content ? [h('div.notice.bad', h('p', content), action)] : []));
}

/** Where the focus is, in words that still hold when the element was rendered again. */
export function rememberFocus() {
	const element = document.activeElement;
	const action = element?.closest('[data-action]')?.dataset.action;
	const owner = element?.closest('[data-key], [data-tenant]');
	const { key, tenant } = owner?.dataset ?? {};
	return () => {
		if (element?.isConnected && element !== document.body) return element.focus();
		const place = key ? `[data-key="${CSS.escape(key)}"]` : tenant ? `[data-tenant="${CSS.escape(tenant)}"]` : '#main';
		const again = action && document.querySelector(`${place} [data-action="${action}"]`);
		(again || document.querySelector(`${place} h3`) || document.querySelector('#title')).focus();
	};
}
