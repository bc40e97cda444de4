// The page as a whole. Its address says what is seen, so that it can be kept, sent and gone back from.

import "./dialog.js";
import { Board } from "./board.js";
import { Server } from "./server.js";
import { Session } from "./session.js";

const find = (id) => document.getElementById(id);
const KEYS = ["q", "status", "owner", "sort", "order", "page", "session", "view"];

function asked() {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(KEYS.filter((key) => given.has(key)).map((key) => [key, given.get(key)]));
}

/** Ask for something else. What one looks at comes into the history, how one looks for it does not. */
function change(changes, { step = false } = {}) {
  const next = new URLSearchParams();
  for (const [key, value] of Object.entries({ ...asked(), ...changes })) {
    if (value !== undefined && value !== null) next.set(key, value);
  }
  const hash = `#${next}`;
  if (hash === location.hash) return;
  if (step) history.pushState(null, "", hash);
  else history.replaceState(null, "", hash);
  show();
}

const board = new Board({ change, open: (id) => change({ session: id, view: undefined }, { step: true }) });
const session = new Session(find("session"), { close: () => close() });
const server = new Server(find("server"), find("worst"), { close: () => close() });
let shown = {};

function close() {
  const { session: id, view } = asked();
  change({ session: undefined, view: undefined }, { step: true });
  if (id !== undefined) board.focus(id);
  else if (view) find("open-server").focus();
}

function show() {
  const query = asked();
  board.show(query);
  board.select(query.session ?? null);
  const onServer = query.view === "server" && query.session === undefined;
  if (shown.session !== query.session) session.show(query.session ?? null);
  if (shown.onServer !== onServer) server.show(onServer);
  find("open-server").setAttribute("aria-expanded", String(onServer));
  find("panes").classList.toggle("split", query.session !== undefined || onServer);
  document.title = query.session === undefined ? "streamhub inspector" : `${query.session.slice(0, 60)} · streamhub inspector`;
  shown = { session: query.session, onServer };
}

find("open-server").addEventListener("click", () => {
  if (shown.onServer) close();
  else change({ view: "server", session: undefined }, { step: true });
});
find("skip").addEventListener("click", (event) => { event.preventDefault(); board.focus(); });
addEventListener("hashchange", show);
addEventListener("popstate", show);
addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    find("search").focus();
  } else if (event.key === "Escape") {
    if (typing?.id === "search" && typing.value === "") board.focus();
    else if (!typing && (shown.session !== undefined || shown.onServer)) close();
  }
});

show();
server.ask();
