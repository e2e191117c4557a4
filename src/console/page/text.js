// Every text on the page comes from text.json. The application can replace the texts.

const DAY = 86_400_000;
const UNITS = [['year', 365 * DAY], ['month', 30 * DAY], ['day', DAY], ['hour', DAY / 24], ['minute', DAY / 1_440]];

// "en" alone would mean month before day. So a language without a region takes the region of the browser.
const { lang } = document.documentElement;
const language = lang.includes('-') ? lang : navigator.languages.find((each) => each.split('-')[0] === lang) ?? lang;

const plurals = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(language);
const dates = new Intl.DateTimeFormat(language, { dateStyle: 'medium' });
const moments = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' });
// The service counts by days of UTC.
const utcDays = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeZone: 'UTC' });
const distances = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });

let texts = {};

export async function loadTexts(url) {
	const answer = await fetch(url);
	if (!answer.ok) throw new Error(answer.status);
	texts = await answer.json();
}

export const has = (key) => Object.hasOwn(texts, key);

/** Returns the text as a string, for attributes and for texts without inserted names. */
export const t = (key, values = {}) => (has(key) ? texts[key] : key).replace(/\{(\w+)\}/g, (whole, name) => {
	const value = values[name] ?? whole;
	return typeof value === 'number' ? numbers.format(value) : value;
});

/** Returns the text as nodes. Inserted values are isolated, so that a right-to-left name does not reorder it. */
export const rich = (key, values) => t(key).split(/\{(\w+)\}/).map((part, index) => {
	if (index % 2 === 0) return part;
	const isolated = document.createElement('bdi');
	isolated.append(values[part] ?? `{${part}}`);
	return isolated;
});

/** Returns the text for `count` items: `key.one`, `key.other`, or another plural form of the language. */
export function tn(key, count, values) {
	const forms = [`${key}.${plurals.select(count)}`, `${key}.other`, key];
	return t(forms.find(has), { count, ...values });
}

/** Returns a length of time in its largest unit, such as "30 days". */
export function span(seconds) {
	const [unit, size] = [['day', 86_400], ['hour', 3_600], ['minute', 60]].find(([, each]) => seconds % each === 0)
		?? ['second', 1];
	return new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'long' }).format(seconds / size);
}

/** Returns an allowance of units in each month, or in each period of so many seconds. */
export const allowanceText = ({ units, per_seconds }) => (per_seconds
	? t('limit.units', { units, span: span(per_seconds) }) : t('limit.units_per_month', { units }));

// `ahead` is the service's clock minus this computer's, which may be wrong even by a year. `apart` is the service's
// clock minus the `Date` of responses, which a proxy may set by a clock of its own. Both in milliseconds.
let ahead = 0;
let apart = 0;

export const now = () => Date.now() + ahead;

/** Sets the clock by the `Date` of a response. */
export function setDate(text) {
	const time = Date.parse(text);
	if (time) ahead = time + apart - Date.now();
}

/** Sets the clock by the service's own time, from the response whose `Date` was set last. */
export function setClock(text) {
	const off = Date.parse(text) - now();
	if (!off) return;
	ahead += off;
	apart += off;
}
export const daysFromNow = (days) => now() + days * DAY;
export const number = (value) => numbers.format(value);
export const utcDay = (text) => utcDays.format(new Date(text));
export const date = (text) => dates.format(new Date(text));
export const moment = (text) => moments.format(new Date(text));

export function relative(text) {
	const distance = Date.parse(text) - now();
	const [unit, length] = UNITS.find(([, each]) => Math.abs(distance) >= each) ?? [];
	return unit ? distances.format(Math.round(distance / length), unit) : t('time.now');
}
