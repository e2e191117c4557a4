import { call, get } from './api.js';
import { announce, h, notice } from './dom.js';
import { fault, field, openDialog } from './forms.js';
import { rich, t, tn } from './text.js';

/** The maximum number of keys of one request. */
const PORTION = 500;

async function readAll(path) {
	const keys = [];
	let next = null;
	do {
		const page = await get(`${path}limit=200${next ? `&after=${encodeURIComponent(next)}` : ''}`);
		keys.push(...page.items);
		({ next } = page);
	} while (next);
	return keys;
}

const namesOf = (keys) => h('ul.events', keys.map(({ name, masked }) =>
	h('li', h('bdi', name), ' ', h('code', masked))));

/** Lists the keys of `path`, and disables or deletes exactly these in the versions that were listed. */
export async function bulkDialog({ action, path, onDone, onProblem }) {
	let keys;
	try {
		keys = (await readAll(path)).filter(({ enabled }) => enabled || action === 'delete');
	} catch (problem) {
		return onProblem(problem, () => bulkDialog({ action, path, onDone, onProblem }));
	}
	const count = keys.length;
	if (!count) return announce(t('bulk.none'));
	const confirm = action === 'delete' && h('input', { name: 'confirm', autofocus: true, inputmode: 'numeric' });
	const changed = [];
	let [rest, done, isSent] = [keys, 0, false];

	async function submit() {
		if (confirm && confirm.value.replace(/\D/g, '') !== String(count)) throw fault('confirm', 'bulk.mismatch');
		// After a failure, the next attempt goes on where this one has stopped.
		while (rest.length) {
			isSent = true;
			const portion = rest.slice(0, PORTION);
			const body = { keys: portion.map(({ id, version }) => ({ id, version })) };
			const outcome = await call('POST', `keys/${action}`, { body });
			done += outcome.done;
			changed.push(...portion.filter(({ id }) => outcome.changed_since.includes(id)));
			rest = rest.slice(PORTION);
		}
		return () => {
			onDone();
			const said = tn(`bulk.${action}_done`, done);
			if (!changed.length) return announce(said);
			openDialog({
				id: 'changed', title: said, cancel: 'done',
				body: [notice('warn', h('p', t('bulk.changed'))), namesOf(changed)],
			});
		};
	}

	openDialog({
		id: `${action}-all`, title: tn(`bulk.${action}`, count), action, look: 'danger', submit,
		body: [
			notice(confirm ? 'bad' : 'warn', h('p', t(`bulk.${action}_text`))),
			namesOf(keys),
			confirm && field('confirm', confirm, rich('bulk.type', { count: String(count) })),
		],
		mayClose: () => {
			if (isSent) onDone();
			return true;
		},
	});
}
