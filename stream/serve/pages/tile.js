// One tile: a figure from /api/v1/board with all that is said of it, and its sparkline.

import { clock, count, decimal, element, growth, has, lineChart, minute, percent, percents, plainPercent, points, seconds, STALE_MS, t, write } from "./common.js";

const CERTAIN = 2; // standard errors; a smaller change may be chance, and is said quietly
const MINUTE_MS = 60_000;
const AGES_S = { "1m": 60, "5m": 300, "15m": 900, "30m": 1800 };

export class Tile {
  constructor(name) {
    this.name = name;
    this.heard = null;
    this.title = element("span", {}, t(name));
    this.window = element("small");
    this.change = element("p", { className: "change" });
    this.number = element("p", { className: "number" });
    this.note = element("p", { className: "note" });
    this.late = element("span", { className: "late" });
    this.spark = element("div", { className: "spark" });
    const heading = element("h2", { id: `tile-${name}` }, this.title, " ", this.window);
    const row = element("div", { className: "row" }, this.number, this.change);
    const head = element("div", { className: "head" }, heading, this.late);
    this.element = element("article", { className: "tile card", dataset: { tile: name } }, head, row, this.note, this.spark);
    this.element.setAttribute("aria-labelledby", heading.id);
    this.chart = null;
  }

  show(tile, at) {
    this.heard = { lag: tile.as_of === null ? null : Date.parse(at) - Date.parse(tile.as_of), at: performance.now(), asOf: tile.as_of };
    write(this.window, this.scope(tile));
    this.showNumber(tile);
    this.showChange(tile);
    this.showNote(tile);
    if (tile.spark) this.showSpark(tile, at);
    this.age();
  }

  // Grey when what it shows is old, whoever is to blame: the worker, the server or the way to it.
  age() {
    if (!this.heard || this.heard.lag === null) return;
    const stale = this.heard.lag + performance.now() - this.heard.at > STALE_MS;
    if (this.element.classList.contains("stale") !== stale) this.element.classList.toggle("stale", stale);
    if (stale) write(this.late, t("as.of", { at: clock(Date.parse(this.heard.asOf)) }));
  }

  scope(tile) {
    const parts = [];
    if (tile.unit === "ratio") parts.push(t(`window.${tile.window}`));
    if (tile.ignored.length) parts.push(t("for.all", { names: tile.ignored.map((name) => t(name).toLowerCase()).join(", ") }));
    return parts.join(" · ");
  }

  showNumber(tile) {
    const few = tile.value === null && tile.needed !== null;
    this.number.classList.toggle("small", tile.value === null);
    if (few) {
      write(this.number, t("few", { n: count(tile.n), needed: count(tile.needed), of: this.of(tile) }));
      return;
    }
    const text = tile.unit === "ratio" ? percent(tile.value, 1) : count(tile.value);
    if (this.number.textContent === text) return;
    const sign = text.indexOf("%");
    this.number.replaceChildren(...(sign < 0 ? [text] : [text.slice(0, sign).trimEnd(), element("span", { className: "sign" }, text.slice(text.slice(0, sign).trimEnd().length))]));
  }

  of(tile) {
    return has(`of.${tile.of}`) ? t(`of.${tile.of}`) : tile.of;
  }

  showChange(tile) {
    const { change } = tile;
    const lines = change ? this.against(tile, change) : tile.value === null ? [] : ["", t("no.change")];
    const key = lines.join("|");
    this.change.className = `change ${change ? judge(tile.better, change) : "quiet"}`;
    this.change.title = change ? this.certainty(change) : this.reason(tile);
    if (this.changed === key) return;
    this.changed = key;
    this.change.replaceChildren(...lines.filter(Boolean).map((text, i) => element(i || !change ? "small" : "strong", {}, text)));
  }

  certainty(change) {
    return change.z === null ? "" : t("z.score", { z: decimal(change.z) });
  }

  reason(tile) {
    if (tile.unit === "count") return t("why.samples");
    return t(tile.name === "fcr" ? "why.settled" : "why.few");
  }

  against(tile, change) {
    const by = tile.unit === "ratio" ? points(change.difference) : growth(change.difference / (change.then.value || 1));
    const how = [change.age && t("at.age", { age: seconds(AGES_S[change.age]) }), change.state === "settled" && t("settled")];
    return [`${arrow(by)} ${by}`, t(`basis.${change.basis}`), how.filter(Boolean).join(", ")];
  }

  showNote(tile) {
    const parts = [];
    if (tile.low !== null) parts.push(t("interval", { range: percents(tile.low, tile.high) }));
    if (tile.unit === "ratio" && tile.value !== null) parts.push(t("n", { n: count(tile.n), of: this.of(tile) }));
    if (tile.name === "active_sessions") parts.push(t("active.note"));
    if (tile.name === "tickets_waiting" && tile.n !== null) parts.push(t("open", { n: count(tile.n) }));
    if (tile.target !== null) parts.push(this.target(tile));
    const key = parts.join("|");
    if (this.noted === key) return;
    this.noted = key;
    this.note.replaceChildren(...parts.map((part) => element("span", {}, part)));
  }

  target(tile) {
    const text = t("target", { target: tile.unit === "ratio" ? plainPercent(tile.target) : count(tile.target) });
    if (tile.value === null) return text;
    const reached = tile.better === "lower" ? tile.value <= tile.target : tile.value >= tile.target;
    return `${text} ${reached ? "✓" : "✗"}`;
  }

  showSpark(tile, at) {
    const { spark } = tile;
    const ratio = tile.unit === "ratio";
    this.chart ??= lineChart(this.spark, {
      label: t("spark", { name: t(tile.name) }),
      series: [{ label: t("value"), fill: true, width: 2 }],
      extra: ratio ? [{ label: t("count"), value: count }] : [],
      value: ratio ? percent : count,
      at: minute,
      axes: false,
      height: "fill",
      least: 0.15,
    });
    const from = Date.parse(spark.from);
    const x = spark.values.map((value, i) => from + i * spark.step_s * 1000);
    const y = [...spark.values];
    const range = [from, from + spark.values.length * MINUTE_MS];
    if (!ratio) { // what is so now goes on to the edge
      x.push(Math.max(Date.parse(at), x.at(-1) + 1));
      y.push(tile.value);
    }
    const key = JSON.stringify([x, y, tile.target]);
    if (this.drawn === key) return;
    this.drawn = key;
    this.chart.set({ x, y: [y], extra: spark.n ? [spark.n] : [], range, targets: tile.target === null ? [] : [{ value: tile.target }] });
  }
}

// The direction of a change as it is written: one that rounds to nothing has none.
export function arrow(text) {
  return text.startsWith("+") ? "▲" : text.startsWith("−") ? "▼" : "=";
}

// Good, bad, or neither: a change that may be chance is not judged.
export function judge(better, change) {
  if (!better || change.z === null || Math.abs(change.z) < CERTAIN || !change.difference) return "quiet";
  return (better === "higher") === change.difference > 0 ? "good" : "bad";
}
