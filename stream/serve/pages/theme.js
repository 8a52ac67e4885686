// Theme and language before anything is drawn, so that nothing flashes: a classic script in <head>.
// The address wins (?theme=dark&lang=fr), then what was chosen on this machine, then the system.

"use strict";

(() => {
  const asked = new URLSearchParams(location.search);

  function choice(name, allowed) {
    let kept = null;
    try {
      kept = localStorage.getItem(name);
    } catch {
      // storage is forbidden: nothing is remembered
    }
    return [asked.get(name), kept].find((value) => allowed.includes(value));
  }

  const theme = choice("theme", ["dark", "light"]);
  if (theme) document.documentElement.dataset.theme = theme;
  const system = navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => tag === "en" || tag === "fr");
  document.documentElement.lang = choice("lang", ["en", "fr"]) ?? system ?? "en";
})();
