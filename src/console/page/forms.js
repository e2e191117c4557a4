import { Problem } from './api.js';
import { announce, button, freshId, h, notice, rememberFocus } from './dom.js';
import { has, rich, t } from './text.js';

/** What a problem means for who sees the page. */
function explain({ kind, body }) {
	return has(`problem.${kind}`) ? t(`problem.${kind}`) : body.detail || t('problem.unexpected');
}

/** The same with the way on, if there is one. */
export const problemNotice = (problem, again) => notice('bad', h('p', explain(problem)),
	problem.kind === 'signed-out' ? button('reload', {}, () => location.reload())
		: again && button('retry', {}, again));

/**
 * A modal dialog around a form. It closes when `submit` gives anything but `false`, and then calls that.
 * `mayClose` is asked before Esc, the cross or `cancel` close it. Gives what closes it without asking.
 */
export function openDialog({ id, name, title, body, action, look = 'primary', cancel = 'cancel', submit, mayClose }) {
	const restore = rememberFocus();
	const does = t(`action.${id}`);
	const heading = h('h2', { id: freshId('heading'), tabindex: '-1' },
		title ?? (name === undefined ? does : rich('action.of', { action: does, name })));
	const problem = h('div.problem', { role: 'alert' });
	const act = action && button(action, { look, type: 'submit', 'aria-disabled': 'false' });
	const form = h('form', { novalidate: true, autocomplete: 'off', submit: onSubmit },
		h('header', heading, button('close', { look: 'icon' }, ask)),
		body,
		h('footer', problem, h('div.live', { role: 'status' }), h('div.row', button(cancel, {}, ask), act)));
	const dialog = h('dialog', { id, 'aria-labelledby': heading.id }, form);

	function ask(event) {
		event.preventDefault();
		if (!mayClose || mayClose()) close();
	}

	/** Leaves no secret in fields that a script or the browser's way back could find. */
	function close() {
		for (const each of form.querySelectorAll('textarea')) each.value = '';
		dialog.close();
	}

	async function onSubmit(event) {
		event.preventDefault();
		if (act?.ariaDisabled !== 'false') return;
		act.ariaDisabled = 'true';
		problem.replaceChildren();
		for (const place of form.querySelectorAll('.error')) place.replaceChildren();
		for (const control of form.querySelectorAll('[aria-invalid]')) control.removeAttribute('aria-invalid');
		try {
			const then = await submit(form);
			if (then !== false) close();
			if (then) then();
		} catch (error) {
			if (!error.kind) throw error;
			if (!dialog.isConnected) announce(explain(error));
			else if (!showAtField(form, error)) problem.append(problemNotice(error));
		} finally {
			act.ariaDisabled = 'false';
		}
	}

	// Both are needed: the browser lets a second Esc through `cancel`, and a phone's back gesture is no key.
	dialog.addEventListener('keydown', (event) => event.key === 'Escape' && ask(event));
	dialog.addEventListener('cancel', ask);
	dialog.addEventListener('close', () => {
		window.removeEventListener('pagehide', close);
		dialog.remove();
		if (!document.querySelector('dialog')) restore();
	});
	window.addEventListener('pagehide', close);
	document.body.append(dialog);
	dialog.showModal();
	(dialog.querySelector('[autofocus]') ?? heading).focus();
	return close;
}

/** Shows a problem at its field and goes there; false if there is none. */
function showAtField(form, problem) {
	const { field, scopes = [] } = problem.body;
	const place = [...form.querySelectorAll('[data-field]')].find((each) => each.dataset.field === field);
	if (!place) return false;
	const controls = [...place.querySelectorAll('input:enabled, select, textarea')];
	const faulty = controls.filter((each) => scopes.includes(each.value));
	const marked = faulty.length ? faulty : controls;
	place.querySelector('.error').append(explain(problem), scopes.length ? ` (${scopes.join(', ')})` : '');
	// A radio button cannot be invalid, only their group.
	const invalid = place.matches('[role]') ? [place] : marked;
	for (const each of invalid) each.setAttribute('aria-invalid', 'true');
	marked[0]?.focus();
	return true;
}

/** `name` is the member that the service would find fault with. */
export function field(name, control, hint) {
	const id = freshId(name);
	const texts = { 'aria-describedby': `${id}-hint ${id}-error` };
	const parts = [h('p.hint', { id: `${id}-hint` }, hint), control, h('p.error', { id: `${id}-error` })];
	const title = t(`field.${name}`);
	if (control.matches('div, ul')) {
		const role = control.matches('.choices') && 'radiogroup';
		return h('fieldset.field', { 'data-field': name, role, ...texts }, h('legend', title), parts);
	}
	control.id = id;
	control.setAttribute('aria-describedby', texts['aria-describedby']);
	return h('div.field', { 'data-field': name }, h('label', { for: id }, title), parts);
}

/** Each of `options`: a value, its label, and whether it cannot be chosen. */
export const radios = (name, options, selected) => h('div.choices', options.map(([value, label, disabled]) => {
	const id = freshId(name);
	return h('div.choice',
		h('input', { type: 'radio', name, value, id, disabled, checked: value === selected }),
		h('label', { for: id }, label));
}));

export const checked = (root, name) => root.querySelector(`[name="${name}"]:checked`)?.value ?? '';

/** What the page finds wrong. */
export const fault = (field, key) => new Problem('here', { field, detail: t(key) });
