// One answer: follows its stream with the browser's own EventSource, keeps every chunk under its
// cursor, and shows the text with the seams where it was cut, or where its producer was replaced.

import { blocks, render, settled, unmarked } from "./markdown.js";

const ENDS = ["finished", "cancelled", "failed"];
const FIRST_MARK = 0xe000;

export class Answer extends EventTarget {
  /** `turn` is what the server tells of it; `tab` the name of this tab. */
  constructor(turn, tab) {
    super();
    this.session = turn.session;
    this.facts = turn;
    /** What of the stream has arrived: the text of chunk n is at n - 1. */
    this.chunks = [];
    this.cursor = null;
    this.holes = 0;
    this.doubles = 0;
    this.reconnects = 0;
    this.madeUp = 0;
    /** connecting, following, reconnecting, lost, or how it ended. */
    this.state = "connecting";
    this.error = null;
    /** Which chunks did not come live: { from, to, kind: "replay" | "made-up" }. */
    this.ranges = [];
    /** Where seams are: chunk number -> seams after it. */
    this.seams = new Map();
    this.element = build(turn.question);
    this.#tab = tab;
    this.#connect();
  }

  #tab;
  #source = null;
  #drawn = [];
  #drawing = false;
  #connections = 0;
  #counted = 0;
  #broken = false;
  /** Whether the newest of the stream was that the producer is lost. It then ends connections
   * itself, so that the browser comes back to see whether anybody goes on: none was cut. */
  #awaitsProducer = false;
  /** Whether that was so when the newest connection began. */
  #continued = false;
  #producers = 0;

  get over() {
    return ENDS.includes(this.state) || this.state === "gone";
  }

  /** Whether a producer is there, as far as anybody knows. */
  get isLive() {
    return this.facts.status === "active" && !this.facts.dead;
  }

