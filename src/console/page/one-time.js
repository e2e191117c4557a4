import { announce, button, h, notice } from './dom.js';
import { field, openDialog } from './forms.js';
import { rich, t } from './text.js';

/** Shows a token for the only time, and the prefix of its children, if any. The dialog clears both on closing. */
export function showOnce({ name, token, childPrefix, curl, end, title = 'once.title' }) {
	// Whether closing needs no question: the token was copied, or the question was asked before.
	let mayGo = false;

	const shown = (part, value) => h('textarea', {
		name: part, rows: 3, value, readonly: true, spellcheck: 'false',
		// A copy by keyboard or menu counts as well.
		copy: ({ target }) => noteCopy(target),
		focus: ({ target }) => target.select(),
	});
	const secret = shown('token', token);
	const prefix = childPrefix && shown('child_prefix', childPrefix);
	const example = curl && shown('curl', curl.replace('{token}', () => token));
	token = undefined;

	/** Notes that a field was copied. The prefix does not count: it can be shown again, and the token cannot. */
	function noteCopy(source) {
		mayGo ||= source !== prefix;
	}

	const copy = (action, look, source) => h('div.row', button(action, { look }, async () => {
		try {
			await navigator.clipboard.writeText(source.value);
			noteCopy(source);
		} catch {
			// The clipboard is not available on plain http, and a browser may refuse it.
			source.focus();
			if (!document.execCommand('copy')) return announce(t('once.not_copied'));
		}
		announce(t(`once.${action}`));
	}));

	const back = () => {
		question.hidden = true;
		secret.focus();
	};
	const question = h('div.notice.warn.question', { id: 'close-question', hidden: true },
		h('p', t('once.question')),
		h('div.row', button('back', {}, back), button('close-anyway', { look: 'danger' }, () => close())));

	function mayClose() {
		if (mayGo) return true;
		mayGo = true;
		question.hidden = false;
		question.querySelector('button').focus();
		return false;
	}

	const close = openDialog({
		id: 'one-time', title: rich(title, { name }), cancel: 'done', mayClose,
		body: [
			notice('warn', h('p', h('strong', t('once.never_again'))), h('p', t('once.password')), h('p', end)),
			field('token', secret),
			copy('copy', 'primary', secret),
			prefix && [field('child_prefix', prefix, t('hint.child_prefix')), copy('copy-prefix', '', prefix)],
			example && [field('curl', example), copy('copy-curl', '', example)],
			question,
		],
	});
	secret.focus();
}
