// What has happened to a session, and when its chunks came.

import { count, cut, drawing, duration, element, gap, since, visible, when } from "./words.js";
import { PAUSE } from "./parts.js";

const TITLES = {
  claimed: "Claimed", taken_over: "Taken over", cancelling: "Asked to stop", released: "Released",
  lost: "Lost", back: "Back again", shrunk: "The store has lost chunks", gone: "Gone from the store",
  damaged: "Record damaged", finished: "Finished", failed: "Failed", cancelled: "Cancelled", heard: "Last heard of",
};
const MEANINGS = {
  taken_over: "The producer before was lost, or gave it up; this one goes on where the log ends.",
  released: "Its producer, or somebody for it, gave it up for another to go on.",
  lost: "Its lease lapsed: the producer was killed, hangs, or cannot reach the store.",
  back: "The producer goes on, or has put the session back.",
  shrunk: "Its producer puts them back while it lives.",
  heard: "The last sign of life that the store has of its producer.",
};

/** The list of what has happened, the newest last. */
export function drawTimeline(list, { row, timeline }) {
  const all = [...timeline];
  if (row?.status === "lost" && row.updated !== null) all.push({ kind: "heard", at: row.updated, seen: false });
  all.sort((one, other) => one.at - other.at);
  list.replaceChildren(
    ...all.map((one, number) => {
      const before = all[number - 1];
      const facts = [
        one.chunks ? `after ${count(one.chunks)} ${one.chunks === 1 ? "chunk" : "chunks"}` : null,
        one.host ? `on ${cut(visible(one.host), 80)}` : null,
        one.generation ? `generation ${cut(visible(one.generation), 40)}` : null,
      ].filter(Boolean);
      const more = before && one.at - before.at >= 1 ? `${duration(one.at - before.at)} later` : "";
      return element("li", { attributes: { "data-kind": one.kind } },
        element("h4", {}, TITLES[one.kind] ?? one.kind,
          element("time", { dateTime: new Date(one.at * 1000).toISOString(), title: one.seen ? "as seen from here, to a second or two" : "by the store's clock", text: `${one.seen ? "≈ " : ""}${when(one.at)}` })),
        facts.length || more ? element("p", { text: [more, ...facts].filter(Boolean).join(" · ") }) : null,
        one.reason ? element("p", { className: "reason", text: cut(one.reason, 2_000) }) : null,
        MEANINGS[one.kind] ? element("p", { className: "meaning", text: MEANINGS[one.kind] }) : null,
      );
    }),
  );
}

// How many seconds are drawn.
const SHORTEST = 20;
const LONGEST = 120;
const WIDTH = 600;
const HEIGHT = 64;

/** When chunks came: a bar for each of the last seconds, and the pauses between. */
export class Arrivals {
  constructor(root) {
    this.root = root;
    this.clear();
  }

  clear() {
    // Seconds since the page was opened, of what came live; older ones are forgotten.
    this.times = [];
    this.longest = null;
    this.last = null;
    this.began = performance.now() / 1000;
    this.ended = null;
    this.live = 0;
  }

  /** A chunk came now; how long none had. */
  add(cursor) {
    const now = performance.now() / 1000;
    const pause = this.last === null ? 0 : now - this.last;
    if (pause >= PAUSE && (this.longest === null || pause > this.longest.pause)) this.longest = { pause, cursor };
    this.last = now;
    this.live += 1;
    this.times.push(now);
    if (this.times.length > 6_000) this.times.splice(0, 2_000);
    return pause;
  }

  /** Nothing can be said of the time since the last one. */
  miss() {
    this.last = null;
  }

  end() {
    this.ended ??= performance.now() / 1000;
  }

  begin() {
    this.ended = null;
  }

  draw() {
    const now = this.ended ?? performance.now() / 1000;
    // What came before is not known, and so not drawn.
    const span = Math.ceil(Math.min(LONGEST, Math.max(SHORTEST, now - this.began)));
    const from = now - span;
    const bins = new Array(span).fill(0);
    for (const time of this.times) {
      const bin = Math.floor(time - from);
      if (bin >= 0 && bin < span) bins[bin] += 1;
    }
    const most = Math.max(4, ...bins);
    const step = WIDTH / span;
    const shapes = [];
    const points = [...this.times.filter((time) => time > from - LONGEST)];
    if (this.last !== null && this.ended === null) points.push(now);
    for (let place = 1; place < points.length; place += 1) {
      const pause = points[place] - points[place - 1];
      if (pause < PAUSE || points[place] < from) continue;
      const x = Math.max(0, (points[place - 1] - from) * step);
      const width = (points[place] - from) * step - x;
      shapes.push(drawing("rect", { class: "gap", x, y: 0, width, height: HEIGHT }));
      if (width > 30) shapes.push(drawing("text", { x: x + width / 2, y: HEIGHT / 2 + 4, "text-anchor": "middle" }, gap(pause)));
    }
    bins.forEach((number, bin) => {
      if (!number) return;
      const height = Math.max(3, (number / most) * (HEIGHT - 4));
      shapes.push(drawing("rect", { class: "bar", x: bin * step + 0.5, y: HEIGHT - height, width: step - 1, height, rx: 1 }));
    });
    const words = this.#words(now);
    const chart = drawing("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": words }, ...shapes);
    this.root.replaceChildren(
      element("div", { className: "chart" }, chart),
      element("p", { className: "scale", attributes: { "aria-hidden": "true" } }, element("span", { text: `${span} s ago` }), element("span", { text: this.ended === null ? "now" : "end" })),
      element("p", { className: "note", text: words }),
    );
  }

  #words(now) {
    if (!this.live) return "No chunk has come since you look.";
    const told = [`${count(this.live)} ${this.live === 1 ? "chunk has" : "chunks have"} come since you look`];
    if (this.longest) told.push(`the longest pause was ${gap(this.longest.pause)}, before chunk ${this.longest.cursor.split("-")[1]}`);
    if (this.ended === null && now - this.last >= PAUSE) told.push(`none for ${gap(now - this.last)}`);
    return `${told.join("; ")}.`;
  }
}
