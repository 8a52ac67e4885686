// The charts of a launch: each measure beside earlier launches, their median and band; on counts
// with a target also the pace that it takes, and where it leads.

import { measure, shown, span as spanText, whole, within } from "./launch-text.js";
import { element, lineChart, short, t, write } from "./common.js";

const ORDER = ["impressions", "clicks", "ctr", "sessions", "bounce_rate", "conversions", "conversion_rate", "value"];
const UNIT = { minutes: 1, hours: 60, days: 1440 };
const TICKS = { minutes: [15, 30, 60], hours: [6, 12, 24], days: [1, 2] };
const TICK_ROOM = 76;
const boxes = new Map();

export function showCharts(host, answer, minutes) {
  const aims = answer.curve === "cumulative" ? answer.pace : [];
  const lines = new Map(answer.lines.map((line) => [line.measure, line]));
  const wanted = [...new Set(answer.pace.map((aim) => aim.measure))];
  const order = [...wanted, ...ORDER.filter((one) => !wanted.includes(one))];
  const shownOnes = order.filter((one) => one !== "value" || wanted.length > 1 || wanted.includes("value"));
  arrange(host, shownOnes, wanted.length);
  for (const one of shownOnes) {
    boxes.get(one).show(lines.get(one), answer, minutes, wanted.includes(one), aims.find((aim) => aim.measure === one));
  }
}

// The boxes that are shown, in their order.
export const drawn = () => [...boxes.values()].filter((one) => one.element.isConnected).sort((a, b) => a.place - b.place);

// The measures with a target come first, and are larger.
function arrange(host, order, large) {
  const text = order.join();
  if (host.dataset.order === text) return;
  host.dataset.order = text;
  host.dataset.large = String(Math.min(large, 3));
  for (const one of ORDER) if (!boxes.has(one)) boxes.set(one, new Box(one));
  order.forEach((one, i) => (boxes.get(one).place = i));
  host.replaceChildren(...order.map((one) => boxes.get(one).element));
}

class Box {
  constructor(one) {
    this.measure = one;
    this.title = element("h2", {}, measure(one));
    this.note = element("p", { className: "quiet note" });
    this.latest = element("p", { className: "figure latest" });
    this.keys = element("p", { className: "keys" });
    this.host = element("div");
    this.host.addEventListener("pointermove", () => this.read());
    this.host.addEventListener("pointerleave", () => this.read(null));
    this.element = element("section", { className: "card panel" }, element("div", { className: "head" }, this.title, this.latest), this.note, this.keys, this.host);
    this.chart = null;
    this.shape = "";
  }

  show(line, answer, minutes, first, aim) {
    this.element.classList.toggle("first", first);
    this.large = first;
    const chosen = answer.launches.filter((launch) => launch.chosen);
    const series = new Series(line, answer, minutes, chosen, aim);
    this.build(line, answer, series, chosen, first);
    const marks = first ? series.marks : series.marks.map(({ at }) => ({ at }));
    this.chart.set({ x: series.x, y: series.y, range: series.range, targets: series.targets, marks });
    // A minute's rate is one of a few: it would jump.
    write(this.latest, line.unit === "ratio" && answer.curve !== "cumulative" ? "" : shown(line.unit, series.latest, 1));
    this.series = series;
    this.words = this.say(line, answer, first);
    if (!this.pointed) write(this.note, this.words);
    this.showKeys(series, chosen);
  }

  say(line, answer, first) {
    if (answer.curve === "cumulative") return first ? t("chart.stood") : "";
    if (line.unit !== "ratio") return t("chart.per_minute");
    return this.measure === "ctr" ? "" : t("chart.within", { age: answer.outcome_age.replace("m", ` ${t("minute")}`) });
  }

  // The values under the pointer; keyboards have the table.
  read(i = this.chart?.plot?.cursor.idx) {
    const { series } = this;
    this.pointed = i !== null && i !== undefined && series?.x[i] !== undefined;
    if (!this.pointed) {
      write(this.note, this.words);
      return;
    }
    const { value, at } = this.chart.options;
    const parts = [[series.mine, "line.launch"], [series.middle, "line.median"]].filter(([j]) => series.y[j][i] !== null);
    write(this.note, [at(series.x[i]), ...parts.map(([j, label]) => `${t(label)} ${value(series.y[j][i])}`)].join(" · "));
  }

  // Another number of lines, or of what they stand for, is another chart.
  build(line, answer, series, chosen, first) {
    const shape = JSON.stringify([series.labels, answer.axis.span, first, chosen.map((launch) => launch.id)]);
    if (shape === this.shape) return;
    this.chart?.destroy();
    this.shape = shape;
    const { unit } = answer.axis;
    this.chart = lineChart(this.host, {
      label: `${measure(this.measure)}, ${t(`span.${answer.axis.span}`)}`,
      series: series.styles,
      bands: [{ upper: 1, lower: 0, colour: "--series-5" }, ...(series.fan ? [{ upper: series.fan + 1, lower: series.fan, colour: "--series-1" }] : [])],
      value: (n) => (line.unit === "ratio" ? shown("ratio", n) : n === null || n === undefined ? shown("count", n) : n < 10_000 ? shown("count", n, 1) : short(n)),
      at: (x) => label(x * UNIT[unit], unit),
      time: false,
      ticks: (min, max, width) => ticks(unit, max, width),
      height: first ? 340 : 210,
    });
  }

