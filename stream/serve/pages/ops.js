// The ops screen: all traffic, campaigns and teams, from the live feed.

import { chooseWindow, count, fill, follow, Freshness, interval, NO_VALUE, shown, tile } from "./common.js";

const TILES = [
  ["ctr", "Click-through rate"], ["bounce_rate", "Bounce rate"], ["conversion_rate", "Conversion rate"],
  ["pages_per_session", "Pages per session"], ["session_duration", "Session duration"],
  ["fcr", "First-contact resolution"],
];
const TICKETS = new Set(["fcr", "first_response_time", "first_resolution_time", "resolution_time"]);
const TICKET_WINDOW = "24h";

const rows = new Map();
const place = (name) => document.getElementById(name);
const freshness = new Freshness(place("freshness"));
let windowName = "5m";
let active = null;
let drawing = false;

const key = (metric, window, labels) => JSON.stringify([metric, window, Object.entries(labels)]);
const span = (metric) => (TICKETS.has(metric) ? TICKET_WINDOW : windowName);
const row = (metric, labels) => rows.get(key(metric, span(metric), labels));

function names(dimension, metrics) {
  const sizes = new Map();
  for (const { metric, window, labels, denominator } of rows.values()) {
    if (metrics.includes(metric) && window === span(metric) && labels[dimension] !== undefined) {
      sizes.set(labels[dimension], (sizes.get(labels[dimension]) ?? 0) + denominator);
    }
  }
  return [...sizes].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([name]) => name);
}

function draw() {
  drawing = false;
  place("tiles").replaceChildren(
    tile("Active sessions", count(active), "interacted in the last 5 minutes"),
    ...TILES.map(([metric, title]) => {
      const total = row(metric, {});
      return tile(title, shown(metric, total), total && `of ${count(total.denominator)} in ${span(metric)}`, interval(total));
    }),
  );
  fill(place("campaigns"), names("campaign", ["ctr", "conversion_rate"]).map((campaign) => {
    const at = (metric) => row(metric, { campaign });
    return [
      [campaign, `/launch/${encodeURIComponent(campaign)}`],
      count(at("ctr")?.denominator), shown("ctr", at("ctr")), count(at("conversion_rate")?.denominator),
      shown("bounce_rate", at("bounce_rate")), shown("conversion_rate", at("conversion_rate")),
    ];
  }), 6);
  fill(place("teams"), names("team", ["fcr", "first_response_time"]).map((team) => {
    const at = (metric) => row(metric, { team });
    return [
      [team, null], count(at("fcr")?.denominator), shown("fcr", at("fcr")),
      shown("first_response_time", at("first_response_time")), shown("resolution_time", at("resolution_time")),
    ];
  }), 5);
}

function later() {
  if (!drawing) {
    drawing = true;
    requestAnimationFrame(draw);
  }
}

function take(message) {
  for (const gone of message.gone ?? []) rows.delete(key(gone.metric, gone.window, gone.labels));
  for (const line of message.rows) rows.set(key(line.metric, line.window, line.labels), line);
  active = message.active_sessions;
  later();
}

function status({ partitions }) {
  const groups = new Map();
  let lag = 0;
  for (const partition of partitions) {
    groups.set(partition.status, (groups.get(partition.status) ?? 0) + 1);
    lag += partition.lag ?? 0;
  }
  const parts = [...groups].map(([name, n]) => `${n} ${name}`);
  place("partitions").textContent = parts.length ? `${parts.join(", ")} · ${count(lag)} records behind` : NO_VALUE;
}

chooseWindow(place("windows"), (name) => {
  windowName = name;
  later();
});
follow(freshness, {
  snapshot(message) {
    rows.clear();
    take(message);
    status(message.status);
  },
  delta: take,
  status,
});
