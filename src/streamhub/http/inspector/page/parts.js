// What a session says, chunk by chunk: text, reasoning, tool calls, data. All of it is shown as text,
// and no more of it than a page can hold.

import { bytes, count, cut, element, gap, say, visible } from "./words.js";

// In characters: of one chunk, of one value of a tool call, and of all that is shown.
const LONGEST_CHUNK = 20_000;
const LONGEST_VALUE = 20_000;
const MOST = 300_000;
// What an element costs beside its text, as if it were so much more of it.
const ELEMENT = 100;
// How deeply a part may be nested that is written in lines: each level is set further in, and what is
// endless would fill the memory and the stack.
const DEEPEST = 100;
// A pause that is drawn, in seconds.
export const PAUSE = 2;

export class Output {
  /** @param onPaint is called after something was added. */
  constructor(root, onPaint) {
    this.root = root;
    this.onPaint = onPaint;
    this.clear();
  }

  clear() {
    this.root.replaceChildren();
    // Of all that is shown, and of each block.
    this.size = 0;
    this.sizes = new WeakMap();
    this.open = null;
    this.calls = new Map();
    this.coming = [];
    this.term = null;
    this.note = null;
  }

  /** One chunk; it is painted with all others of the same moment. */
  add({ event, data, cursor, pause }) {
    const [term] = (cursor ?? "").split("-");
    if (this.term !== null && term !== this.term) this.#later(() => this.#seam("taken over here", "takeover"));
    this.term = term || this.term;
    if (pause >= PAUSE) this.#later(() => this.#seam(`${gap(pause)} of silence`, "pause"));
    this.#later(() => this.#chunk(event, data));
  }

  say(text, kind) {
    this.#later(() => this.#seam(text, kind));
  }

