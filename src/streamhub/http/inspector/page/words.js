// How things are said: numbers, times, statuses. And elements, whose content is text and nothing else.

/** An element; every text in it is set as text. */
export function element(tag, { text, attributes = {}, on = {}, ...properties } = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) made[name] = value;
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) made.setAttribute(name, value);
  }
  for (const [name, act] of Object.entries(on)) made.addEventListener(name, act);
  if (text !== undefined) made.textContent = text;
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

export function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Set a text only where it is another, so that nothing is painted or read out for nothing. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// The server's clock, as far as its events tell.
let ahead = 0;
export const setClock = (now) => { ahead = now - Date.now() / 1000; };
export const serverNow = () => Date.now() / 1000 + ahead;

const numbers = new Intl.NumberFormat("en");
export const count = (number) => (number === null || number === undefined ? "?" : numbers.format(number));

export function bytes(size) {
  if (size === null || size === undefined) return "?";
  for (const unit of ["B", "kB", "MB"]) {
    if (size < 1000) return `${size < 10 && unit !== "B" ? size.toFixed(1) : Math.round(size)} ${unit}`;
    size /= 1000;
  }
  return `${size.toFixed(1)} GB`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "?";
  seconds = Math.max(0, seconds);
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) {
    const minutes = Math.floor((seconds % 3600) / 60);
    return `${Math.floor(seconds / 3600)} h${minutes ? ` ${minutes} min` : ""}`;
  }
  return `${Math.floor(seconds / 86400)} d`;
}

export const gap = (seconds) => (seconds < 60 ? `${seconds.toFixed(1)} s` : duration(seconds));
export const since = (at) => (at === null || at === undefined ? "?" : duration(serverNow() - at));

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
export function when(at) {
  const day = new Date(at * 1000);
  const today = new Date().toDateString() === day.toDateString();
  return today ? clock.format(day) : `${date.format(day)}, ${clock.format(day)}`;
}

/** A text that cannot fill the page: cut off, and saying so. */
export const cut = (text, most) =>
  text.length <= most ? text : `${text.slice(0, most)}… (${count(text.length - most)} characters more)`;

// What could make one line look like another is shown as what it is: whatever controls or formats.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
export const visible = (text) =>
  text.replace(UNSEEN, (sign) => `\\u${sign.codePointAt(0).toString(16).padStart(4, "0")}`);

export const STATUSES = ["damaged", "lost", "failed", "active", "cancelled", "finished"];
export const ENDED = new Set(["finished", "failed", "cancelled"]);

// After so many seconds without a chunk an active session is worth a look.
const STALLED = 10;

/** How long an active session has been silent, in words; "" for one that has ended. */
export function silence(row) {
  if (ENDED.has(row.status) || row.status === "damaged") return "";
  return row.last_chunk === null ? `${since(row.since)}+` : since(row.last_chunk);
}

export const isStalled = (row) =>
  row.status === "active" && serverNow() - (row.last_chunk ?? row.since) > STALLED;

export function lease(row) {
  if (row.lease_until === null || row.status !== "active") return "";
  return duration(row.lease_until - serverNow());
}
