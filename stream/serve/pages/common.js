// Numbers, tiles, tables and the state of the connection. Text is only ever set as text.

export const NO_VALUE = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const percent = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const decimal = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 2 });

export const count = (n) => (n === undefined || n === null ? NO_VALUE : whole.format(n));

export function duration(seconds) {
  if (seconds < 60) return `${decimal.format(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (seconds < 172800) return `${decimal.format(seconds / 3600)} h`;
  return `${decimal.format(seconds / 86400)} d`;
}

const SECONDS = new Set(["session_duration", "first_response_time", "first_resolution_time", "resolution_time"]);

export function shown(metric, row) {
  if (!row || row.value === null) return NO_VALUE;
  if (SECONDS.has(metric)) return duration(row.value);
  return metric === "pages_per_session" ? decimal.format(row.value) : percent.format(row.value);
}

export function interval(row) {
  if (!row || row.low === null) return "";
  return `${percent.format(row.low)} to ${percent.format(row.high)}`;
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

export function tile(title, value, ...notes) {
  const box = element("article", "", "tile");
  const lines = notes.filter(Boolean).map((note) => element("p", note, "note"));
  box.append(element("h3", title), element("p", value, "value"), ...lines);
  return box;
}

// rows: [[name, href or null], cell, cell, …]
export function fill(body, rows, columns) {
  const lines = rows.map(([[name, href], ...cells]) => {
    const line = document.createElement("tr");
    const head = element("th", href ? "" : name);
    head.scope = "row";
    head.title = name;
    if (href) {
      const link = element("a", name);
      link.href = href;
      head.append(link);
    }
    line.append(head, ...cells.map((text) => element("td", text)));
    return line;
  });
  if (!lines.length) {
    const line = document.createElement("tr");
    const cell = element("td", "no data yet");
    cell.colSpan = columns;
    line.append(cell);
    lines.push(line);
  }
  body.replaceChildren(...lines);
}

// Calls back with the chosen window, now and at each choice.
export function chooseWindow(group, changed) {
  const buttons = [...group.querySelectorAll("button")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      changed(button.value);
    });
  }
  changed(buttons.find((button) => button.getAttribute("aria-pressed") === "true").value);
}

// Says how old the figures are: their age when sent, and the time since then by this clock.
export class Freshness {
  constructor(badge) {
    this.badge = badge;
    this.heard = null;
    this.lost = null;
    this.complete = true;
    setInterval(() => this.show(), 500);
  }

  hear(message) {
    this.lost = null;
    this.complete = message.complete;
    const lag = message.as_of === null ? null : (Date.parse(message.at) - Date.parse(message.as_of)) / 1000;
    this.heard = { lag, at: performance.now() };
    this.show();
  }

  lose() {
    this.lost ??= new Date();
    this.show();
  }

  show() {
    const [state, text] = this.words();
    if (this.badge.dataset.state !== state || this.badge.textContent !== text) {
      this.badge.dataset.state = state;
      this.badge.textContent = text;
    }
    document.body.toggleAttribute("data-stale", state === "gone" || state === "delayed");
  }

  words() {
    if (this.lost) return ["gone", `server unreachable since ${this.lost.toLocaleTimeString()}`];
    if (!this.heard) return ["", "connecting …"];
    if (this.heard.lag === null) return ["", "waiting for data"];
    const age = Math.max(0, this.heard.lag) + (performance.now() - this.heard.at) / 1000;
    if (age > 10) return ["delayed", `delayed ${duration(Math.round(age))}`];
    return this.complete ? ["live", "live"] : ["delayed", "live · incomplete"];
  }
}

// Follows /api/v1/live; the browser connects again by itself.
export function follow(freshness, handlers) {
  const source = new EventSource("/api/v1/live");
  for (const name of ["snapshot", "delta", "status"]) {
    source.addEventListener(name, (event) => {
      const message = JSON.parse(event.data);
      freshness.hear(message);
      handlers[name]?.(message);
    });
  }
  source.addEventListener("error", () => {
    freshness.lose();
    if (source.readyState === EventSource.CLOSED) setTimeout(() => follow(freshness, handlers), 3000);
  });
}
