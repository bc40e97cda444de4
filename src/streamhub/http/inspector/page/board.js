// The table of sessions: what is asked for, one page of it, and what becomes of that page.

import { follow } from "./api.js";
import {
  STATUSES, bytes, count, cut, element, isStalled, lease, say, setClock, silence, since, visible,
} from "./words.js";

const find = (id) => document.getElementById(id);
const LIMIT = 100;

const COLUMNS = [
  { key: "session", title: "Session", first: "up" },
  { key: "status", title: "Status", first: "up" },
  { key: "owner", title: "Owner", first: "up", wide: true },
  { key: "model", title: "Model", first: "up", wide: true },
  { key: "chunks", title: "Chunks", number: true, text: (row) => count(row.chunks) },
  { key: "rate", title: "Rate", number: true, hint: "chunks a second", text: (row) => (row.rate === null ? "" : row.rate === 0 ? "0" : `${row.rate.toFixed(1)}/s`) },
  { key: "silence", title: "Silent", number: true, hint: "since the last chunk; with + since we look, at least", text: silence },
  { key: "created", title: "Age", number: true, text: (row) => since(row.created) },
  { key: "lease", title: "Lease", number: true, wider: true, text: lease },
  { key: "host", title: "Host", first: "up", wider: true },
  { key: "subscribers", title: "Readers", number: true, wider: true, text: (row) => (row.subscribers === null ? "" : count(row.subscribers)) },
];

export class Board {
  /**
   * @param change changes what the address asks for: `change({ sort: "rate" })`.
   * @param open is told which session to open.
   */
  constructor({ change, open }) {
    this.change = change;
    this.open = open;
    this.rows = new Map();
    this.lines = new Map();
    this.order = [];
    this.query = {};
    this.asked = null;
    this.stop = null;
    this.facts = {};
    this.selected = null;
    this.#drawHead();
    this.#drawChips();
    this.#listen();
    setInterval(() => this.#tick(), 1000);
  }

  /** Show what the address asks for; follow it if it is something else than before. */
  show(query) {
    this.query = query;
    const search = find("search");
    if (document.activeElement !== search) search.value = query.q ?? "";
    this.#markSort();
    this.#markChips();
    const asked = {
      text: query.q, status: query.status, owner: query.owner, sort: query.sort ?? "created",
      order: query.order ?? "down", page: query.page ?? 1, limit: LIMIT,
    };
    const key = JSON.stringify(asked);
    if (key === this.asked) return;
    this.asked = key;
    this.stop?.abort();
    this.stop = new AbortController();
    this.#follow(asked, this.stop.signal);
  }

  select(id) {
    this.lines.get(this.selected)?.line.removeAttribute("aria-selected");
    this.selected = id;
    this.lines.get(id)?.line.setAttribute("aria-selected", "true");
  }

  row(id) {
    return this.rows.get(id);
  }

  /** Put the keyboard on the session that was open, or on the first. */
  focus(id) {
    (this.lines.get(id) ?? this.lines.get(this.order[0]))?.link.focus();
  }

  async #follow(asked, signal) {
    find("table").setAttribute("aria-busy", "true");
    const link = find("link");
    try {
      await follow("board", asked, {
        signal,
        onState: (state) => {
          link.dataset.state = state;
          say(link, state);
        },
        onEvent: (event) => {
          if (event.name === "page" && !signal.aborted) this.#take(JSON.parse(event.data));
        },
      });
    } catch (error) {
      link.dataset.state = "refused";
      say(link, "refused");
      this.#alarm(error.message);
    }
  }

