// Movers, alerts and support teams, as /api/v1/movers, /api/v1/alerts and the board tell them.

import { clock, count, day, decimal, element, fill, minute, NO_VALUE, name, percent, points, seconds, t, write } from "./common.js";
import { arrow, judge } from "./tile.js";

const place = (id) => document.getElementById(id);
const UNNAMED = new Set(["(not set)", "(other)"]);
const GRAVE = new Set(["page", "critical", "error"]);

export function showMovers({ up, down, compared, by }) {
  write(place("movers-note"), compared ? t("movers.note", { n: count(compared) }) : "");
  const sides = [[t("rising"), up], [t("falling"), down]].filter(([, moves]) => moves.length);
  place("movers").replaceChildren(
    ...(sides.length ? sides.map(([title, moves]) => list(title, moves, by)) : [element("p", { className: "quiet" }, t("movers.none"))]),
  );
}

function list(title, moves, by) {
  return element("div", {}, element("h3", {}, title), element("ol", {}, ...moves.map((move) => mover(move, by))));
}

function mover({ metric, labels, better, change }, by) {
  const verdict = judge(better, change);
  const who = name(labels[by]);
  const shown = by === "campaign" && !UNNAMED.has(labels[by]) ? element("a", { href: `/launch/${encodeURIComponent(labels[by])}` }, who) : who;
  const moved = points(change.difference);
  return element(
    "li",
    { className: verdict === "quiet" ? "faint" : "", title: `${t(`basis.${change.basis}`)} · ${t("z.score", { z: decimal(change.z) })}` },
    element("span", { className: verdict, ariaHidden: "true" }, arrow(moved)),
    element("span", { className: "who" }, shown, " ", element("span", { className: "what" }, `${t(`short.${metric}`)} ${percent(change.now.value, 1)}`)),
    element("span", { className: `by ${verdict}` }, moved),
  );
}

export function showAlerts({ state, checked_at: checked, total, alerts }) {
  const box = place("alerts");
  write(place("alerts-note"), state === "ok" && total ? count(total) : "");
  const lines = [];
  if (state === "not_set" || state === "asking") lines.push(element("p", { className: "quiet" }, t(`alerts.${state}`)));
  if (state === "unreachable") {
    lines.push(element("p", { className: "warn" }, t("alerts.unreachable")));
    if (checked && alerts.length) lines.push(element("p", { className: "quiet" }, t("alerts.last", { at: clock(Date.parse(checked)) })));
  }
  if (state === "ok" && !total) lines.push(element("p", { className: "calm" }, element("span", { className: "good", ariaHidden: "true" }, "●"), t("alerts.none")));
  if (alerts.length) lines.push(element("ul", { className: "alerts" }, ...alerts.slice(0, 8).map(alert)));
  if (total > 8) lines.push(element("p", { className: "quiet" }, t("alerts.more", { n: count(total - 8) })));
  const key = JSON.stringify([state, checked && state === "unreachable", alerts, total]);
  if (box.dataset.shown === key) return;
  box.dataset.shown = key;
  box.replaceChildren(...lines);
}

// The time alone is enough of the last hours.
function when(ms) {
  return Date.now() - ms < 12 * 3_600_000 ? minute(ms) : day(ms);
}

function alert({ name: title, severity, summary, since, labels, runbook_url: runbook, dashboard_url: dashboard, launch_url: launch }) {
  const link = dashboard ?? launch ?? runbook;
  const text = element("bdi", {}, summary || title);
  const grave = GRAVE.has(severity) ? "bad" : "warn";
  return element(
    "li",
    { title: [title, ...Object.entries(labels).map(([key, value]) => `${key}=${value}`)].join("\n") },
    element("span", { className: `severity ${grave}` }, severity || "alert"),
    element("span", { className: "text" }, link ? element("a", { href: link, rel: "noreferrer" }, text) : text),
    element("span", { className: "quiet" }, since ? t("since", { at: when(Date.parse(since)) }) : ""),
  );
}

export function showTeams(teams, at) {
  const now = Date.parse(at);
  const rows = teams.map((team) => [
    name(team.team),
    count(team.waiting),
    team.oldest_opened === null ? NO_VALUE : seconds(Math.max(0, (now - Date.parse(team.oldest_opened)) / 1000)),
    seconds(team.first_response_p50_s),
    percent(team.fcr, 1),
    percent(team.reopened, 1),
  ]);
  const key = JSON.stringify(rows.map((row, i) => [teams[i].team, ...row.slice(1)]));
  if (place("teams").dataset.shown === key) return;
  place("teams").dataset.shown = key;
  fill(place("teams"), rows, 6);
}

export function showPartitions({ partitions }) {
  const groups = new Map();
  let lag = 0;
  for (const one of partitions) {
    groups.set(one.status, (groups.get(one.status) ?? 0) + 1);
    lag += one.lag ?? 0;
  }
  const parts = [...groups].map(([status, n]) => t("partitions", { n: count(n), status: t(`status.${status}`) }));
  write(place("partitions"), parts.length ? [...parts, t("lag", { n: count(lag) })].join(" · ") : "");
}
