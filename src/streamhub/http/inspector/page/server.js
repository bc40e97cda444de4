// What the server is: what its store means for what streamhub promises, and what this process holds.

import { get } from "./api.js";
import { bytes, count, cut, element, say } from "./words.js";

const LEVELS = ["problem", "warning", "note", "ok"];
const NAMES = {
  sessions_followed: "Sessions followed here", subscribers: "Readers here", producers: "Producers here",
  sources: "Sources running here", claims: "Claims under way", pending_bytes: "Waiting to be stored",
  connections: "Connections to the store", tasks: "Tasks",
};
const EVERY = 5_000;

export class Server {
  constructor(root, mark, { close }) {
    this.root = root;
    this.mark = mark;
    this.close = close;
    this.timer = null;
    root.append(
      element("header", { className: "pane-head" },
        element("div", { className: "pane-title" }, element("h2", { text: "Server", tabIndex: -1 })),
        element("button", { type: "button", className: "close", attributes: { "aria-label": "Close" }, text: "×", on: { click: () => close() } })),
      element("div", { className: "pane-body", tabIndex: 0, attributes: { role: "region", "aria-label": "What the server is" } },
        (this.hub = element("p", { className: "hub" })),
        (this.wrong = element("p", { className: "failure", hidden: true })),
        element("section", {}, element("h3", { text: "This process" }), (this.facts = element("dl", { className: "facts" }))),
        element("section", {}, element("h3", { text: "What its store can carry" }), (this.findings = element("ul", { className: "findings" }))),
      ),
    );
  }

  show(isShown) {
    this.root.hidden = !isShown;
    clearInterval(this.timer);
    if (!isShown) return;
    this.ask();
    this.timer = setInterval(() => this.ask(), EVERY);
    this.root.querySelector("h2").focus({ preventScroll: true });
  }

  async ask() {
    let told;
    try {
      told = await get("server");
    } catch (error) {
      this.wrong.hidden = false;
      say(this.wrong, cut(error.message, 400));
      return;
    }
    this.wrong.hidden = true;
    say(this.hub, cut(told.hub, 300));
    this.#drawFacts(told.statistics);
    this.#drawFindings(told.findings);
  }

  #drawFacts(statistics) {
    const shown = Object.entries(NAMES).filter(([name]) => name in statistics);
    if (!this.facts.children.length) {
      this.facts.append(...shown.map(([, title]) => element("div", {}, element("dt", { text: title }), element("dd"))));
    }
    shown.forEach(([name], place) => {
      const value = statistics[name];
      say(this.facts.children[place].lastChild, name === "pending_bytes" ? bytes(value) : count(value));
    });
  }

  #drawFindings(findings) {
    const ordered = [...(findings ?? [])].sort((one, other) => LEVELS.indexOf(one.level) - LEVELS.indexOf(other.level));
    this.mark.dataset.level = ordered[0]?.level ?? "none";
    this.mark.title = ordered[0] ? `worst finding: ${ordered[0].level}` : "";
    const key = JSON.stringify(ordered);
    if (key === this.drawn) return;
    this.drawn = key;
    this.findings.replaceChildren(
      ...ordered.map((finding) =>
        element("li", { attributes: { "data-level": finding.level } },
          element("h4", {}, element("span", { className: "level-word", text: finding.level }), ` ${finding.subject}`),
          element("p", { text: cut(finding.found, 600) }),
          finding.meaning ? element("p", { className: "meaning", text: finding.meaning }) : null,
          finding.advice ? element("p", { className: "advice", text: finding.advice }) : null)),
    );
    if (!ordered.length) this.findings.append(element("li", { text: "Nothing is known of the servers: the application has not said how to ask." }));
  }
}
