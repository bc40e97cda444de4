// One session: how it stands, what has happened to it, what it says, and what one can do.

import { Refused, follow, get, post } from "./api.js";
import { confirmed } from "./dialog.js";
import { Output } from "./parts.js";
import { Arrivals, drawTimeline } from "./timeline.js";
import {
  ENDED, bytes, count, cut, element, lease, say, setClock, silence, since, visible,
} from "./words.js";

const FIRST = 400;

const ACTIONS = {
  stop: {
    name: "Stop", path: "stop", title: "Stop this session?", yes: "Stop it",
    text: "Its producer is asked to end, and the session is cancelled. That cannot be undone.",
  },
  "hand-over": {
    name: "Hand over", path: "hand-over", title: "Hand this session over?", yes: "Hand it over",
    text: "Its producer is fenced at once, and a supervisor goes on after the last stored chunk. For a producer that hangs. That cannot be undone.",
  },
  remove: {
    name: "Remove", path: "remove", title: "Remove this session?", yes: "Remove it", danger: true,
    text: "All that it says is deleted; its producer is fenced, and its readers are cut off. That cannot be undone.",
  },
};

export class Session {
  constructor(root, { close }) {
    this.root = root;
    this.close = close;
    this.id = null;
    setInterval(() => this.#tick(), 1000);
  }

  /** Show the session of this id; null for none. */
  show(id) {
    if (id === this.id) return;
    this.stop?.abort();
    this.id = id;
    this.root.hidden = id === null;
    this.root.replaceChildren();
    if (id === null) return;
    this.stop = new AbortController();
    this.news = null;
    this.known = null;
    this.reading = null;
    this.#build();
    this.#follow(this.stop.signal);
    this.title.focus({ preventScroll: true });
  }

  #build() {
    this.title = element("h2", { text: cut(visible(this.id), 300), tabIndex: -1 });
    this.status = element("span", { className: "status" });
    this.failure = element("p", { className: "failure", hidden: true });
    this.told = element("p", { className: "told", attributes: { role: "status" } });
    this.facts = element("dl", { className: "facts" });
    this.names = element("dl", { className: "facts long" });
    this.list = element("ol", { className: "timeline" });
    this.arrivals = new Arrivals(element("div", { className: "arrivals" }));
    this.before = element("p", { className: "note", hidden: true });
    this.all = element("button", { type: "button", className: "small", text: "Read from the start", hidden: true, on: { click: () => this.#read(true) } });
    this.output = new Output(element("div", { className: "output", tabIndex: 0, attributes: { role: "log", "aria-live": "off", "aria-label": "What it says" } }), () => {
      const { root } = this.output;
      if (this.tail.checked) root.scrollTop = root.scrollHeight;
    });
    this.tail = element("input", { type: "checkbox", checked: true });
    this.metadata = element("pre", { className: "metadata", tabIndex: 0, attributes: { role: "region", "aria-label": "Metadata" } });
    this.buttons = Object.fromEntries(
      Object.entries(ACTIONS).map(([key, action]) => [
        key,
        element("button", { type: "button", className: `small ${action.danger ? "danger" : ""}`, text: action.name, disabled: true, on: { click: () => this.#act(action) } }),
      ]),
    );
    this.root.append(
      element("header", { className: "pane-head" },
        element("div", { className: "pane-title" }, this.title, this.status),
        element("button", { type: "button", className: "close", attributes: { "aria-label": "Close" }, text: "×", on: { click: () => this.close() } })),
      element("div", { className: "pane-body" },
        this.failure,
        element("div", { className: "actions" }, ...Object.values(this.buttons)),
        this.told,
        this.facts,
        (this.coming = element("section", {}, element("h3", { text: "When its chunks came" }), this.arrivals.root,
          element("p", { className: "note", text: "Chunks that were stored before you looked carry no times: only claims, losses and ends do." }))),
        element("section", {}, element("h3", { text: "What happened" }), this.list),
        element("section", {},
          element("div", { className: "section-head" }, element("h3", { text: "What it says" }), element("label", { className: "tail" }, this.tail, "Follow")),
          element("p", { className: "row" }, this.before, this.all),
          this.output.root),
        element("section", {}, element("h3", { text: "Metadata" }), this.metadata),
        element("section", {}, element("h3", { text: "By name" }), this.names),
      ),
    );
    this.arrivals.draw();
  }

  async #follow(signal) {
    const { id } = this;
    try {
      await follow("session", { id }, {
        signal,
        onEvent: (event) => {
          if (event.name === "session" && !signal.aborted) this.#take(JSON.parse(event.data));
        },
      });
    } catch (error) {
      this.#tell(error.message, true);
    }
  }

  #take(news) {
    setClock(news.now);
    const before = this.news;
    this.news = news;
    const { row, facts } = news;
    this.#draw();
    drawTimeline(this.list, news);
    if (!row) {
      this.arrivals.end();
      return;
    }
    if (row.status === "active") this.arrivals.begin();
    else this.arrivals.end();
    const another = facts && before?.facts?.stream_id !== facts.stream_id;
    if (another) this.known = row.chunks;
    // A stream that was read to its end may be continued.
    if (another || (row.status === "active" && this.reading?.over)) this.#read(false);
    if (!facts) say(this.metadata, "The record cannot be read.");
    else if (another || before?.row?.generation !== row.generation || before?.row?.status !== row.status) this.#readMetadata();
  }

  #draw() {
    const { row, facts } = this.news;
    const status = row?.status ?? "gone";
    this.status.dataset.status = status;
    say(this.status, row?.cancelling && status === "active" ? "stopping" : status);
    const reason = facts?.error ?? row?.error;
    this.failure.hidden = !reason && status !== "lost" && status !== "gone";
    this.failure.dataset.status = status;
    say(this.failure, reason ? cut(reason, 4_000)
      : status === "lost" ? `Its producer is lost: no sign of life for ${since(row.updated)}.`
      : status === "gone" ? "It is not in the store: it was removed, has expired, or never was." : "");
    this.buttons.stop.disabled = !facts || ENDED.has(status);
    this.buttons["hand-over"].disabled = !facts || status !== "active" || facts.foreign;
    this.buttons.remove.disabled = !row;
    this.#drawFacts();
  }

  #drawFacts() {
    const { row, facts } = this.news ?? {};
    const ours = row && row.status !== "damaged";
    fill(this.facts, !ours ? [] : [
      ["Owner", row.owner], ["Model", row.model], ["Host", row.host],
      ["Chunks", count(row.chunks)], ["Text", bytes(row.bytes)],
      ["In the store", this.news.memory === null ? null : bytes(this.news.memory)],
      ["Rate", row.rate === null ? null : `${row.rate.toFixed(1)} chunks/s`],
      ["Last chunk", silence(row) && (row.last_chunk === null ? `none for ${since(row.since)} at least` : `${silence(row)} ago`)],
      ["Lease", lease(row) && `${lease(row)} left`],
      ["Begun", row.created === null ? null : `${since(row.created)} ago`],
      ["Ended", row.ended === null ? null : `${since(row.ended)} ago`],
      ["Readers", row.subscribers === null ? null : `about ${count(row.subscribers)}`],
      ["Resumed", row.resumes ? times(row.resumes) : null],
      ["Handed over", row.handovers ? times(row.handovers) : null],
    ]);
    fill(this.names, !ours ? [] : [
      ["Newest cursor", facts?.cursor], ["Generation", row.generation], ["It replaced", facts?.replaced],
      ["Request", facts?.request], ["Feeds", facts?.feeds?.join(", ")],
    ]);
    this.coming.hidden = !ours || (row.status !== "active" && this.arrivals.live === 0);
  }

  /** Read what it says: the last chunks and what follows, or all of it. */
  async #read(whole) {
    this.reading?.stop.abort();
    const stop = new AbortController();
    const reading = { stop, over: false };
    this.reading = reading;
    this.stop.signal.addEventListener("abort", () => stop.abort(), { once: true });
    this.output.clear();
    this.before.hidden = this.all.hidden = true;
    let first = true;
    try {
      await follow("text", { id: this.id, last: whole ? null : FIRST }, {
        signal: stop.signal,
        // What came meanwhile was not late.
        onState: (state) => { if (state !== "live") this.arrivals.miss(); },
        onEvent: (event) => {
          if (this.reading !== reading) return "stop";
          if (event.name === "end" || event.name === "error") {
            reading.over = true;
            return event.name === "error" ? "stop" : undefined;
          }
          if (event.name === "reset") {
            reading.over = false;
            this.output.clear();
            this.arrivals.clear();
            this.known = 0;
            return undefined;
          }
          const offset = Number((event.id ?? "").split("-")[1]);
          if (first && offset > 1 && !whole) this.#tellBefore(offset - 1);
          first = false;
          const live = this.known === null || offset > this.known;
          const pause = live ? this.arrivals.add(event.id ?? "") : 0;
          this.output.add({ event: event.name, data: event.data, cursor: event.id, pause });
          return undefined;
        },
      });
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return;
      this.output.say(error.message, "pause");
    } finally {
      if (this.reading === reading) reading.over = true;
    }
  }

  #tellBefore(number) {
    this.before.hidden = this.all.hidden = false;
    say(this.before, `${count(number)} earlier ${number === 1 ? "chunk is" : "chunks are"} not shown.`);
  }

