// The ops room: asks for the board twice a second, draws what changed, and keeps the address true.

import "./ops-text.js";
import { addressWith, clock, element, name, startPage, t, write } from "./common.js";
import { showAlerts, showMovers, showPartitions, showTeams } from "./panels.js";
import { Tile } from "./tile.js";
import { startWall, wallOf } from "./wall.js";

const TICK_MS = 500;
const SLOW_MS = 5000;
const PATIENCE_MS = 4000;
const WINDOWS = ["5m", "15m", "1h", "24h"];
const DIMENSIONS = ["campaign", "channel", "variant", "team"];
const NAMES = ["active_sessions", "ctr", "bounce_rate", "conversion_rate", "fcr", "tickets_waiting"];

const place = (id) => document.getElementById(id);
const wall = wallOf(new URLSearchParams(location.search));
const tiles = new Map(NAMES.map((one) => [one, new Tile(one)]));
const known = new Map(DIMENSIONS.map((dimension) => [dimension, []]));
let slice = readSlice();
let asking = false;
let slowAt = -Infinity;

const page = startPage({ draw });
document.title = t("title");
place("tiles").append(...[...tiles.values()].map((tile) => tile.element));
offerWindows();
offerFilters();
if (wall.on) startWall(wall, (campaign, turn) => turnTo({ ...slice, campaign: [campaign] }, turn));
showSlice();
setInterval(tick, TICK_MS);
document.addEventListener("visibilitychange", tick);
addEventListener("popstate", () => turnTo(readSlice()));
tick();

function readSlice() {
  const asked = new URLSearchParams(location.search);
  const window = asked.get("window");
  return {
    window: WINDOWS.includes(window) ? window : "1h",
    ...Object.fromEntries(DIMENSIONS.map((dimension) => [dimension, asked.getAll(dimension).filter(Boolean)])),
  };
}

function draw(heard, message) {
  const status = heard === "snapshot" ? message.status : heard === "status" ? message : null;
  if (status) showPartitions(status);
  if (heard === "delta" || heard === "resumed") tick();
}

async function tick() {
  for (const tile of tiles.values()) tile.age();
  if (wall.on) write(place("clock"), clock(Date.now()));
  if (asking || page.paused || document.visibilityState === "hidden") return;
  asking = true;
  const asked = slice;
  try {
    const board = await ask("board", { window: asked.window, ...filters(asked) });
    if (asked === slice && !page.paused) showBoard(board);
    if (performance.now() - slowAt >= SLOW_MS) {
      slowAt = performance.now();
      const by = asked.campaign.length === 1 ? "channel" : "campaign";
      const [movers, alerts] = await Promise.all([ask("movers", { by, ...filters(asked) }), ask("alerts", {})]);
      if (asked === slice && !page.paused) {
        showMovers(movers);
        showAlerts(alerts);
      }
    }
  } catch {
    // the server is away: tiles grow old by themselves, and the next tick asks again
  } finally {
    asking = false;
  }
}

async function ask(what, parameters) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) for (const one of [value].flat()) query.append(key, one);
  const response = await fetch(`/api/v1/${what}?${query}`, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!response.ok) throw new Error(`the API answered ${response.status}`);
  return response.json();
}

function filters(from) {
  return Object.fromEntries(DIMENSIONS.map((dimension) => [dimension, from[dimension]]));
}

function showBoard(board) {
  for (const tile of board.tiles) tiles.get(tile.name)?.show(tile, board.at);
  showTeams(board.teams, board.at);
  offerTeams(board.teams);
}

// --- what is shown, and the address that reproduces it ---

function turnTo(next, turn = "") {
  slice = next;
  slowAt = -Infinity;
  showSlice(turn);
  tick();
}

function choose(changes) {
  const next = { ...slice, ...changes };
  history.pushState(null, "", addressWith({ ...changes }));
  turnTo(next);
  page.say(t("shown", { names: [t(`window.${next.window}`), ...chosen(next)].join(", ") }));
}

function chosen(from) {
  return DIMENSIONS.flatMap((dimension) => from[dimension]);
}

function showSlice(turn = "") {
  const names = chosen(slice);
  place("slice").replaceChildren(...(names.length ? names.map(name) : [t("all.traffic")]), turn && element("small", {}, turn));
  for (const button of place("windows").children) button.setAttribute("aria-pressed", String(button.value === slice.window));
  for (const select of place("filters").querySelectorAll("select")) select.replaceChildren(...options(select.name, []));
}

function offerWindows() {
  const buttons = WINDOWS.map((value) => element("button", { type: "button", className: "button", value }, t(`window.${value}`)));
  for (const button of buttons) button.addEventListener("click", () => choose({ window: button.value }));
  place("windows").append(...buttons);
}

function options(dimension, values) {
  if (values.length) known.set(dimension, values);
  const current = slice[dimension];
  const listed = [...new Set([...known.get(dimension), ...(current.length === 1 ? current : [])])];
  const made = [element("option", { value: "" }, t(`all.${dimension}`)), ...listed.map((value) => element("option", { value: `=${value}` }, value))];
  if (current.length > 1) made.push(element("option", { value: "several" }, t("some", { n: current.length })));
  const wanted = current.length > 1 ? "several" : current.length ? `=${current[0]}` : "";
  for (const option of made) option.selected = option.value === wanted;
  return made;
}

function offerFilters() {
  if (wall.on) return;
  for (const dimension of DIMENSIONS) {
    const select = element("select", { name: dimension }, ...options(dimension, []));
    select.addEventListener("change", () => {
      if (select.value !== "several") choose({ [dimension]: select.value ? [select.value.slice(1)] : [] });
    });
    if (dimension !== "team") select.addEventListener("focus", () => offerValues(select));
    place("filters").append(element("label", { className: "field" }, element("span", {}, t(dimension)), select));
  }
  place("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const select of place("filters").querySelectorAll("select")) if (select.name !== "team") offerValues(select);
}

// The values with the most traffic of the last day.
async function offerValues(select) {
  const asked = ["ctr", "conversion_rate"].map((metric) => ask("query", { metric, window: "24h", by: select.name, limit: 200 }));
  try {
    const rows = (await Promise.all(asked)).flatMap((answer) => answer.rows);
    const values = [...new Set(rows.map((row) => row.labels[select.name]))].sort((a, b) => a.localeCompare(b));
    if (JSON.stringify(values) !== JSON.stringify(known.get(select.name))) select.replaceChildren(...options(select.name, values));
  } catch {
    // asked again when somebody looks
  }
}

function offerTeams(teams) {
  const select = place("filters").querySelector("select[name=team]");
  const values = teams.map((team) => team.team).sort((a, b) => a.localeCompare(b));
  if (select && !slice.team.length && JSON.stringify(values) !== JSON.stringify(known.get("team"))) select.replaceChildren(...options("team", values));
}
