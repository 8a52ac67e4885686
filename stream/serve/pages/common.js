// What every page does. How to use it:
//   import { startPage, t, percent, element, … } from "./common.js";   // all shared pieces, see each file
//   const page = startPage({ draw: (name, message) => … });
// The page's HTML has `#freshness` (class badge), `#say` (role=status: the page's one polite status
// line) and, if it wants them, `#pause`, `#theme`, `#language`. `draw` gets what follow() gets, and
// "resumed" after a pause; it is not called while paused. page.hear(answer) tells the freshness line of any answer that has
// `at`, `as_of` and `complete`; page.say(text) speaks; page.paused; page.state.
// It starts anew by itself when the server runs another build.

import { element, write } from "./dom.js";
import { follow } from "./live.js";
import { clock, decimal, lang, seconds, t, translate } from "./text.js";

export * from "./chart.js";
export * from "./dom.js";
export * from "./live.js";
export * from "./text.js";

export const STALE_MS = 4_000; // older figures are grey
const STOPPED_MS = 30_000; // as long unmoved: stopped
const LOST_MS = 3_000; // the stream may break for so long without a word
const RELOAD_APART_MS = 60_000;

export function startPage({ draw = () => {} } = {}) {
  const page = new Page(draw);
  translate();
  page.start();
  return page;
}

class Page {
  constructor(draw) {
    this.draw = draw;
    this.paused = false;
    this.state = "waiting";
    this.heard = null; // { asOf, lag, at, complete }
    this.moved = performance.now(); // when asOf last went on
    this.lost = null;
    this.pausedAt = null;
    this.build = null;
    this.badge = document.getElementById("freshness");
    this.voice = document.getElementById("say");
  }

  start() {
    offerTheme(document.getElementById("theme"));
    offerLanguage(document.getElementById("language"));
    const button = document.getElementById("pause");
    button?.addEventListener("click", () => this.pause(!this.paused));
    this.pauseButton = button;
    follow((name, message) => this.take(name, message));
    setInterval(() => this.show(), 250);
    this.show();
  }

  take(name, message) {
    if (name === "lost") {
      this.lost ??= performance.now();
    } else if (message) {
      this.lost = null;
      this.watchBuild(message.build);
      this.hear(message);
    }
    if (!this.paused) this.draw(name, message);
  }

  hear({ at, as_of: asOf, complete }) {
    const known = asOf === null ? null : Date.parse(asOf);
    if (known !== (this.heard?.asOf ?? null)) this.moved = performance.now();
    this.heard = { asOf: known, lag: known === null ? null : Math.max(0, Date.parse(at) - known), at: performance.now(), complete };
    this.show();
  }

  pause(on) {
    this.paused = on;
    this.pausedAt = on ? Date.now() : null;
    if (this.pauseButton) {
      this.pauseButton.setAttribute("aria-pressed", String(on));
      write(this.pauseButton.querySelector("span") ?? this.pauseButton, t(on ? "resume" : "pause"));
    }
    if (!on) this.draw("resumed", null);
    this.show();
  }

  say(text) {
    if (this.voice) write(this.voice, text);
  }

  // How old the figures are: their age when sent, and the time since then by this machine's clock.
  age() {
    return this.heard?.lag === null || !this.heard ? null : this.heard.lag + performance.now() - this.heard.at;
  }

  show() {
    const [state, words, spoken] = this.words();
    if (this.badge) {
      this.badge.dataset.state = state;
      write(this.badge, words);
    }
    document.body.toggleAttribute("data-stale", state === "delayed" || state === "stopped");
    if (this.state !== state || this.spoken !== spoken) {
      this.state = state;
      this.spoken = spoken;
      this.say(t(spoken));
    }
  }

  words() {
    if (this.paused) return ["paused", t("fresh.paused", { at: clock(this.pausedAt) }), "say.paused"];
    const now = performance.now();
    const age = this.age();
    if (this.lost !== null && now - this.lost > LOST_MS) {
      const at = this.heard?.asOf ?? Date.now() - (now - this.lost);
      return ["stopped", t("fresh.stopped", { at: clock(at) }), "say.unreachable"];
    }
    if (!this.heard) return ["waiting", t("fresh.connecting"), "say.waiting"];
    if (age === null) return ["waiting", t("fresh.waiting"), "say.waiting"];
    if (now - this.moved > STOPPED_MS) return ["stopped", t("fresh.stopped", { at: clock(this.heard.asOf) }), "say.stopped"];
    if (age > STALE_MS) return ["delayed", t("fresh.delayed", { age: seconds(Math.round(age / 1000)) }), "say.delayed"];
    const text = t("fresh.live", { age: t("unit.s", { n: decimal(age / 1000) }) });
    return ["live", text, this.heard.complete ? "say.live" : "say.incomplete"];
  }

  // Another build: load the page anew. Not more than once a minute, for servers of two builds may
  // take turns while one replaces the other.
  watchBuild(build) {
    if (!build) return;
    this.build ??= build;
    if (build === this.build) return;
    const last = Number(recall("reloaded") ?? 0);
    if (Date.now() - last < RELOAD_APART_MS) return;
    remember("reloaded", String(Date.now()), sessionStorage);
    location.reload();
  }
}

function recall(key) {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

function remember(key, value, where = localStorage) {
  try {
    where.setItem(key, value);
  } catch {
    // storage is forbidden: it holds for this page only
  }
}

// The address with some parameters changed: null takes one away.
export function addressWith(changes) {
  const url = new URL(location.href);
  for (const [key, value] of Object.entries(changes)) {
    url.searchParams.delete(key);
    for (const one of [value].flat()) if (one !== null && one !== "") url.searchParams.append(key, one);
  }
  return url;
}

// <select id="theme">: system, light, dark.
function offerTheme(select) {
  if (!select) return;
  const root = document.documentElement;
  const names = ["auto", "light", "dark"];
  select.replaceChildren(...names.map((value) => element("option", { value }, t(`theme.${value}`))));
  select.value = root.dataset.theme ?? "auto";
  const changed = () => document.dispatchEvent(new Event("themechange"));
  select.addEventListener("change", () => {
    if (select.value === "auto") delete root.dataset.theme;
    else root.dataset.theme = select.value;
    remember("theme", select.value);
    history.replaceState(null, "", addressWith({ theme: null }));
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}

// <select id="language">: the page is loaded anew in the other language.
function offerLanguage(select) {
  if (!select) return;
  select.replaceChildren(element("option", { value: "en", lang: "en" }, "English"), element("option", { value: "fr", lang: "fr" }, "Français"));
  select.value = lang;
  select.addEventListener("change", () => {
    remember("lang", select.value);
    location.replace(addressWith({ lang: null }));
  });
}
