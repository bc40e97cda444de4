// What the page asks its server: with the token, if the server wants one, which never leaves this tab
// but in a header.

const KEY = "streamhub-inspector-token";

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// "#token=…" is not sent to any server. It is taken out of the address at once, and of its history.
const fragment = new URLSearchParams(location.hash.slice(1));
if (fragment.has("token")) {
  sessionStorage.setItem(KEY, fragment.get("token"));
  fragment.delete("token");
  history.replaceState(null, "", `${location.pathname}${location.search}#${fragment}`);
}

export const setToken = (token) => sessionStorage.setItem(KEY, token);

let askForToken = () => new Promise(() => {});
let asking = null;
/** Who asks for a token: all who need one wait for the same answer. */
export const onUnauthorized = (ask) => { askForToken = ask; };

const address = (path, query) => {
  const url = new URL(`inspector/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  }
  return url;
};

async function send(path, query, { headers = {}, ...options } = {}) {
  for (;;) {
    const token = sessionStorage.getItem(KEY);
    const sent = { ...headers, ...(token ? { Authorization: `Bearer ${toLatin(token)}` } : {}) };
    const response = await fetch(address(path, query), { cache: "no-store", ...options, headers: sent });
    if (response.ok) return response;
    if (response.status === 401) {
      asking ??= askForToken(token !== null).finally(() => { asking = null; });
      await asking;
      options.signal?.throwIfAborted();
      continue;
    }
    const problem = await response.json().catch(() => ({}));
    throw new Refused(response.status, problem.detail ?? `the server answered ${response.status}`);
  }
}

// A header carries bytes: those of the token in UTF-8.
const toLatin = (token) => String.fromCharCode(...new TextEncoder().encode(token));

export const get = async (path, query = {}) => (await send(path, query)).json();
export const post = async (path, query) => (await send(path, query, { method: "POST" })).json();

const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });

// A tab that nobody sees lets its connections go after so many seconds: a browser has few of them for
// all tabs of a server, and a server that nobody looks at has nothing to read.
const UNSEEN = 30;

const seen = (signal) =>
  new Promise((resolve, reject) => {
    const look = () => { if (!document.hidden) resolve(); };
    document.addEventListener("visibilitychange", look, { signal });
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    look();
  });

/** A signal that is aborted with `signal`, or once the tab has not been seen for some time. */
function whileSeen(signal) {
  const own = new AbortController();
  let timer;
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => own.abort(), UNSEEN * 1000);
  };
  document.addEventListener("visibilitychange", look, { signal: own.signal });
  look();
  signal.addEventListener("abort", () => own.abort(), { once: true, signal: own.signal });
  return own;
}

/**
 * Follow a stream of events until `signal` is aborted, or `onEvent` answers "stop". A connection that
 * ends is made again, after the last id that was seen. An error that no repetition helps is thrown.
 */
export async function follow(path, query, { onEvent, onState = () => {}, signal }) {
  let wait = 0;
  let last = null;
  for (;;) {
    const connection = whileSeen(signal);
    try {
      const headers = { Accept: "text/event-stream", ...(last === null ? {} : { "Last-Event-ID": last }) };
      const response = await send(path, query, { headers, signal: connection.signal });
      if (response.status === 204) return;
      for await (const event of events(response.body)) {
        if (wait !== -1) { wait = -1; onState("live"); }
        if (event.id !== null) last = event.id;
        if (onEvent(event) === "stop") return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status < 500) throw error;
    } finally {
      connection.abort();
    }
    onState("reconnecting");
    wait = wait < 0 ? 0.5 : Math.min(10, Math.max(0.5, wait * 2));
    try {
      await pause(wait, signal);
      await seen(signal);
    } catch {
      return;
    }
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = { name: "message", data: [], id: null };
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (event.data.length) yield { ...event, data: event.data.join("\n") };
        event = { name: "message", data: [], id: null };
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const field = colon < 0 ? line : line.slice(0, colon);
      const text = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
      if (field === "data") event.data.push(text);
      else if (field === "event") event.name = text;
      else if (field === "id") event.id = text;
    }
  }
}
