// Charts over uPlot, each with a table of its values under it. How to use it:
//   const chart = lineChart(host, {
//     label: "CTR, last 60 minutes",                 // what a screen reader says, and the table's caption
//     series: [{ label: "CTR", colour: "--series-1", fill: true, width: 2, dash: [4, 4], points: false }],
//     value: percent,                                // number → text: axis, legend, table
//     at: minute,                                    // x (ms, or any number) → text
//     time: true,                                    // x is milliseconds since the epoch
//     height: 240, axes: true,                       // axes: false makes a sparkline
//     bands: [{ upper: 1, lower: 2, colour: "--series-5" }],   // numbers of series, from 0
//     targets: [{ value: 0.03, label: "target 3%" }], marks: [{ at: x, label: "mail sent" }],
//     extra: [{ label: "n", value: count }],         // columns of the table that are not drawn
//     ticks: (min, max, width) => [x, …],            // where x has its ticks; without it, uPlot knows
//     range: [min, max] of x, least: 0.1,            // y spans a tenth of its values at least: noise
//                                                     // must not fill the box
//   });
//   chart.set({ x: [...], y: [[...], ...], extra: [[...]], range, targets, marks });   // null: no value
//   chart.canvas()      // for a picture;   chart.destroy()
// Colours are variables of base.css; the chart follows the theme and the width of its host.

import uPlot from "./vendor/uplot.js";
import { count, minute, t } from "./text.js";
import { cells, element, write } from "./dom.js";

const probe = document.createElement("span");
probe.hidden = true;
document.documentElement.append(probe);

// The colour that a variable stands for in the theme of now.
export function colour(name, alpha = 1) {
  probe.style.color = `color-mix(in srgb, var(${name}) ${alpha * 100}%, transparent)`;
  return getComputedStyle(probe).color;
}

export function lineChart(host, options) {
  const chart = new LineChart(host, options);
  chart.build();
  return chart;
}

class LineChart {
  constructor(host, options) {
    this.options = { value: count, at: minute, time: true, height: 220, axes: true, bands: [], extra: [], ...options };
    this.data = { x: [], y: options.series.map(() => []), extra: [] };
    this.plot = null;
    this.frame = element("div", { className: "plot", role: "img", ariaLabel: options.label });
    this.rows = element("div", { className: "rows", tabIndex: 0, role: "group", ariaLabel: options.label });
    this.details = element("details", {}, element("summary", {}, t("chart.values")), this.rows);
    this.details.addEventListener("toggle", () => this.tabulate());
    host.classList.add("chart");
    host.append(this.frame, this.details);
    this.resized = new ResizeObserver(() => this.resize());
    this.resized.observe(this.frame);
    this.rebuilt = () => this.build();
    document.addEventListener("themechange", this.rebuilt);
  }

  set(data) {
    const { x, y, extra = [], ...more } = data;
    this.data = { x, y, extra };
    Object.assign(this.options, more);
    this.plot?.setData([x, ...y]);
    this.tabulate();
  }

  canvas() {
    return this.plot.ctx.canvas;
  }

  destroy() {
    document.removeEventListener("themechange", this.rebuilt);
    this.resized.disconnect();
    this.plot?.destroy();
    this.frame.remove();
    this.details.remove();
  }

  size() {
    return { width: Math.max(40, Math.floor(this.frame.clientWidth)), height: this.height() };
  }

  height() {
    return typeof this.options.height === "number" ? this.options.height : Math.max(24, Math.floor(this.frame.clientHeight));
  }

  resize() {
    const { width, height } = this.size();
    if (this.plot && (width !== this.plot.width || height !== this.plot.height)) this.plot.setSize({ width, height });
  }

  build() {
    this.plot?.destroy();
    this.plot = new uPlot(this.settings(), [this.data.x, ...this.data.y], this.frame);
  }

  settings() {
    const { options } = this;
    return {
      ...this.size(),
      ms: 1,
      legend: { show: false },
      cursor: options.axes ? { drag: { x: false, y: false }, points: { size: 7 } } : { show: false },
      padding: options.axes ? undefined : [4, 3, 4, 0],
      scales: {
        x: { time: options.time, range: (plot, min, max) => this.options.range ?? [min, max] },
        y: { range: (plot, min, max) => this.span(min, max) },
      },
      axes: this.axes(),
      series: [{}, ...options.series.map((one) => this.series(one))],
      bands: options.bands.map(({ upper, lower, colour: name }) => ({ series: [upper + 1, lower + 1], fill: colour(name, 0.22) })),
      hooks: { draw: [(plot) => this.decorate(plot)] },
    };
  }

  series({ label, colour: name = "--series-1", fill = false, width = 2, dash, points = false }) {
    const paint = width ? colour(name) : "transparent";
    return {
      label,
      stroke: paint,
      width,
      dash,
      fill: fill ? colour(name, 0.12) : undefined,
      points: points ? { size: 5, fill: paint } : { show: true, filter: (plot, number) => this.lonely(number - 1), size: 5, fill: paint },
      spanGaps: false,
    };
  }