  async #readMetadata() {
    const { id } = this;
    let text;
    try {
      const { text: found, size } = await get("metadata", { id });
      text = found.length < size ? `${found}… (${count(size - found.length)} characters more)` : found;
    } catch (error) {
      text = error.message;
    }
    if (this.id === id) say(this.metadata, text);
  }

  async #act(action) {
    const { id, news } = this;
    const yes = await confirmed({ ...action, which: cut(id, 200) });
    if (!yes || this.id !== id) return;
    this.#tell(`${action.name} …`);
    try {
      const { status } = await post(action.path, { id, stream: news.facts?.stream_id });
      this.#tell({
        stop: status === "active" ? "It is asked to stop, and has not yet." : `It is ${status}.`,
        "hand-over": status === "lost" ? "It is given up; a supervisor is about to claim it." : `It is ${status}.`,
        remove: "It is removed.",
      }[action.path]);
    } catch (error) {
      this.#tell(error.message, true);
    }
  }

  #tell(text, wrong = false) {
    this.told.classList.toggle("wrong", wrong);
    say(this.told, text);
  }

  #tick() {
    if (this.id === null || !this.news) return;
    this.#drawFacts();
    if (this.news.row?.status === "lost") this.#draw();
    this.arrivals.draw();
  }
}

const times = (number) => (number === 1 ? "once" : `${count(number)} times`);

/** Names and values of a list; those without a value are left out. */
function fill(list, facts) {
  const shown = facts.filter(([, value]) => value);
  if (list.children.length !== shown.length) {
    list.replaceChildren(...shown.map(() => element("div", {}, element("dt"), element("dd"))));
  }
  shown.forEach(([name, value], place) => {
    const [title, text] = list.children[place].children;
    say(title, name);
    say(text, cut(visible(value), 300));
  });
}
