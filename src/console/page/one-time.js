import { announce, button, h } from './dom.js';
import { field, notice, openDialog } from './forms.js';
import { rich, t } from './text.js';

/** Shows a token for the only time, and takes care that the page forgets it afterwards. */
export function showOnce({ name, token, curl, rotated }) {
	let copied = false;
	let asked = false;

	const shown = (name, rows, value) =>
		h('textarea', { name, rows, value, readonly: true, spellcheck: 'false', autocomplete: 'off' });
	const secret = shown('token', '2', token);
	const example = curl && shown('curl', '3', curl.replace('{token}', () => token));
	token = undefined;

	// A copy by keyboard or menu counts as well.
	const fields = [secret, example].filter(Boolean);
	for (const each of fields) {
		each.addEventListener('copy', () => { copied = true; });
		each.addEventListener('focus', () => each.select());
	}

	const question = h('div.question', { id: 'close-question', hidden: true },
		h('p', t('once.question')),
		h('div.row',
			button('back', {}, () => {
				question.hidden = true;
				secret.focus();
			}),
			button('close-anyway', { look: 'danger' }, () => shell.close())));

	function mayClose() {
		if (copied || asked) return true;
		asked = true;
		question.hidden = false;
		question.querySelector('button').focus();
		return false;
	}

	function forget() {
		for (const each of fields) {
			each.value = '';
			each.remove();
		}
		window.removeEventListener('pagehide', leave);
	}
	// A page that the browser keeps for "back" keeps its fields too.
	function leave() {
		forget();
		shell.close();
	}
	window.addEventListener('pagehide', leave);

	const copyButton = (action, look, source, said) => button(action, { look }, async () => {
		if (await copy(source)) {
			copied = true;
			announce(t(said));
		} else {
			source.focus();
			announce(t('once.not_copied'));
		}
	});

	const shell = openDialog({
		id: 'one-time',
		title: t(rotated ? 'once.title_rotated' : 'once.title'),
		cancel: null,
		body: [
			h('p', rich('once.for', { name })),
			notice('warn', h('p', h('strong', t('once.never_again'))), h('p', t('once.password'))),
			field('token', secret),
			h('div.row', copyButton('copy', 'primary', secret, 'once.copied')),
			example && [field('curl', example), h('div.row', copyButton('copy-curl', '', example, 'once.copied_curl'))],
			question,
		],
		mayClose,
		onClose: forget,
	});
	shell.foot.append(button('done', {}, shell.ask));
	secret.focus();
}

async function copy(source) {
	try {
		await navigator.clipboard.writeText(source.value);
		return true;
	} catch {
		// There is no clipboard on plain http, and a browser may refuse it.
		source.focus();
		source.select();
		return document.execCommand('copy');
	}
}
