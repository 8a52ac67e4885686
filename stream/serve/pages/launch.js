// One campaign: asks the API again whenever the live feed says that something changed.

import { chooseWindow, count, fill, follow, Freshness, interval, shown, tile } from "./common.js";

const METRICS = [
  ["ctr", "Click-through rate"], ["bounce_rate", "Bounce rate"], ["conversion_rate", "Conversion rate"],
  ["pages_per_session", "Pages per session"], ["session_duration", "Session duration"],
];
const LISTED = ["ctr", "bounce_rate", "conversion_rate"];
const PAUSE_MS = 2000;

const place = (name) => document.getElementById(name);
const campaign = named(location.pathname.slice("/launch/".length));
const freshness = new Freshness(place("freshness"));
let windowName = "5m";
let asking = false;
let again = false;

function named(path) {
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // not UTF-8: no campaign is called so
  }
}

place("campaign").textContent = campaign;
document.title = `${campaign} · launch`;

async function ask(metric, by) {
  const query = new URLSearchParams({ metric, window: windowName, campaign });
  if (by) query.set("by", by);
  const response = await fetch(`/api/v1/query?${query}`);
  if (!response.ok) throw new Error(`the API answered ${response.status}`);
  return (await response.json()).rows;
}

async function table(dimension, body) {
  const answers = await Promise.all(LISTED.map((metric) => ask(metric, dimension)));
  const byName = new Map();
  answers.forEach((rows, i) => {
    for (const row of rows) {
      const name = row.labels[dimension];
      if (!byName.has(name)) byName.set(name, []);
      byName.get(name)[i] = row;
    }
  });
  fill(body, [...byName].map(([name, [ctr, bounce, conversion]]) => [
    [name, null], count(ctr?.denominator), shown("ctr", ctr), count(conversion?.denominator),
    shown("bounce_rate", bounce), shown("conversion_rate", conversion),
  ]), 6);
}

async function refresh() {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  again = false;
  try {
    const totals = await Promise.all(METRICS.map(([metric]) => ask(metric)));
    place("tiles").replaceChildren(...METRICS.map(([metric, title], i) => {
      const [row] = totals[i];
      return tile(title, shown(metric, row), `of ${count(row.denominator)} in ${windowName}`, interval(row));
    }));
    await Promise.all([table("channel", place("channels")), table("variant", place("variants"))]);
  } catch {
    freshness.lose();
  }
  setTimeout(() => {
    asking = false;
    if (again) refresh();
  }, PAUSE_MS);
}

chooseWindow(place("windows"), (name) => {
  windowName = name;
  refresh();
});
follow(freshness, { snapshot: refresh, delta: refresh, status: refresh });