  showKeys(series, chosen) {
    const pieces = [["launch", t("line.launch")]];
    if (series.median) pieces.push(["median", t("line.median")], ["band", t("key.band")]);
    if (chosen.length) pieces.push(["earlier", t("key.earlier")]);
    if (series.fan) pieces.push(["projected", t("key.projected")]);
    if (series.needed) pieces.push(["needed", t("line.needed")]);
    const text = JSON.stringify(pieces);
    if (this.keyed === text) return;
    this.keyed = text;
    this.keys.replaceChildren(...pieces.map(([kind, words]) => element("span", { className: `key ${kind}` }, words)));
  }
}

// The lines of one measure, as the chart takes them: low, high, earlier ones, median, what is
// projected and needed, and this launch on top.
class Series {
  constructor(line, answer, minutes, chosen, aim) {
    const grid = answer.axis.minutes;
    const unit = UNIT[answer.axis.unit];
    this.end = grid.at(-1);
    const live = answer.curve === "cumulative" && minutes > 0 && minutes < grid.at(-1);
    const now = live && !grid.includes(minutes) ? minutes : null;
    this.x = now === null ? [...grid] : insert(grid, grid, now, now);
    const on = (values) => (now === null ? values : insert(values, grid, now, between(values, grid, now)));
    const total = latest(line, answer);
    const mine = now === null ? line.launch : insert(line.launch, grid, now, total);
    this.latest = live ? total : lastOf(line.launch);
    this.median = line.median.some((v) => v !== null);
    const median = on(line.median);
    this.labels = [t("line.low"), t("line.high"), ...chosen.map(title), t("line.median")];
    this.y = [on(line.low), on(line.high), ...line.earlier.map(on), median];
    this.styles = [style(0), style(0), ...chosen.map(() => style(1, "--earlier")), style(2, "--median", [6, 4])];
    this.targets = [];
    if (aim && live && line.unit !== "ratio") this.aim(aim, minutes, median);
    this.middle = 2 + chosen.length;
    this.mine = this.y.length;
    this.labels.push(t("line.launch"));
    this.y.push(mine);
    this.styles.push(style(3, "--series-1"));
    this.styles.forEach((one, i) => (one.label = this.labels[i]));
    this.marks = answer.annotations.filter((note) => note.minute >= 0 && note.minute <= grid.at(-1)).map((note) => ({ at: note.minute / unit, label: note.text }));
    this.x = this.x.map((x) => x / unit);
    this.range = [0, grid.at(-1) / unit];
  }

  // Where it leads, in the shape of the median; and what it takes to end at the target.
  aim(aim, minutes, median) {
    const end = aim.within_s / 60;
    const here = median[this.x.indexOf(minutes)];
    const words = `${t("bar.target")} ${shown("count", aim.target)} (${within(aim.within)})`;
    if (aim.target !== null && end <= this.end) this.targets.push({ value: aim.target, label: words });
    if (!here || !aim.usual_share) return;
    const whole = here / aim.usual_share;
    if (aim.target !== null) {
      this.needed = this.push("line.needed", style(1.5, "--target", [2, 4]), this.x.map((x, i) => (x <= end && median[i] !== null ? (aim.target * Math.min(median[i], whole)) / whole : null)));
    }
    const { projection } = aim;
    if (!projection || !(aim.value > 0)) return;
    const far = Math.log(projection.value / aim.value);
    const fan = (bound) => this.x.map((x, i) => {
      if (x < minutes || x > end || median[i] === null) return null;
      const part = far > 0 ? Math.min(1, Math.log(Math.max(median[i] / here, 1)) / far) : 0;
      return aim.value * Math.exp(part * Math.log(bound / aim.value));
    });
    this.fan = this.push("line.lower", style(0), fan(projection.low));
    this.push("line.upper", style(0), fan(projection.high));
    this.push("line.projected", style(2, "--series-1", [3, 4]), fan(projection.value));
  }

  push(label, look, values) {
    this.labels.push(t(label));
    this.styles.push(look);
    return this.y.push(values) - 1;
  }
}

const style = (width, colour = "--series-5", dash = undefined) => ({ width, colour, dash });
const title = (launch) => launch.name ?? launch.campaign;
const lastOf = (values) => values.findLast((v) => v !== null) ?? null;

function latest(line, { totals, pace, frozen }) {
  const aim = pace.find((one) => one.measure === line.measure);
  if (frozen) return aim ? whole(aim) : lastOf(line.launch);
  const figure = totals[line.measure];
  return typeof figure === "object" && figure !== null ? figure.value : figure;
}

function insert(values, grid, at, value) {
  const i = grid.findIndex((x) => x > at);
  return [...values.slice(0, i), value, ...values.slice(i)];
}

function between(values, grid, at) {
  const i = grid.findIndex((x) => x > at);
  const [a, b] = [values[i - 1], values[i]];
  return a === null || b === null ? null : a + ((b - a) * (at - grid[i - 1])) / (grid[i] - grid[i - 1]);
}

function label(minutes, unit) {
  if (!minutes) return t("age.start");
  const days = unit === "days" && minutes % 1440 === 0;
  return t("age.short", { age: days ? t("unit.d", { n: minutes / 1440 }) : spanText(minutes) });
}

function ticks(unit, max, width) {
  const many = Math.max(2, Math.floor(width / TICK_ROOM));
  const steps = TICKS[unit];
  const step = steps.find((one) => max / one <= many) ?? steps.at(-1);
  return Array.from({ length: Math.floor(max / step) + 1 }, (_, i) => i * step);
}