  #take(news) {
    setClock(news.now);
    for (const row of news.rows) this.rows.set(row.session_id, row);
    if (news.order) {
      this.order = news.order;
      const kept = new Set(news.order);
      for (const id of this.rows.keys()) if (!kept.has(id)) this.rows.delete(id);
    }
    if (news.owners) this.#drawOwners(news.owners);
    this.facts = news;
    this.#draw(news.order !== undefined);
    find("table").removeAttribute("aria-busy");
  }

  #draw(reordered) {
    const body = find("rows");
    if (reordered) {
      const kept = new Set(this.order);
      for (const [id, { line }] of this.lines) {
        if (!kept.has(id)) {
          line.remove();
          this.lines.delete(id);
        }
      }
      let place = body.firstElementChild;
      for (const id of this.order) {
        const { line } = this.lines.get(id) ?? this.#line(id);
        if (line === place) place = place.nextElementSibling;
        else body.insertBefore(line, place);
      }
    }
    for (const id of this.order) this.#fill(id);
    this.#drawFacts();
  }

  #line(id) {
    const link = element("a", { className: "id", attributes: { href: `#${new URLSearchParams({ session: id })}` }, text: cut(visible(id), 120) });
    const under = element("span", { className: "under" });
    const trouble = element("span", { className: "trouble" });
    const cells = {};
    const click = (event) => {
      // In another tab, if that is what is asked for.
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.open(id);
    };
    const line = element("tr", { on: { click } });
    for (const column of COLUMNS) {
      const cell = element("td", { className: classes(column) });
      if (column.key === "session") cell.append(link, under, trouble);
      if (column.key === "status") cell.append(element("span", { className: "status" }));
      cells[column.key] = cell;
      line.append(cell);
    }
    if (id === this.selected) line.setAttribute("aria-selected", "true");
    const made = { line, link, under, trouble, cells };
    this.lines.set(id, made);
    return made;
  }

  #fill(id) {
    const row = this.rows.get(id);
    const { line, under, trouble, cells } = this.lines.get(id);
    line.dataset.status = row.status;
    const status = cells.status.firstElementChild;
    const word = row.cancelling && !row.error && row.status === "active" ? "stopping" : row.status;
    status.dataset.status = row.status;
    say(status, word);
    say(trouble, row.error && row.status !== "finished" ? cut(visible(row.error), 160) : "");
    say(under, [row.owner, row.model].filter(Boolean).map(visible).join(" · "));
    for (const column of COLUMNS) {
      if (column.text) say(cells[column.key], column.text(row));
      else if (column.key !== "session" && column.key !== "status") say(cells[column.key], visible(row[column.key] ?? ""));
    }
    cells.silence.classList.toggle("stalled", isStalled(row));
  }

  #tick() {
    for (const id of this.order) {
      const row = this.rows.get(id);
      const { cells } = this.lines.get(id);
      for (const column of COLUMNS) {
        if (["silence", "created", "lease"].includes(column.key)) say(cells[column.key], column.text(row));
      }
      cells.silence.classList.toggle("stalled", isStalled(row));
    }
  }

  #drawFacts() {
    const { found, total, counts, rate, bytes: size, away, complete, left_out: leftOut } = this.facts;
    const page = Number(this.query.page ?? 1);
    const first = (page - 1) * LIMIT;
    say(find("range"), found ? `${count(first + 1)}–${count(first + this.order.length)} of ${count(found)}` : "");
    say(find("sums"), found ? `${rate.toFixed(1)} chunks/s · ${bytes(size)} stored` : "");
    find("earlier").disabled = page <= 1;
    find("later").disabled = first + this.order.length >= found;
    for (const chip of find("chips").children) {
      const number = chip.dataset.status === "" ? Object.values(counts).reduce((a, b) => a + b, 0) : (counts[chip.dataset.status] ?? 0);
      say(chip.lastElementChild, count(number));
      chip.classList.toggle("none", number === 0);
    }
    const empty = find("empty");
    empty.hidden = this.order.length > 0;
    say(empty, !complete && !away ? "Reading the sessions …" : total ? "No session is like that." : "There are no sessions.");
    if (away) this.#alarm(`The store cannot be read, so all this is old: ${away}`);
    else if (leftOut) this.#alarm(`There are ${count(leftOut)} more sessions than the inspector holds.`);
    else this.#alarm("");
  }

  #alarm(text) {
    const alarm = find("alarm");
    alarm.hidden = text === "";
    say(alarm, cut(text, 400));
  }

  #drawHead() {
    for (const column of COLUMNS) {
      const button = element("button", {
        type: "button", text: column.title, title: column.hint ?? "",
        on: { click: () => this.#sort(column) },
      });
      find("head").append(element("th", { scope: "col", className: classes(column), attributes: { "data-key": column.key } }, button));
    }
  }

  #sort(column) {
    const same = (this.query.sort ?? "created") === column.key;
    const before = this.query.order ?? "down";
    const order = same ? (before === "down" ? "up" : "down") : (column.first ?? "down");
    this.change({ sort: column.key, order, page: undefined });
  }

  #markSort() {
    const order = (this.query.order ?? "down") === "up" ? "ascending" : "descending";
    for (const head of find("head").children) {
      if (head.dataset.key === (this.query.sort ?? "created")) head.setAttribute("aria-sort", order);
      else head.removeAttribute("aria-sort");
    }
  }

  #drawChips() {
    for (const status of ["", ...STATUSES]) {
      find("chips").append(
        element("button", {
          type: "button", className: "chip", attributes: { "data-status": status, "aria-pressed": "false" },
          on: { click: () => this.#filter(status) },
        }, element("span", { text: status || "all" }), element("b")),
      );
    }
  }

  #filter(status) {
    const chosen = new Set((this.query.status ?? "").split(",").filter(Boolean));
    if (status === "") chosen.clear();
    else if (!chosen.delete(status)) chosen.add(status);
    this.change({ status: [...chosen].join(",") || undefined, page: undefined });
  }

  #markChips() {
    const chosen = (this.query.status ?? "").split(",").filter(Boolean);
    for (const chip of find("chips").children) {
      const { status } = chip.dataset;
      chip.setAttribute("aria-pressed", String(status === "" ? chosen.length === 0 : chosen.includes(status)));
    }
  }

  #drawOwners(owners) {
    const select = find("owner");
    const names = Object.keys(owners);
    const chosen = this.query.owner ?? "";
    if (chosen && !names.includes(chosen)) names.unshift(chosen);
    const texts = names.map((name) => `${cut(visible(name), 60)} (${count(owners[name] ?? 0)})`);
    const options = names.map((name, number) => element("option", { value: name, text: texts[number] }));
    select.replaceChildren(element("option", { value: "", text: "Every owner" }), ...options);
    select.value = chosen;
  }

  #listen() {
    let typing;
    find("search").addEventListener("input", (event) => {
      clearTimeout(typing);
      typing = setTimeout(() => this.change({ q: event.target.value || undefined, page: undefined }), 200);
    });
    find("tools").addEventListener("submit", (event) => { event.preventDefault(); this.focus(); });
    find("owner").addEventListener("change", (event) => this.change({ owner: event.target.value || undefined, page: undefined }));
    for (const [id, step] of [["earlier", -1], ["later", 1]]) {
      find(id).addEventListener("click", () => {
        this.change({ page: Number(this.query.page ?? 1) + step });
        find("scroller").scrollTop = 0;
      });
    }
    find("rows").addEventListener("keydown", (event) => {
      const line = event.target.closest("tr");
      const next = { ArrowDown: line?.nextElementSibling, ArrowUp: line?.previousElementSibling }[event.key];
      if (next) {
        event.preventDefault();
        next.querySelector("a").focus();
      }
    });
  }
}

const classes = ({ number, wide, wider, key }) =>
  [number && "number", wide && "wide", wider && "wider", `col-${key}`].filter(Boolean).join(" ");