  /** Take over what the server has told of the session. */
  learn(turn) {
    this.facts = turn;
    for (; this.#producers < turn.producers.length; this.#producers += 1) {
      const { name, after } = turn.producers[this.#producers];
      const before = turn.producers[this.#producers - 1];
      if (before) this.#addSeam(after, { kind: "crash", text: `${before.name} died here, ${name} goes on` });
      this.#tell("producer", { name, after, before: before?.name ?? null });
    }
    this.#learnConnection(turn.resumed);
    if (turn.status === "lost" && this.state === "following") this.#enter("lost");
    if (turn.status === "active" && this.state === "lost") {
      if (this.#source?.readyState === EventSource.OPEN) this.#enter("following");
      else if (!this.#awaitsProducer) this.#enter("reconnecting");
    }
    if (this.#source === null && !this.over) this.#endWith(turn.status, turn.error);
    this.#draw();
  }

  /** The server knows nothing of it any more. */
  forget() {
    if (!this.over) this.#endWith("gone", "the session is not there any more");
  }

  // -- the stream ---------------------------------------------------------------------------------

  #connect() {
    const url = new URL(`answers/${encodeURIComponent(this.session)}/stream`, document.baseURI);
    url.searchParams.set("tab", this.#tab);
    // Only where an EventSource has given up: as long as it lives, it sends Last-Event-ID itself.
    if (this.cursor) url.searchParams.set("after", this.cursor);
    const source = (this.#source = new EventSource(url));
    source.onopen = () => {
      this.#connections += 1;
      this.#continued = this.#awaitsProducer;
      if (this.#connections > 1 && !this.#continued) this.reconnects += 1;
      if (!this.#awaitsProducer) this.#enter("following");
      this.#tell("open");
    };
    source.onmessage = (event) => this.#take(event.lastEventId, event.data);
    source.addEventListener("end", (event) => this.#endWith(JSON.parse(event.data).status, null));
    source.addEventListener("reset", () => this.#reset());
    // The stream's own errors have data; the browser's, about the connection, have none.
    source.addEventListener("error", (event) => {
      if (event.data === undefined) this.#onBroken(source);
      else this.#onToldError(JSON.parse(event.data));
    });
  }

  #take(cursor, text) {
    const offset = Number(cursor.split("-")[1]);
    if (offset <= this.chunks.length) this.doubles += 1;
    else {
      this.holes += offset - this.chunks.length - 1;
      this.chunks[offset - 1] = unmarked(text);
    }
    this.cursor = cursor;
    if (this.#awaitsProducer) {
      this.#awaitsProducer = false;
      this.#enter("following");
    }
    this.#draw();
  }

  #reset() {
    Object.assign(this, { chunks: [], cursor: null, ranges: [], seams: new Map() });
    this.#producers = 0;
    this.#draw();
  }

  #onToldError({ status, error }) {
    if (status === "lost") {
      this.#awaitsProducer = true;
      this.#enter("lost");
    } else if (ENDS.includes(status)) this.#endWith(status, error);
    else this.#enter("reconnecting");
  }

  async #onBroken(source) {
    if (source !== this.#source || this.over) return;
    if (source.readyState === EventSource.CLOSED) {
      // It has given up: there is nothing more to get, or the server does not know the session.
      // The session's status, which the page is told, says which.
      this.#source = null;
      this.#tell("closed");
    } else if (this.state === "following" && !this.#awaitsProducer) {
      this.#broken = true;
      this.#enter("reconnecting");
      this.#tell("broken", { after: this.chunks.length });
    }
  }

  /** Where the server says that this tab's newest connection began, and what was stored by then. */
  #learnConnection({ after, stored }) {
    if (this.#counted >= this.#connections) return;
    const first = this.#counted === 0;
    this.#counted = this.#connections;
    const missed = Math.max(0, stored - after);
    const replayed = first || this.#continued;
    if (missed > 0) this.ranges.push({ from: after + 1, to: stored, kind: replayed ? "replay" : "made-up" });
    if (replayed) {
      if (missed > 0) this.#tell("replayed", { chunks: missed });
      return;
    }
    this.madeUp += missed;
    this.#tell("resumed", { after, missed });
    if (this.#broken) {
      const text = missed ? `connection cut here, ${plural(missed, "missed chunk")} made up for` : "connection cut here, nothing missed";
      this.#addSeam(after, { kind: "cut", text });
    }
    this.#broken = false;
  }

  #enter(state) {
    if (this.over || this.state === state) return;
    this.state = state;
    this.#tell("state");
    this.#draw();
  }

  #endWith(status, error) {
    if (!ENDS.includes(status) && status !== "gone") {
      // It goes on after all, so that a new connection is needed.
      if (this.#source === null) this.#connect();
      return;
    }
    this.#source?.close();
    this.#source = null;
    this.state = status;
    this.error = error;
    this.#tell("state");
    this.#draw();
  }

  #tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent("news", { detail: { type, ...detail } }));
  }

  // -- the text -----------------------------------------------------------------------------------

  #addSeam(after, seam) {
    this.seams.set(after, [...(this.seams.get(after) ?? []), seam]);
  }

  #draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    // Also in a tab that nobody looks at, where there are no animation frames.
    const later = document.hidden ? (work) => setTimeout(work, 100) : requestAnimationFrame;
    later(() => {
      this.#drawing = false;
      this.#drawText();
      drawState(this);
      this.#tell("drawn");
    });
  }

  #drawText() {
    const [text, marks] = this.#marked();
    const ink = new Ink(marks);
    const body = this.element.querySelector(".text");
    const found = blocks(this.over ? text : settled(text));
    found.forEach((block, index) => {
      const key = JSON.stringify([block, ink.madeUp]);
      const drawn = this.#drawn[index];
      if (drawn?.key === key) {
        ink.madeUp = drawn.leaves;
        return;
      }
      const element = render(block, ink);
      if (drawn) drawn.element.replaceWith(element);
      else body.append(element);
      this.#drawn[index] = { key, element, leaves: ink.madeUp };
    });
    for (const { element } of this.#drawn.splice(found.length)) element.remove();
  }

  /** The text with a character in it for every mark, and what these stand for. */
  #marked() {
    const marks = [];
    let text = "";
    const mark = (made) => {
      marks.push(made);
      text += String.fromCharCode(FIRST_MARK + marks.length - 1);
    };
    const starts = new Set(), stops = new Set();
    for (const { from, to, kind } of this.ranges) {
      if (kind === "made-up") starts.add(from - 1), stops.add(to);
    }
    let due = [];
    this.chunks.forEach((chunk, index) => {
      // Not within a sign of Markdown, which it would hide.
      if (due.length && !(/[*#`]$/.test(text) && /^[*#`]/.test(chunk))) due.splice(0).forEach(mark);
      text += chunk;
      if (index === 0 && starts.has(0)) due.push({ madeUp: true });
      if (stops.has(index + 1)) due.push({ madeUp: false });
      due.push(...(this.seams.get(index + 1) ?? []));
      if (starts.has(index + 1)) due.push({ madeUp: true });
    });
    due.forEach(mark);
    return [text, marks];
  }
}

/** Makes nodes of text and of marks. */
class Ink {
  constructor(marks) {
    this.madeUp = false;
    this.marks = marks;
  }

  text(text) {
    if (!this.madeUp) return document.createTextNode(text);
    const made = document.createElement("mark");
    made.textContent = text;
    return made;
  }

  mark(character) {
    const mark = this.marks[character.charCodeAt(0) - FIRST_MARK];
    if (!mark) return [];
    if ("madeUp" in mark) {
      this.madeUp = mark.madeUp;
      return [];
    }
    const seam = document.createElement("span");
    seam.className = `seam ${mark.kind}`;
    seam.textContent = mark.text;
    return [seam];
  }
}

const STATES = {
  connecting: "connecting",
  following: "live",
  reconnecting: "connection lost, reconnecting",
  lost: "producer lost, another one takes over",
  finished: "finished",
  cancelled: "stopped",
  failed: "failed",
  gone: "gone",
};

function build(question) {
  const turn = document.getElementById("turn").content.cloneNode(true).firstElementChild;
  turn.querySelector(".question").textContent = question;
  return turn;
}

function drawState(answer) {
  const { element, state, chunks, holes, doubles } = answer;
  element.dataset.state = state;
  element.dataset.live = state === "following" && answer.isLive;
  Object.assign(element.dataset, { session: answer.session, chunks: chunks.length, holes, doubles });
  element.querySelector(".answer").setAttribute("aria-busy", String(!answer.over));
  element.querySelector(".state").textContent = stateOf(answer);
  const whole = holes + doubles === 0 ? "each once and in order" : `${holes} missing, ${doubles} doubled`;
  element.querySelector(".count").textContent = chunks.length ? `${plural(chunks.length, "chunk")}, ${whole}` : "";
  const error = element.querySelector(".error");
  error.hidden = !answer.error || state === "cancelled";
  error.textContent = answer.error ?? "";
}

function stateOf({ state, chunks, facts }) {
  if (state !== "following") return STATES[state];
  if (facts.dead) return "producer crashed, its lease still runs";
  if (facts.status === "lost") return STATES.lost;
  if (facts.status !== "active") return "reading the log";
  return chunks.length === 0 ? "waiting for the model" : STATES.following;
}

export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
