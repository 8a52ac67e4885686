// One launch: asks for it whenever the live feed says that something changed, and draws it.

import { age } from "./launch-text.js";
import { addressWith, count, day, element, name, startPage, t, write } from "./common.js";
import { showCharts } from "./launch-charts.js";
import { savePicture } from "./launch-picture.js";
import { showPace } from "./launch-pace.js";
import { offerLaunches, showSplit, showTags, showTotals, showWay } from "./launch-panels.js";

const APART_MS = 1000;
const PATIENCE_MS = 8000;
const SPANS = ["2h", "2d", "7d"];
const CURVES = ["cumulative", "per_minute"];

const place = (id) => document.getElementById(id);
const campaign = named(location.pathname.slice("/launch/".length));
let asking = false;
let askedAt = -Infinity;
let due = null;
let told = null;

const page = startPage({ draw: () => refresh() });
document.title = `${campaign} · ${t("launch")}`;
place("title").append(name(campaign));
offer(place("spans"), "span", SPANS);
offer(place("curves"), "curve", CURVES);
place("freeze").addEventListener("click", freeze);
place("png").addEventListener("click", () => told && savePicture(told).then(() => page.say(t("png.done"))));
place("usual").addEventListener("click", () => turn({ compare: null }));
place("launches").addEventListener("change", compareChosen);
place("thaw").addEventListener("click", (event) => {
  event.preventDefault();
  turn({ at: null });
});
place("compare").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  place("compare").open = false;
  place("compare").querySelector("summary").focus();
});
addEventListener("popstate", () => refresh(true));
document.addEventListener("visibilitychange", () => refresh());
refresh(true);

function named(path) {
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // not UTF-8: no campaign is called so
  }
}

// --- asking ---

function asked() {
  const given = new URLSearchParams(location.search);
  const query = new URLSearchParams();
  for (const key of ["at", "span", "curve", "compare"]) for (const value of given.getAll(key)) query.append(key, value);
  return query;
}

const address = (query) => `/api/v1/launch/${encodeURIComponent(campaign)}?${query}`;

async function refresh(now = false) {
  if (asking || document.visibilityState === "hidden" || (page.paused && !now)) return;
  const wait = APART_MS - (performance.now() - askedAt);
  if (wait > 0 && !now) {
    due ??= setTimeout(() => {
      due = null;
      refresh();
    }, wait);
    return;
  }
  asking = true;
  askedAt = performance.now();
  const query = asked();
  try {
    const response = await fetch(address(query), { signal: AbortSignal.timeout(PATIENCE_MS) });
    const answer = await response.json();
    if (String(query) === String(asked())) response.ok ? show(answer) : refuse(response.status, answer);
  } catch {
    if (!told) fault(t("fault.away"));
  } finally {
    asking = false;
    if (String(query) !== String(asked())) refresh(true);
  }
}

// --- showing ---

function show(answer) {
  told = answer;
  const minutes = answer.elapsed_s === null ? null : answer.elapsed_s / 60;
  place("title").replaceChildren(name(answer.name ?? answer.campaign));
  place("story").hidden = minutes === null;
  fault(minutes === null ? t("fault.none", { campaign: answer.campaign }) : "");
  if (minutes === null) return;
  showAbout(answer, minutes);
  showFrozen(answer, minutes);
  showPace(place("pace"), answer, minutes);
  showTotals(place("totals"), answer);
  showChoices(answer);
  showCharts(place("charts"), answer, minutes);
  showDoubts(answer);
  showWay(answer);
  showTags(answer);
  showSplit(answer);
  showBefore(answer.before);
}

function showAbout(answer, minutes) {
  const known = [answer.campaign, answer.owner].filter((text) => text && text !== answer.name);
  place("about").replaceChildren(...known.flatMap((text, i) => (i ? [" · ", name(text)] : [name(text)])));
  write(place("age"), age(minutes));
  const at = day(Date.parse(answer.launch_at));
  const since = minutes < 0 ? t("since.coming", { at }) : t(`since.${answer.known}`, { at });
  write(place("since"), minutes > 10080 ? `${since}; ${t("since.over")}` : since);
}

function showFrozen(answer, minutes) {
  place("frozen").hidden = !answer.frozen;
  place("freeze").hidden = answer.frozen;
  if (!answer.frozen) return;
  write(place("frozen-text"), t("frozen.text", { at: day(Date.parse(answer.at)), age: age(minutes) }));
  place("thaw").href = addressWith({ at: null });
}

function showChoices(answer) {
  press(place("spans"), answer.axis.span);
  press(place("curves"), answer.curve);
  offerLaunches(answer.launches);
  const query = asked();
  query.set("format", "csv");
  place("csv").href = address(query);
}

// What the figures lack: partitions that are not in, or cells as fine as the curves look.
function showDoubts({ resolution, resolution_earlier: earlier, complete, as_of: asOf }) {
  place("incomplete").hidden = complete;
  write(place("incomplete"), t(asOf === null ? "incomplete.yet" : "incomplete.now"));
  const coarse = ["1d", "1h"].find((one) => one === resolution || one === earlier);
  place("approximate").hidden = !coarse;
  if (coarse) write(place("approximate"), t("approximate", { resolution: t(`resolution.${coarse}`) }));
}

function showBefore({ from, impressions, clicks, sessions }) {
  const [i, c, s] = [impressions, clicks, sessions].map(count);
  place("before").hidden = !(impressions || clicks || sessions);
  write(place("before"), t("before", { from: day(Date.parse(from)), impressions: i, clicks: c, sessions: s }));
}

function refuse(status, problem) {
  place("story").hidden = true;
  told = null;
  fault(status === 404 ? t("fault.unknown", { campaign }) : t("fault.asked", { why: problem.detail }));
}

function fault(text) {
  place("fault").hidden = !text;
  write(place("fault"), text);
}

// --- choosing: the address says what is shown ---

function turn(changes) {
  history.pushState(null, "", addressWith(changes));
  refresh(true);
}

function offer(group, parameter, values) {
  group.append(...values.map((value) => {
    const button = element("button", { type: "button", className: "button", value }, t(`${parameter}.${value}`));
    button.addEventListener("click", () => turn({ [parameter]: value }));
    return button;
  }));
}

function press(group, value) {
  for (const button of group.children) button.setAttribute("aria-pressed", String(button.value === value));
}

function compareChosen() {
  const chosen = [...place("launches").querySelectorAll("input:checked")].map((input) => input.value);
  const url = addressWith({ compare: chosen });
  if (!chosen.length) url.searchParams.append("compare", "");
  history.pushState(null, "", url);
  refresh(true);
}

async function freeze() {
  if (!told?.launch_at) return;
  const at = new Date(Math.floor(Date.parse(told.at) / 60000) * 60000);
  const url = addressWith({ at: at.toISOString().replace(":00.000Z", "Z") });
  const moment = age((at - Date.parse(told.launch_at)) / 60000);
  let copied = true;
  try {
    await navigator.clipboard.writeText(String(url));
  } catch {
    copied = false; // not allowed, or not over TLS: the address bar has it
  }
  history.pushState(null, "", url);
  await refresh(true);
  page.say(t(copied ? "freeze.done" : "freeze.there", { age: moment }));
}
