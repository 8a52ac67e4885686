// A launch as a picture (PNG), drawn here: heading, pace, and the charts as they stand.

import { drawn } from "./launch-charts.js";
import { age, measure, paceSentence } from "./launch-text.js";
import { colour, day, t } from "./common.js";

const WIDTH = 1600;
const EDGE = 40;
const GAP = 28;

export async function savePicture(answer) {
  const picture = draw(answer);
  const blob = await new Promise((resolve) => picture.toBlob(resolve, "image/png"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${answer.campaign.replace(/[^\p{L}\p{N}._-]+/gu, "-")}-${answer.at.slice(0, 16).replace(":", "")}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function draw(answer) {
  const charts = drawn().map((box) => ({ title: measure(box.measure), latest: box.latest.textContent, canvas: box.chart.canvas(), large: box.large }));
  const canvas = document.createElement("canvas");
  const pen = new Pen(canvas, answer, charts);
  canvas.width = WIDTH;
  canvas.height = pen.layout(false);
  pen.layout(true);
  return canvas;
}

class Pen {
  constructor(canvas, answer, charts) {
    Object.assign(this, { canvas, answer, charts, ctx: canvas.getContext("2d") });
    this.family = getComputedStyle(document.body).fontFamily;
  }

  // Once to know the height, once to draw.
  layout(ink) {
    const { answer, ctx } = this;
    this.ink = ink;
    if (ink) {
      ctx.fillStyle = colour("--card");
      ctx.fillRect(0, 0, this.canvas.width, this.canvas.height);
    }
    const minutes = answer.elapsed_s / 60;
    let y = EDGE + 44;
    this.text(answer.name ?? answer.campaign, EDGE, y, 44, "--ink", 650);
    this.text(age(minutes), WIDTH - EDGE, y, 44, "--ink", 650, "right");
    y += 34;
    const about = [answer.campaign, answer.owner, day(Date.parse(answer.launch_at))].filter(Boolean).join(" · ");
    this.text(about, EDGE, y, 22, "--quiet");
    this.text(day(Date.parse(answer.at)), WIDTH - EDGE, y, 22, "--quiet", 400, "right");
    y += 22;
    for (const pace of answer.pace) y = this.paragraph(`${paceSentence(pace, minutes).join(t("pace.join"))}.`, y + 34, 26);
    y += GAP;
    y = this.rows(this.charts.filter((one) => one.large), y, 2);
    y = this.rows(this.charts.filter((one) => !one.large), y, 3);
    return y + EDGE - GAP;
  }

  rows(charts, top, most) {
    const beside = Math.min(most, charts.length);
    const wide = (WIDTH - 2 * EDGE - (beside - 1) * GAP) / beside;
    let y = top;
    for (let i = 0; i < charts.length; i += beside) {
      const row = charts.slice(i, i + beside);
      y = Math.max(...row.map((one, j) => this.chart(one, EDGE + j * (wide + GAP), y, wide))) + GAP;
    }
    return y;
  }

  chart({ title, latest, canvas }, x, y, width) {
    const height = (width * canvas.height) / canvas.width;
    this.text(title, x, y + 22, 22, "--ink", 600);
    this.text(latest, x + width, y + 22, 22, "--ink", 600, "right");
    if (this.ink) this.ctx.drawImage(canvas, x, y + 34, width, height);
    return y + 34 + height;
  }

  paragraph(text, y, size) {
    this.font(size, 400);
    let line = "";
    for (const word of text.split(" ")) {
      if (this.ctx.measureText(`${line}${word}`).width > WIDTH - 2 * EDGE) {
        this.text(line, EDGE, y, size, "--ink");
        y += size * 1.35;
        line = "";
      }
      line += `${word} `;
    }
    this.text(line, EDGE, y, size, "--ink");
    return y;
  }

  font(size, weight) {
    this.ctx.font = `${weight} ${size}px ${this.family}`;
  }

  text(words, x, y, size, paint, weight = 400, align = "left") {
    if (!this.ink) return;
    this.font(size, weight);
    this.ctx.textAlign = align;
    this.ctx.fillStyle = colour(paint);
    this.ctx.fillText(words, x, y);
  }
}

