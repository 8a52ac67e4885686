// How far a launch has come: a sentence for each target, and a bar under it.

import { measure, paceSentence, rough, within } from "./launch-text.js";
import { element, percent, t } from "./common.js";

const blocks = [];

export function showPace(host, answer, minutes) {
  answer.pace.forEach((pace, i) => {
    blocks[i] ??= new Block(host);
    blocks[i].show(pace, minutes);
  });
  for (const [i, block] of blocks.entries()) block.element.hidden = i >= answer.pace.length;
}

class Block {
  constructor(host) {
    this.sentence = element("p", { className: "sentence" });
    this.bar = new Bar();
    this.element = element("div", { className: "aim" }, this.sentence, this.bar.element);
    host.append(this.element);
  }

  show(pace, minutes) {
    const [first, ...others] = paceSentence(pace, minutes);
    const text = [first, ...others].join(t("pace.join"));
    if (text !== this.text) {
      this.text = text;
      this.sentence.replaceChildren(element("strong", { className: "figure" }, capital(first)), ...others.flatMap((part) => [t("pace.join"), part]), ".");
    }
    this.bar.show(pace);
  }
}

const capital = (text) => text.charAt(0).toLocaleUpperCase() + text.slice(1);

// From nothing to the target, or to the upper end of what is projected: what there is, what the
// median launch had come to of its own end, and where it leads.
class Bar {
  constructor() {
    this.parts = Object.fromEntries(["range", "done", "usual", "target", "projected"].map((kind) => [kind, element("span", { className: kind })]));
    this.track = element("div", { className: "track", role: "img" }, ...Object.values(this.parts));
    this.legend = element("p", { className: "legend quiet" });
    this.element = element("div", { className: "bar-of-pace" }, this.track, this.legend);
  }

  show({ measure: one, value, target, share, usual_share: usual, projection, within: time, why }) {
    this.element.hidden = target === null && !projection;
    if (this.element.hidden) return;
    const end = Math.max(target ?? 0, projection?.high ?? 0, value) * 1.02;
    const at = (n) => `${Math.max(0, Math.min(100, (100 * n) / end))}%`;
    this.parts.done.style.width = at(value);
    this.parts.done.hidden = !(value > 0);
    const shows = { range: projection, projected: projection, target, usual: usual !== null && target !== null && why !== "over" && why !== "not_begun" };
    for (const [kind, on] of Object.entries(shows)) this.parts[kind].hidden = !on;
    if (projection) {
      this.parts.range.style.left = at(projection.low);
      this.parts.range.style.width = at(projection.high - projection.low);
      this.parts.projected.style.left = at(projection.value);
    }
    if (target !== null) this.parts.target.style.left = at(target);
    if (shows.usual) this.parts.usual.style.left = at(usual * target);
    this.track.setAttribute("aria-label", t("bar.label", { measure: measure(one), share: percent(share, 1) }));
    this.say(shows, { target, usual, projection, time });
  }

  say(shows, { target, usual, projection, time }) {
    const pieces = [];
    if (shows.usual) pieces.push(["usual", t("bar.usual", { share: percent(usual, 0) })]);
    if (shows.projected) pieces.push(["projected", t("bar.projected", { within: within(time), n: rough(projection.value) })]);
    if (shows.target) pieces.push(["target", `${t("bar.target")} ${rough(target)}`]);
    const text = JSON.stringify(pieces);
    if (text === this.told) return;
    this.told = text;
    this.legend.replaceChildren(...pieces.map(([kind, words]) => element("span", { className: `key ${kind}` }, words)));
  }
}

