// Elements, made by script. How to use it:
//   element("a", { className: "button", href: "/", ariaLabel: "…" }, "text", otherElement)
//   name("spring")             // a name from outside: isolated, so that its direction changes nothing else
//   fill(tbody, rows, columns) // rows: [heading, cell, cell, …]; texts or elements
// Text is only ever set as text: whatever a campaign is called, it is no markup.

import { t } from "./text.js";

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  const { role, dataset, ...others } = properties;
  if (role) made.setAttribute("role", role);
  Object.assign(made.dataset, dataset);
  Object.assign(made, others);
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

export const name = (text) => element("bdi", { title: text }, text);

export function cells(heading, texts) {
  return element("tr", {}, element("th", { scope: "row" }, heading), ...texts.map((text) => element("td", {}, text)));
}

export function fill(body, rows, columns, none = t("no.data")) {
  const lines = rows.map(([heading, ...others]) => cells(heading, others));
  body.replaceChildren(...(lines.length ? lines : [element("tr", {}, element("td", { colSpan: columns, className: "none" }, none))]));
}

// Sets text only where it changed, so that nothing is laid out or selected away for nothing.
export function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}
