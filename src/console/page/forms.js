import { Problem } from './api.js';
import { announce, button, freshId, h, notice, rememberFocus } from './dom.js';
import { has, moment, rich, t } from './text.js';

/** Returns the text of a problem for the user. */
function explain({ kind, body }) {
	const { status, detail, latest } = body;
	if (latest) return t('expiry.latest', { date: moment(latest) });
	const key = [`problem.${kind}`, `problem.${status}`].find(has);
	return key ? t(key) : detail || t('problem.unexpected', { status });
}

/** Returns a notice with that text, and a button to reload or retry, if that can help. */
export const problemNotice = (problem, again) => notice('bad', h('p', explain(problem)),
	problem.kind === 'signed-out' ? button('reload', {}, () => location.reload())
		: again && button('retry', {}, again));

/**
 * Opens a modal dialog with a form. It closes unless `submit` returns `false`, and then calls the function that
 * `submit` returned. Esc, the cross and `cancel` ask `mayClose` first. Returns a function that closes it unasked.
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

	/** Closes the dialog and clears its text areas, so that no secret is left to scripts or the back cache. */
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
			if (error.kind === undefined) throw error;
			if (!dialog.isConnected) announce(explain(error));
			else if (!showAtField(form, error)) problem.append(problemNotice(error));
		} finally {
			act.ariaDisabled = 'false';
		}
	}

	// Both are needed. A second Esc passes `cancel` in browsers, and a phone's back gesture is not a key.
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

/** Shows a problem at its field and moves the focus there. Returns false if the form has no such field. */
function showAtField(form, problem) {
	const { field, scopes = [], resource } = problem.body;
	const shown = field === 'expires_in' ? 'expires_at' : field;
	const place = [...form.querySelectorAll('[data-field]')].find((each) => each.dataset.field === shown);
	if (!place) return false;
	// A list or a value that is chosen comes before the radio buttons beside it.
	const controls = [`[name="resource-${resource}-list"]`, ':checked ~ textarea',
		':checked ~ .values :is(input, select):enabled',
		'textarea', 'input:enabled, select']
		.map((each) => [...place.querySelectorAll(each)]).find(({ length }) => length) ?? [];
	const faulty = controls.filter((each) => scopes.includes(each.value) || each.matches(':invalid'));
	const marked = faulty.length ? faulty : controls;
	place.querySelector('.error').append(explain(problem), scopes.length ? ` (${scopes.join(', ')})` : '');
	// `aria-invalid` is for a group of radio buttons, not for one of them.
	const invalid = marked[0]?.type === 'radio' ? [place] : marked;
	for (const each of invalid) each.setAttribute('aria-invalid', 'true');
	marked[0]?.focus();
	return true;
}

/** Creates a field of a form. `name` is the body field that the service names in a problem. */
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

/** Creates radio buttons. Each of `options` is a value, its label, and whether it is disabled. */
export const radios = (name, options, selected) => h('div.choices', options.map(([value, label, disabled]) => {
	const id = freshId(name);
	return h('div.choice',
		h('input', { type: 'radio', name, value, id, disabled, checked: value === selected }),
		h('label', { for: id }, label));
}));

export const checked = (root, name) => root.querySelector(`[name="${name}"]:checked`)?.value ?? '';

/** Returns a problem that the page itself has found. */
export const fault = (field, key, values) => new Problem('here', { field, detail: t(key, values) });
