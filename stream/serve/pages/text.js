// Language, texts and number formats. How to use it:
//   import { addTexts, t, count, percent } from "./common.js";
//   addTexts({ en: { hello: "{n} of {m} sessions" }, fr: { hello: "{n} sessions sur {m}" } });
//   t("hello", { n: count(12), m: count(200) })
// In HTML, data-t="key" sets an element's text, data-t-label its aria-label, data-t-title its title;
// `translate(root)` fills them in. Numbers are those of the page's language; "–" stands for none.

export const NO_VALUE = "–";
export const lang = document.documentElement.lang === "fr" ? "fr" : "en";

// English readers differ in their dates and clocks: take the browser's own kind of English.
const locale = navigator.languages.find((tag) => tag.slice(0, 2) === lang) ?? lang;
const texts = {};

export function addTexts(more) {
  Object.assign(texts, more[lang]);
}

export function t(key, values = {}) {
  const text = texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export function has(key) {
  return key in texts;
}

export function translate(root = document) {
  for (const found of root.querySelectorAll("[data-t]")) found.textContent = t(found.dataset.t);
  for (const found of root.querySelectorAll("[data-t-label]")) found.setAttribute("aria-label", t(found.dataset.tLabel));
  for (const found of root.querySelectorAll("[data-t-title]")) found.title = t(found.dataset.tTitle);
}

const formats = new Map();

function format(kind, options) {
  const key = kind.name + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new kind(locale, options));
  return formats.get(key);
}

const number = (options) => format(Intl.NumberFormat, options);
const given = (value) => value !== null && value !== undefined && !Number.isNaN(value);

// 1234 → "1,234", or "1 234"
export const count = (n) => (given(n) ? number({ maximumFractionDigits: 0 }).format(n) : NO_VALUE);

// 1234567 → "1.2M": where there is little room
export const short = (n) => (given(n) ? number({ notation: "compact", maximumSignificantDigits: 3 }).format(n) : NO_VALUE);

// 0.1064 → "10.6%"; three digits that count, so that small rates can be told apart
export function percent(ratio, digits) {
  if (!given(ratio)) return NO_VALUE;
  const places = digits ?? (Math.abs(ratio) < 0.0995 && ratio !== 0 ? 2 : 1);
  return number({ style: "percent", minimumFractionDigits: places, maximumFractionDigits: places }).format(ratio);
}

// 0.102, 0.106 → "10.2% – 10.6%"
export const percents = (low, high) => number({ style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }).formatRange(low, high);

// 0.03 → "3%": what somebody wrote, not what was measured
export const plainPercent = (ratio) => (given(ratio) ? number({ style: "percent", maximumFractionDigits: 2 }).format(ratio) : NO_VALUE);

// 0.0042 → "+0.42 pp"
export function points(difference) {
  if (!given(difference)) return NO_VALUE;
  const places = Math.abs(difference) < 0.0995 ? 2 : 1;
  const text = number({ signDisplay: "exceptZero", minimumFractionDigits: places, maximumFractionDigits: places }).format(difference * 100);
  return t("unit.points", { n: minus(text) });
}

// 0.12 → "+12%"
export function growth(ratio) {
  if (!given(ratio)) return NO_VALUE;
  const options = { style: "percent", signDisplay: "exceptZero", maximumFractionDigits: Math.abs(ratio) < 0.0995 ? 1 : 0 };
  return minus(number(options).format(ratio));
}

// A minus as wide as the plus.
const minus = (text) => text.replace("-", "−");

export const decimal = (n, places = 1) => (given(n) ? number({ minimumFractionDigits: places, maximumFractionDigits: places }).format(n) : NO_VALUE);

// 93 → "1 min 33 s", 1500 → "25 min": a second unit only where the first says little
export function seconds(s) {
  if (!given(s)) return NO_VALUE;
  if (s < 9.95 && !Number.isInteger(s)) return t("unit.s", { n: decimal(s) });
  const whole = Math.round(s);
  const pairs = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = pairs.findIndex(([, size]) => whole >= size);
  const parts = [];
  let rest = whole;
  if (first < 0) return t("unit.s", { n: count(0) });
  const units = whole / pairs[first][1] >= 10 ? 1 : 2;
  for (const [unit, size] of pairs.slice(first, first + units)) {
    const n = units === 1 ? Math.round(rest / size) : Math.floor(rest / size);
    rest -= n * size;
    if (n) parts.push(t(`unit.${unit}`, { n: count(n) }));
  }
  return parts.join(" ");
}

const moment = (options) => (ms) => (given(ms) ? format(Intl.DateTimeFormat, options).format(ms) : NO_VALUE);

// "14:02:10"
export const clock = moment({ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
// "14:02"
export const minute = moment({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
// "22 Nov, 14:02"
export const day = moment({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

addTexts({
  en: {
    "unit.points": "{n} pp", "unit.s": "{n} s", "unit.min": "{n} min", "unit.h": "{n} h", "unit.d": "{n} d",
    "fresh.waiting": "waiting for data", "fresh.connecting": "connecting …", "fresh.live": "live · {age}",
    "fresh.delayed": "delayed {age}", "fresh.stopped": "stopped {at}", "fresh.paused": "paused {at}",
    "say.live": "Figures are live.", "say.delayed": "Figures are delayed.", "say.stopped": "Figures have stopped.",
    "say.unreachable": "The server cannot be reached; trying again.", "say.paused": "Paused: the page stands still.",
    "say.waiting": "No data yet.", "say.incomplete": "Figures are live, but not all partitions are.",
    "chart.values": "Values", "chart.at": "Time", "no.data": "no data yet",
    "theme.dark": "Dark", "theme.light": "Light", "theme.auto": "System", "theme.label": "Colours",
    pause: "Pause", resume: "Resume", skip: "Skip to the figures",
  },
  fr: {
    "unit.points": "{n} pt", "unit.s": "{n} s", "unit.min": "{n} min", "unit.h": "{n} h", "unit.d": "{n} j",
    "fresh.waiting": "en attente de données", "fresh.connecting": "connexion …", "fresh.live": "en direct · {age}",
    "fresh.delayed": "retard {age}", "fresh.stopped": "arrêté {at}", "fresh.paused": "en pause {at}",
    "say.live": "Les chiffres sont en direct.", "say.delayed": "Les chiffres ont du retard.", "say.stopped": "Les chiffres sont arrêtés.",
    "say.unreachable": "Le serveur est injoignable ; nouvel essai en cours.", "say.paused": "En pause : la page ne bouge plus.",
    "say.waiting": "Pas encore de données.", "say.incomplete": "Les chiffres sont en direct, mais pas toutes les partitions.",
    "chart.values": "Valeurs", "chart.at": "Heure", "no.data": "pas encore de données",
    "theme.dark": "Sombre", "theme.light": "Clair", "theme.auto": "Système", "theme.label": "Couleurs",
    pause: "Pause", resume: "Reprendre", skip: "Aller aux chiffres",
  },
});
