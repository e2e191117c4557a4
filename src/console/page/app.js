import { at, call, get } from './api.js';
import { banner, h } from './dom.js';
import { problemNotice } from './forms.js';
import { tenantView } from './keys.js';
import { loadTexts, rich, t } from './text.js';

const [main, place, brand, actor, skip, failed] =
	['#main', '#view', '#brand', '#actor', '.skip', '#failed'].map((each) => document.querySelector(each));

const texts = loadTexts(at('text.json')).then(() => {
	skip.textContent = t('skip');
});

async function start() {
	try {
		// Both are asked for at once, and without texts no problem can be told.
		const session = await get('session').finally(() => texts);
		const { service, role } = session;
		call.tenant = session.tenant?.id;
		brand.replaceChildren(service.logo ? h('img', { src: at('logo'), alt: '', height: 28 }) : '', service.name);
		actor.replaceChildren(...rich('signed_in_as', { actor: session.actor }));
		const view = role === 'operator' ? (await import('./operator.js')).operatorView : tenantView;
		view({ place, session, onProblem });
	} catch (problem) {
		place.querySelector('.skeleton')?.remove();
		if (problem.kind) return onProblem(problem, start);
		failed.hidden = false;
		throw problem;
	} finally {
		main.removeAttribute('aria-busy');
	}
}

/** Says at the top of the page what went wrong, with the way on. */
function onProblem(problem, again) {
	banner(problemNotice(problem, () => {
		banner();
		again();
	}));
}

start();
