// Every shown text comes from text.json, which the host can replace.

const DAY = 86_400_000;
const UNITS = [['year', 365 * DAY], ['month', 30 * DAY], ['day', DAY], ['hour', DAY / 24], ['minute', DAY / 1_440]];

// "en" alone would mean month before day; who reads it says which English.
const { lang } = document.documentElement;
const language = lang.includes('-') ? lang : navigator.languages.find((each) => each.split('-')[0] === lang) ?? lang;

const plurals = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(language);
const dates = new Intl.DateTimeFormat(language, { dateStyle: 'medium' });
const moments = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' });
const distances = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });

let texts = {};

export async function loadTexts(url) {
	const answer = await fetch(url);
	if (!answer.ok) throw new Error(answer.status);
	texts = await answer.json();
}

export const has = (key) => Object.hasOwn(texts, key);

/** The text as a string, for attributes and for text without foreign parts. */
export const t = (key, values = {}) => (has(key) ? texts[key] : key).replace(/\{(\w+)\}/g, (whole, name) => {
	const value = values[name] ?? whole;
	return typeof value === 'number' ? numbers.format(value) : value;
});

/** The text as nodes. What is filled in is isolated, so that no name can turn the sentence around. */
export const rich = (key, values) => t(key).split(/\{(\w+)\}/).map((part, index) => {
	if (index % 2 === 0) return part;
	const isolated = document.createElement('bdi');
	isolated.append(values[part] ?? `{${part}}`);
	return isolated;
});

/** The text for `count` of something: `key.one`, `key.other`, and what else the language has. */
export function tn(key, count) {
	const forms = [`${key}.${plurals.select(count)}`, `${key}.other`, key];
	return t(forms.find(has), { count });
}

export const daysFromNow = (days) => Date.now() + days * DAY;
export const date = (text) => dates.format(new Date(text));
export const moment = (text) => moments.format(new Date(text));

export function relative(text) {
	const distance = Date.parse(text) - Date.now();
	const [unit, length] = UNITS.find(([, each]) => Math.abs(distance) >= each) ?? [];
	return unit ? distances.format(Math.round(distance / length), unit) : t('time.now');
}
