import { at, call, get } from './api.js';
import { banner, button, h, notice } from './dom.js';
import { problemNotice } from './forms.js';
import { tenantView } from './keys.js';
import { limitTexts } from './limits.js';
import { has, loadTexts, rich, setClock, t } from './text.js';

const [main, place, brand, actor, skip, failed] =
	['#main', '#view', '#brand', '#actor', '.skip', '#failed'].map((each) => document.querySelector(each));

// The document shows this message if no script runs up to here.
failed.hidden = true;

/** Shows that an unexpected error has happened, so that no exception is silent. */
function alarm() {
	// Before the texts are loaded, only the message in the document can be shown.
	if (!has('problem.script')) {
		failed.hidden = false;
		return;
	}
	const reload = button('reload', {}, () => location.reload());
	const place = document.querySelector('dialog[open] .problem') ?? document.querySelector('#banner');
	place.replaceChildren(notice('bad', h('p', t('problem.script')), reload));
}
window.addEventListener('error', alarm);
window.addEventListener('unhandledrejection', alarm);

const texts = loadTexts(at('text.json')).then(() => {
	skip.textContent = t('skip');
});

async function start() {
	// A request that neither succeeds nor fails throws no exception.
	const late = setTimeout(() => {
		failed.hidden = false;
	}, 40_000);
	try {
		// Both load concurrently. A failed session waits for the texts, because problems are shown with them.
		const session = await get('session').finally(() => texts);
		const { service, role } = session;
		call.tenant = session.tenant?.id;
		limitTexts.kinds = session.resources;
		setClock(session.now);
		brand.replaceChildren(service.logo ? h('img', { src: at('logo'), alt: '', height: 28 }) : '', service.name);
		actor.replaceChildren(...rich('signed_in_as', { actor: session.actor }));
		const view = role === 'operator' ? (await import('./operator.js')).operatorView : tenantView;
		view({ place, session, onProblem });
	} catch (problem) {
		place.querySelector('.skeleton')?.remove();
		if (problem.kind !== undefined) return onProblem(problem, start);
		failed.hidden = false;
		throw problem;
	} finally {
		clearTimeout(late);
		main.removeAttribute('aria-busy');
	}
}

/** Shows a problem at the top of the page, with a button to retry. */
function onProblem(problem, again) {
	if (problem.kind === undefined) throw problem;
	banner(problemNotice(problem, () => {
		banner();
		again();
	}));
}

start();
