// What stands beside the charts of a launch: totals, the way, tagging, splits, and whom to compare.

import { age, heading, measure, money, rate, shown } from "./launch-text.js";
import { count, day, element, fill, growth, name, percent, plainPercent, t, write } from "./common.js";

const TOTALS = ["impressions", "clicks", "ctr", "sessions", "bounce_rate", "conversions", "conversion_rate", "value"];
const MISSING_MUCH = 0.05;
const FAR_BELOW = 0.9;
const place = (id) => document.getElementById(id);

// --- totals ---

const tiles = new Map();

export function showTotals(host, answer) {
  for (const one of TOTALS) {
    if (!tiles.has(one)) {
      tiles.set(one, { value: element("p", { className: "figure value" }), note: element("p", { className: "quiet note" }), box: null });
      const tile = tiles.get(one);
      tile.box = element("article", { className: "card total" }, element("h2", {}, heading(one)), tile.value, tile.note);
      host.append(tile.box);
    }
    const { value, note, box } = tiles.get(one);
    const figure = answer.totals[one];
    const ratio = typeof figure === "object" && figure !== null;
    const told = ratio ? rate(figure) : { text: one === "value" ? money(figure) : count(figure), title: "" };
    write(value, told.text);
    value.title = told.title;
    const usual = answer.usual[one];
    write(note, usual === undefined ? "" : t("total.usual", { n: shown(ratio ? "ratio" : "count", usual) }));
    box.hidden = one === "value" && !figure;
  }
}

// --- the way ---

export function showWay({ way }) {
  const most = Math.max(...way.steps.map((step) => step.count), 1);
  const items = way.steps.map((step) => {
    const weakest = step.name === way.weakest;
    const much = way.basis === "lowest" || (weakest && step.share / step.usual_share < FAR_BELOW);
    const bar = element("span", { className: "fill" });
    bar.style.width = `${step.count ? Math.max(0.5, (100 * step.count) / most) : 0}%`;
    const notes = [];
    if (step.share !== null) notes.push(t("way.share", { share: percent(step.share) }));
    if (step.usual_share !== null) notes.push(t("way.usual", { share: percent(step.usual_share) }));
    return element(
      "li",
      { className: weakest ? `weakest${much ? " much" : ""}` : "" },
      element("div", { className: "row" }, element("strong", {}, measure(step.name)), element("span", { className: "figure" }, count(step.count))),
      element("div", { className: "meter", ariaHidden: "true" }, bar),
      element("p", { className: "quiet" }, notes.join(" · "), weakest ? element("strong", { className: "flag" }, t("way.weakest")) : null),
    );
  });
  place("way").replaceChildren(...items);
  write(place("way-note"), wayNote(way));
}

function wayNote(way) {
  if (!way.weakest) return t("way.few");
  const step = way.steps.find((one) => one.name === way.weakest);
  const against = way.basis === "median" ? growth(step.share / step.usual_share - 1) : "";
  if (way.basis === "median" && step.share >= step.usual_share) return t("way.none_below", { against });
  return t(way.basis === "median" ? "way.by_median" : "way.by_lowest", { against });
}

// --- tagging ---

export function showTags({ tagging, launch_at: launchAt }) {
  const checks = tagging.untagged.filter((one) => one.dimension === "campaign" || one.total).map((one) => {
    // Visits that no campaign brought are no fault.
    const direct = one.dimension === "campaign" && one.topic === "sessions";
    const bad = !direct && one.share !== null && one.share > MISSING_MUCH;
    const values = { share: one.share ? percent(one.share) : plainPercent(one.share), topic: t(`topic.${one.topic}`), dimension: t(`dimension.${one.dimension}`) };
    const text = one.total ? t(one.dimension === "campaign" ? "tags.all" : "tags.one", values) : t("tags.none", values);
    return element("li", { className: bad ? "look" : direct || !one.total ? "plain" : "fine" }, bad || one.total ? element("span", { className: "unseen" }, `${t(bad ? "tags.look" : "tags.good")}: `) : null, text);
  });
  place("untagged").replaceChildren(...checks);
  const start = Date.parse(launchAt);
  const moment = (text, grain) => (text ? age(Math.floor((Date.parse(text) - start) / 60000)) + (grain > 60 ? " …" : "") : "");
  const rows = tagging.channels.map((one) => {
    const state = one.expected ? (one.first ? "" : t("tags.silent")) : tagging.channels.some((each) => each.expected) ? t("tags.unexpected") : "";
    const head = element("span", {}, name(one.channel), state ? element("small", { className: one.first ? "quiet" : "bad flag" }, state) : null);
    return [head, moment(one.first, one.grain_s), moment(one.last, 0)];
  });
  fill(place("channels"), rows, 3);
}

// --- splits ---

const COLUMNS = ["impressions", "clicks", "ctr", "sessions", "bounce_rate", "conversions", "conversion_rate", "value"];
let dimension = null;
let last = null;

export function showSplit(answer) {
  last = answer;
  const names = answer.splits.map((split) => split.dimension);
  if (!names.includes(dimension)) [dimension] = names;
  const group = place("dimensions");
  if (group.dataset.names !== names.join()) {
    group.dataset.names = names.join();
    group.replaceChildren(...names.map((one) => {
      const button = element("button", { type: "button", className: "button", value: one }, t(one));
      button.addEventListener("click", () => {
        dimension = one;
        showSplit(last);
      });
      return button;
    }));
  }
  for (const button of group.children) button.setAttribute("aria-pressed", String(button.value === dimension));
  tabulate(answer.splits.find((split) => split.dimension === dimension));
}

function tabulate({ rows, others }) {
  const columns = COLUMNS.filter((one) => rows.some(({ figures }) => figures[one] !== null && figures[one] !== 0) || one === "impressions");
  const head = element("tr", {}, ...[t(dimension), ...columns.map(heading)].map((text) => element("th", { scope: "col" }, text)));
  const body = element("tbody");
  const cell = (figure) => (typeof figure === "object" && figure !== null ? rate(figure).text : count(figure));
  const lines = rows.map(({ label, figures }) => [name(label), ...columns.map((one) => cell(figures[one]))]);
  if (others) lines.push([t("split.others", { n: count(others) }), ...columns.map(() => "")]);
  fill(body, lines, columns.length + 1);
  place("parts").replaceChildren(
    element("caption", { className: "unseen" }, t("split.by", { dimension: t(`dimension.${dimension}`) })),
    element("thead", {}, head),
    body,
  );
}

// --- whom to compare with ---

export function offerLaunches(launches) {
  const chosen = launches.filter((launch) => launch.chosen);
  write(place("compared"), chosen.length ? t("compare.with", { n: chosen.length }) : t("compare.none"));
  const text = JSON.stringify(launches.map(({ id, name: called, chosen: on }) => [id, called, on]));
  const host = place("launches");
  if (host.dataset.told === text) return;
  const focused = host.contains(document.activeElement) ? document.activeElement.value : null;
  host.dataset.told = text;
  host.replaceChildren(
    element("legend", {}, t("compare.title")),
    ...launches.map((launch) => {
      const box = element("input", { type: "checkbox", value: launch.id, checked: launch.chosen });
      return element("label", {}, box, element("span", {}, name(launch.name ?? launch.campaign)), element("small", { className: "quiet" }, day(Date.parse(launch.launch_at))));
    }),
    ...(launches.length ? [] : [element("p", { className: "quiet" }, t("compare.nothing"))]),
  );
  [...host.querySelectorAll("input")].find((input) => input.value === focused)?.focus();
}
