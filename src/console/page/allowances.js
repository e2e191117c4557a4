import { button, h } from './dom.js';
import { fault } from './forms.js';
import { t } from './text.js';

/** The most allowances of a tenant, and the largest numbers of one. */
export const MOST = 4;
const UNITS = Number.MAX_SAFE_INTEGER;
const SECONDS = 4_294_967_295;

/** Creates the controls of one allowance. */
function rowOf({ units, per_seconds: length }, remove) {
	const count = (name, value, max) =>
		h('input', { type: 'number', name: `allowances-${name}`, value, required: true, min: 1, max });
	const amount = count('units', units, UNITS);
	const seconds = count('seconds', length, SECONDS);
	const label = h('label', t('limit.seconds'), seconds);
	const period = h('select', { name: 'allowances-period', change: show }, ['month', 'seconds'].map((each) =>
		h('option', { value: each, selected: each === 'seconds' && Boolean(length) }, t(`allowance.${each}`))));
	const away = button('remove', {}, remove);

	function show() {
		// A disabled control has no faults.
		seconds.disabled = period.value === 'month';
		label.hidden = seconds.disabled;
	}
	show();
	return {
		amount, period, away,
		node: h('div.row', { role: 'group' },
			h('label', t('allowance.units'), amount), h('label', t('allowance.period'), period), label, away),
		read: () => ({
			units: Number(amount.value),
			...(seconds.disabled ? { per: 'month' } : { per_seconds: Number(seconds.value) }),
		}),
	};
}

/** Creates the controls of a list of allowances, with those of `held` at first, or with an empty one. */
export function allowanceRows(held = [{}]) {
	let rows = [];
	const add = button('add-allowance', {}, () => append({}).amount.focus());
	const nodes = h('div.rows', add);

	function changed() {
		add.hidden = rows.length >= MOST;
		rows.forEach(({ node, away }, index) => {
			node.ariaLabel = t('allowance.row', { number: index + 1 });
			away.ariaLabel = t('action.of', { action: t('action.remove'), name: node.ariaLabel });
		});
		// A button is no entry for the browser, and changes what will be saved as an entry does.
		nodes.dispatchEvent(new Event('input', { bubbles: true }));
	}

	function append(allowance) {
		const row = rowOf(allowance, () => {
			rows = rows.filter((each) => each !== row);
			row.node.remove();
			changed();
			add.focus();
		});
		rows.push(row);
		add.before(row.node);
		changed();
		return row;
	}
	held.forEach(append);

	function read() {
		if (!rows.length) throw fault('allowances', 'allowance.none');
		for (const { period } of rows) period.setCustomValidity('');
		if (![...nodes.querySelectorAll('input')].every((input) => input.checkValidity())) {
			throw fault('allowances', 'allowance.invalid', { units: UNITS, seconds: SECONDS });
		}
		const list = rows.map((row) => row.read());
		const periods = list.map(({ per_seconds: seconds }) => seconds);
		const again = periods.findIndex((each, index) => periods.indexOf(each) < index);
		if (again < 0) return list;
		rows[again].period.setCustomValidity(t('allowance.same_period'));
		throw fault('allowances', 'allowance.same_period');
	}
	return { nodes, read };
}
