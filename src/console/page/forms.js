import { Problem } from './api.js';
import { announce, button, freshId, h, icon, rememberFocus } from './dom.js';
import { has, t } from './text.js';

/** What a problem means for the person in front of the page. */
export function explain(problem) {
	const key = `problem.${problem.kind}`;
	return has(key) ? t(key) : problem.body?.detail || problem.body?.title || t('problem.unexpected');
}

/**
 * A modal dialog around a form. `submit` may throw a Problem, which is shown at its field; the dialog closes
 * when it returns anything but `false`, and then calls what was returned. `mayClose` is asked before Esc, the
 * cross or Cancel close it.
 */
export function openDialog({
	id, title = t(`${id}.title`), body, action, look = 'primary', cancel = 'cancel', submit, mayClose, onClose,
}) {
	const restore = rememberFocus();
	const heading = h('h2', { id: freshId('heading'), tabindex: '-1' }, title);
	const problem = h('div.problem', { role: 'alert' });
	const act = action && button(action, { look, type: 'submit' });
	const foot = h('div.row', cancel && button(cancel, {}, ask), act);
	const form = h('form', { novalidate: true, autocomplete: 'off', submit: onSubmit },
		h('header', heading, button('close', { look: 'icon.quiet' }, ask)),
		h('div.content', body), h('footer', problem, h('div.live', { role: 'status' }), foot));
	const dialog = h('dialog', { id, 'aria-labelledby': heading.id }, form);
	let busy = false;

	function ask() {
		if (!mayClose || mayClose()) dialog.close();
	}

	async function onSubmit(event) {
		event.preventDefault();
		if (busy || !submit) return;
		setBusy(true);
		clearErrors(form);
		problem.replaceChildren();
		try {
			const result = await submit(dialog);
			setBusy(false);
			if (result !== false) {
				dialog.close();
				if (result) result();
			}
		} catch (error) {
			setBusy(false);
			if (!error.kind) throw error;
			if (!dialog.isConnected) return announce(explain(error), { stay: true });
			if (showFieldError(form, error)) return;
			problem.append(h('p', explain(error)));
			if (error.kind === 'signed-out') problem.append(button('reload', {}, () => location.reload()));
		}
	}

	function setBusy(on) {
		busy = on;
		form.setAttribute('aria-busy', String(on));
		act?.setAttribute('aria-disabled', String(on));
	}

	// Both are needed: the browser lets a second Esc through `cancel`, and a phone's back gesture is no key.
	dialog.addEventListener('keydown', (event) => {
		if (event.key !== 'Escape') return;
		event.preventDefault();
		ask();
	});
	dialog.addEventListener('cancel', (event) => {
		if (event.target !== dialog) return;
		event.preventDefault();
		ask();
	});
	dialog.addEventListener('close', () => {
		onClose?.();
		dialog.remove();
		if (!document.querySelector('dialog[open]')) restore();
	});
	document.body.append(dialog);
	dialog.showModal();
	(dialog.querySelector('[autofocus]') ?? heading).focus();
	return { foot, ask, close: () => dialog.close() };
}

/** A labelled control with room for a hint and an error. `name` is the member that the service would fault. */
export function field(name, control, { hint, optional = false } = {}) {
	const id = freshId(name);
	control.id = id;
	control.setAttribute('aria-describedby', `${id}-hint ${id}-error`);
	return h('div.field', { 'data-field': name },
		h('label', { for: id }, t(`field.${name}`), optional && h('span.note', ` ${t('field.optional')}`)),
		h('p.hint', { id: `${id}-hint` }, hint),
		control,
		errorPlace(id));
}

/** Several controls under one heading. */
export function group(name, content, { hint, role } = {}) {
	const id = freshId(name);
	return h('fieldset.field', { 'data-field': name, role, 'aria-describedby': `${id}-hint ${id}-error` },
		h('legend', t(`field.${name}`)),
		h('p.hint', { id: `${id}-hint` }, hint),
		content,
		errorPlace(id));
}

/** One of several. `options` are `{ value, label, hint, disabled }`. */
export function radios(name, options, selected, onchange) {
	return h('div.choices', options.map(({ value, label, hint, disabled }) => {
		const id = freshId(name);
		return h('div.choice',
			h('input', {
				type: 'radio', name, value, id, disabled, checked: value === selected,
				'aria-describedby': hint && `${id}-hint`, change: onchange,
			}),
			h('label', { for: id }, label),
			hint && h('span.note', { id: `${id}-hint` }, hint));
	}));
}

export const checked = (root, name) => root.querySelector(`[name="${name}"]:checked`)?.value ?? '';

export const notice = (tone, ...content) => h(`div.notice.${tone}`, icon('leak'), h('div', ...content));

/** What the page itself finds wrong, in the shape of the service's answers. */
export const fault = (name, key) => new Problem('here', { field: name, detail: t(key) });

const errorPlace = (id) => h('p.error', { id: `${id}-error` });

export function clearErrors(root) {
	for (const place of root.querySelectorAll('.error')) place.replaceChildren();
	for (const control of root.querySelectorAll('[aria-invalid]')) control.removeAttribute('aria-invalid');
}

/** Shows the problem at the field it names and goes there; false if the form has no such field. */
export function showFieldError(root, problem) {
	const place = problem.field && root.querySelector(`[data-field="${CSS.escape(problem.field)}"]`);
	if (!place) return false;
	const guilty = problem.body.scopes ?? [];
	const controls = [...place.querySelectorAll('input, select, textarea')].filter((each) => !each.disabled);
	const faulty = controls.filter((each) => guilty.includes(each.value));
	const marked = faulty.length ? faulty : controls;
	place.querySelector('.error').append(explain(problem), guilty.length ? ` (${guilty.join(', ')})` : '');
	// A radio button cannot be invalid, only their group.
	if (place.getAttribute('role') === 'radiogroup') place.setAttribute('aria-invalid', 'true');
	else for (const control of marked) control.setAttribute('aria-invalid', 'true');
	for (let outer = place.closest('details'); outer; outer = outer.parentElement.closest('details')) outer.open = true;
	(marked[0] ?? place).focus();
	return true;
}

/** A local date and time for `datetime-local`, and back. */
export function toLocal(text) {
	if (!text) return '';
	const time = new Date(text);
	return new Date(time - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

export const fromLocal = (text) => (text ? new Date(text).toISOString() : null);