  #later(paint) {
    if (this.coming.push(paint) === 1) {
      // Not in an animation frame: a tab in the background has none, and would gather for ever.
      setTimeout(() => {
        const painted = this.coming;
        this.coming = [];
        for (const each of painted) each();
        this.#trim();
        this.onPaint();
      }, 30);
    }
  }

  #chunk(event, data) {
    if (event === "message") this.#text(data, "text");
    else if (event === "ui") this.#part(data);
    else this.#block(event.replace(/^chunk:/, ""), cut(data, LONGEST_CHUNK));
  }

  #part(data) {
    let part;
    try {
      part = JSON.parse(data);
    } catch {
      part = null;
    }
    const isPart = part !== null && typeof part === "object" && typeof part.type === "string";
    if (!isPart || isDeep(part)) {
      this.#block(isPart ? "ui, nested too deeply" : "ui, not a part", cut(data, LONGEST_CHUNK));
      return;
    }
    const { type } = part;
    // What is cut off anyway is not made longer before.
    const indent = data.length > LONGEST_VALUE ? 0 : 2;
    if (type === "text-delta") this.#text(written(part.delta), "text", written(part.id));
    else if (type === "reasoning-delta") this.#text(written(part.delta), "reasoning", written(part.id));
    else if (type === "text-start" || type === "reasoning-start") this.open = null;
    else if (type === "text-end" || type === "reasoning-end") this.open = null;
    else if (type.startsWith("tool-")) this.#call(type, part, indent);
    else if (["start", "finish", "start-step", "finish-step", "abort"].includes(type)) this.#seam(type.replace("-", " "), "step");
    else {
      const { type: _, ...rest } = part;
      this.#block(type, cut(written(rest, indent), LONGEST_VALUE));
    }
  }

  #text(text, kind, id = "") {
    if (text.length > LONGEST_CHUNK) {
      text = `${text.slice(0, LONGEST_CHUNK)}… (${count(text.length - LONGEST_CHUNK)} characters more in this chunk)`;
    }
    const key = `${kind} ${id}`;
    if (this.open?.key !== key) {
      const body = element("div", { className: "said" });
      const block = element("section", { className: `part ${kind}` }, kind === "reasoning" ? element("h4", { text: "Reasoning" }) : null, body);
      this.#put(block);
      this.open = { key, block, body };
    }
    const { block, body } = this.open;
    // A row of short nodes would be slow to lay out; one that is endless could not be cut.
    const last = body.lastChild;
    if (last?.nodeType === Node.TEXT_NODE && last.length < 4_000) last.appendData(text);
    else body.append(text);
    this.#grow(block, text.length);
  }

  #call(type, part, indent) {
    const id = written(part.toolCallId);
    let call = this.calls.get(id);
    if (!call) {
      const name = element("h4", { text: "Tool" });
      const state = element("span", { className: "state" });
      const values = element("div");
      const block = element("section", { className: "part tool" }, element("header", {}, name, state), values);
      call = { block, name, state, values, input: "", shown: {} };
      this.calls.set(id, call);
      this.#put(block);
    }
    if (part.toolName) say(call.name, `Tool ${cut(visible(written(part.toolName)), 120)}`);
    const tell = (title, value) => {
      call.shown[title] ??= call.values.appendChild(element("div", {}, element("h5", { text: title }), element("pre"))).lastChild;
      const text = cut(value, LONGEST_VALUE);
      this.#grow(call.block, text.length - call.shown[title].textContent.length);
      say(call.shown[title], text);
    };
    if (type === "tool-input-delta") {
      if (call.input.length < LONGEST_VALUE) call.input += written(part.inputTextDelta);
      tell("Input", call.input);
    }
    if ("input" in part) tell("Input", written(part.input, indent));
    if ("output" in part) tell("Output", written(part.output, indent));
    if (part.errorText !== undefined) tell("Error", written(part.errorText));
    const states = { "tool-input-start": "called", "tool-input-available": "running", "tool-output-available": "done", "tool-output-error": "failed", "tool-input-error": "failed" };
    say(call.state, states[type] ?? call.state.textContent);
    call.state.dataset.state = call.state.textContent;
  }

  #block(title, text) {
    this.#put(element("section", { className: "part data" }, element("h4", { text: cut(visible(title), 120) }), element("pre", { text })), text.length);
  }

  #seam(text, kind) {
    const seam = element("span", { className: `seam ${kind}`, text });
    // Within a text it stands where it happened.
    if (this.open && kind !== "step") {
      this.open.body.append(seam);
      this.#grow(this.open.block, ELEMENT);
    } else this.#put(seam);
  }

  #put(block, size = 0) {
    this.open = null;
    this.root.append(block);
    this.#grow(block, size + ELEMENT);
  }

  #grow(block, size) {
    this.sizes.set(block, (this.sizes.get(block) ?? 0) + size);
    this.size += size;
  }

  /** Let the oldest go where there is too much. */
  #trim() {
    if (this.size <= MOST) return;
    if (!this.note) {
      this.note = element("p", { className: "note" });
      this.root.prepend(this.note);
      this.dropped = 0;
    }
    while (this.size > MOST * 0.8) {
      const first = this.note.nextElementSibling;
      if (!first) break;
      const oldest = first.querySelector(".said")?.firstChild;
      if (oldest?.nextSibling) {
        // A piece of a long text.
        const { length } = oldest.textContent;
        oldest.remove();
        this.#grow(first, oldest.nodeType === Node.TEXT_NODE ? -length : -ELEMENT);
        this.dropped += length;
      } else if (first !== this.root.lastElementChild) {
        this.dropped += first.textContent.length;
        first.remove();
        this.#grow(first, -this.sizes.get(first));
        for (const [id, call] of this.calls) if (call.block === first) this.calls.delete(id);
      } else break;
    }
    say(this.note, `${bytes(this.dropped)} of earlier text are not kept in this page.`);
  }
}

/** Whatever stands where a text should, as one; what is not there is empty. */
const written = (value, indent = 0) =>
  typeof value === "string" ? value : JSON.stringify(value, null, indent) ?? "";

function isDeep(value) {
  let level = [value];
  for (let depth = 0; level.length; depth += 1) {
    if (depth > DEEPEST) return true;
    level = level.filter((one) => one !== null && typeof one === "object").flatMap((one) => Object.values(one));
  }
  return false;
}