  // A line needs two neighbours: single values among gaps would not be seen without a point.
  lonely(number) {
    const values = this.data.y[number] ?? [];
    const gap = (i) => (values[i] ?? null) === null;
    return [...values.keys()].filter((i) => !gap(i) && gap(i - 1) && gap(i + 1));
  }

  // What y shows: the values, not too closely, and targets as far as they leave the values half of
  // the room. One that lies farther off is drawn at the edge, with an arrow (see decorate).
  span(min, max) {
    const marks = (this.options.targets ?? []).map(({ value }) => value);
    if (min === null || max === null) [min, max] = marks.length ? [Math.min(...marks), Math.max(...marks)] : [0, 1];
    const least = Math.max((this.options.least ?? 0) * Math.abs(max), max - min) || Math.abs(max) || 1;
    const middle = (min + max) / 2;
    let [low, high] = [middle - least / 2, middle + least / 2];
    for (const mark of marks) {
      high = Math.max(high, Math.min(mark, high + least));
      low = Math.min(low, Math.max(mark, low - least));
    }
    const room = (high - low) * 0.08;
    return [min >= 0 ? Math.max(0, low - room) : low - room, high + room];
  }

  axes() {
    const { axes, value, at } = this.options;
    if (!axes) return [{ show: false }, { show: false }];
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const look = { stroke: colour("--quiet"), font, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    return [
      { ...look, grid: { show: false }, space: 80, size: 34, splits: this.splits(), values: (plot, splits) => splits.map((x) => at(x)) },
      { ...look, size: 64, values: (plot, splits) => splits.map((y) => value(y)) },
    ];
  }

  // Where x has its ticks, if that is said.
  splits() {
    return this.options.ticks && ((plot, axis, min, max) => this.options.ticks(min, max, plot.width));
  }

  // Targets across, marks down.
  decorate(plot) {
    const { ctx } = plot;
    const { left, top, width, height } = plot.bbox;
    const scale = devicePixelRatio;
    const { targets = [], marks = [], axes } = this.options;
    ctx.save();
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    ctx.lineWidth = 1.5 * scale;
    ctx.setLineDash([6 * scale, 5 * scale]);
    ctx.strokeStyle = ctx.fillStyle = colour("--target");
    ctx.font = `${13 * scale}px ${getComputedStyle(document.body).fontFamily}`;
    if (axes) ctx.textAlign = "right"; // the lines of a chart that grows are low on the left
    const edge = axes ? left + width - 4 * scale : left + 4 * scale;
    for (const { value, label } of targets) {
      const place = plot.valToPos(value, "y", true);
      const y = Math.min(Math.max(place, top + 2 * scale), top + height - 2 * scale);
      line(ctx, left, y, left + width, y);
      const away = place < top ? "↑" : place > top + height ? "↓" : "";
      if (away || (axes && label)) ctx.fillText(`${axes && label ? label : ""} ${away}`.trim(), edge, y + (place < top ? 14 : -5) * scale);
    }
    ctx.textAlign = "left";
    let [row, taken] = [0, -Infinity];
    for (const { at, label } of marks) {
      const x = plot.valToPos(at, "x", true);
      if (x < left || x > left + width) continue;
      line(ctx, x, top, x, top + height);
      if (!axes || !label) continue;
      row = x < taken ? row + 1 : 0;
      taken = Math.max(row ? taken : 0, x + ctx.measureText(label).width + 10 * scale);
      ctx.fillText(label, x + 5 * scale, top + (14 + 16 * row) * scale);
    }
    ctx.restore();
  }

  // The table is made when somebody looks, newest first; then only what changed is written.
  tabulate() {
    if (!this.details.open) {
      this.rows.replaceChildren();
      return;
    }
    const { series, extra, value, at, label } = this.options;
    const lines = this.data.x.map((x, i) => [
      at(x),
      ...this.data.y.map((values) => value(values[i])),
      ...extra.map((one, j) => one.value(this.data.extra[j]?.[i])),
    ]);
    lines.reverse();
    const shown = this.rows.querySelectorAll("tbody tr");
    if (shown.length === lines.length) {
      lines.forEach((texts, i) => texts.forEach((text, j) => write(shown[i].cells[j], text)));
      return;
    }
    const columns = [t("chart.at"), ...series.map((one) => one.label), ...extra.map((one) => one.label)];
    const head = element("tr", {}, ...columns.map((text) => element("th", { scope: "col" }, text)));
    const body = element("tbody", {}, ...lines.map(([heading, ...texts]) => cells(heading, texts)));
    this.rows.replaceChildren(
      element("table", { className: "figures" }, element("caption", { className: "unseen" }, label), element("thead", {}, head), body),
    );
  }
}

function line(ctx, x1, y1, x2, y2) {
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
}
