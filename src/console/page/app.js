import { at, get } from './api.js';
import { banner, button, h } from './dom.js';
import { explain } from './forms.js';
import { tenantView } from './keys.js';
import { loadTexts, rich, setNow, t } from './text.js';

const main = document.querySelector('#main');
const place = document.querySelector('#view');
// The server may say whom it serves; that saves a request that would fail.
const isOperator = document.documentElement.dataset.role === 'operator';

function begin() {
	const session = get('session');
	const firstPage = isOperator ? undefined : get('keys?limit=50');
	// Both are looked at later; until then a failure is not an unhandled one.
	session.catch(() => {});
	firstPage?.catch(() => {});
	return { session, firstPage };
}

async function start({ session: asked, firstPage }) {
	main.setAttribute('aria-busy', 'true');
	try {
		const session = await asked;
		setNow(session.now);
		showService(session);
		banner(null);
		if (session.role === 'operator') {
			const { operatorView } = await import('./operator.js');
			operatorView({ place, session, onProblem });
		} else {
			tenantView({ place, session, firstPage, onProblem });
		}
	} catch (problem) {
		if (!problem.kind) throw problem;
		onProblem(problem, () => start(begin()));
	} finally {
		main.removeAttribute('aria-busy');
	}
}

function showService({ service, actor }) {
	document.querySelector('#brand').replaceChildren(
		service.logo ? h('img', { src: at('logo'), alt: '', height: '28' }) : '', h('span', service.name));
	document.querySelector('#actor').replaceChildren(...(actor ? rich('signed_in_as', { actor }) : []));
}

/** At the top of the page, with the way on: try again, or sign in again. */
function onProblem(problem, again) {
	place.querySelector('.skeleton')?.remove();
	banner(explain(problem), problem.kind === 'signed-out'
		? button('reload', {}, () => location.reload())
		: button('retry', {}, () => {
			banner(null);
			again();
		}));
}

const first = begin();
try {
	await loadTexts(at('text.json'));
	for (const element of document.querySelectorAll('[data-text]')) element.textContent = t(element.dataset.text);
	await start(first);
} catch (error) {
	if (!place.querySelector('section')) {
		place.querySelector('.skeleton')?.remove();
		document.querySelector('#failed')?.removeAttribute('hidden');
	}
	main.removeAttribute('aria-busy');
	throw error;
}
