// Every shown text comes from text.json, which the host can replace.

const root = document.documentElement;
const SECOND = 1000;
const DAY = 86_400 * SECOND;
const UNITS = [
	['year', 365 * DAY], ['month', 30 * DAY], ['day', DAY], ['hour', 3_600 * SECOND], ['minute', 60 * SECOND],
];

let texts = {};
let skew = 0;
let languages;
try {
	languages = Intl.getCanonicalLocales(root.lang);
} catch {
	languages = undefined;
}
// "en" alone would mean month before day; who reads it says which English.
if (languages?.length === 1 && !languages[0].includes('-')) {
	const mine = navigator.languages.find((each) => each.split('-')[0] === languages[0]);
	languages = mine ? [mine] : languages;
}

const plurals = new Intl.PluralRules(languages);
const numbers = new Intl.NumberFormat(languages);
const dates = new Intl.DateTimeFormat(languages, { dateStyle: 'medium' });
const moments = new Intl.DateTimeFormat(languages, { dateStyle: 'medium', timeStyle: 'short' });
const distances = new Intl.RelativeTimeFormat(languages, { numeric: 'auto' });

export async function loadTexts(url) {
	const answer = await fetch(url);
	if (!answer.ok) throw new Error(`${answer.status}`);
	texts = await answer.json();
}

export const has = (key) => Object.hasOwn(texts, key);

/** The text as a string, for attributes and for text without foreign parts. */
export function t(key, values = {}) {
	const text = has(key) ? texts[key] : key;
	return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** The text as nodes. What is filled in is isolated, so that no name can turn the sentence around. */
export function rich(key, values = {}) {
	return t(key).split(/(\{\w+\})/).map((part) => {
		const name = /^\{(\w+)\}$/.exec(part)?.[1];
		if (!name || !(name in values)) return part;
		if (values[name] instanceof Node) return values[name];
		const isolated = document.createElement('bdi');
		isolated.textContent = values[name];
		return isolated;
	});
}

export const number = (value) => numbers.format(value);

/** The text for `count` of something: `key.one`, `key.other`, and what else the language has. */
export function tn(key, count, values) {
	const form = `${key}.${plurals.select(count)}`;
	return t(has(form) ? form : `${key}.other`, { count: number(count), ...values });
}

/** The service's time, which counts for expiry, whatever this machine's clock says. */
export const now = () => Date.now() + skew;

export function setNow(text) {
	const theirs = Date.parse(text);
	if (!Number.isNaN(theirs)) skew = theirs - Date.now();
}

export const daysFromNow = (days) => now() + days * DAY;
export const date = (text) => dates.format(new Date(text));
export const moment = (text) => moments.format(new Date(text));

export function relative(text) {
	const distance = Date.parse(text) - now();
	const [unit, length] = UNITS.find(([, each]) => Math.abs(distance) >= each) ?? ['second', SECOND];
	if (unit === 'second') return t('time.now');
	return distances.format(Math.round(distance / length), unit);
}
