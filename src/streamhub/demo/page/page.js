// The page: asks the server how things stand, shows it, and passes on what one does.

import { Answer, plural } from "./answer.js";

const $ = (id) => document.getElementById(id);

const BUSY_MS = 400;
const IDLE_MS = 2000;

const tab = crypto.randomUUID().slice(0, 8);
const chat = chatOfThisPage();
const answers = new Map();
let about = null;
let producerNow = null;
let asking = false;
/** Ended by something that makes the next look due at once. */
let hurry = () => {};

// -- asking the server ----------------------------------------------------------------------------

async function get(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(5000) });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return response.json();
}

async function post(path, body = null) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error((await response.text()) || `the server answered ${response.status}`);
  return response.json();
}

/** Look again and again how the chat stands: often while something goes on. */
async function watch() {
  for (;;) {
    try {
      about ??= showAbout(await get("about"));
      learn(await get(`chats/${chat}?tab=${tab}`));
      alarm(null);
    } catch (error) {
      alarm(
        error instanceof TypeError || error.name === "TimeoutError"
          ? "The demo's server does not answer. If it was ended, start it again; this page goes on by itself."
          : `The demo's server says: ${error.message}`,
      );
    }
    const busy = [...answers.values()].some((answer) => !answer.over);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, busy ? BUSY_MS : IDLE_MS);
      hurry = () => (clearTimeout(timer), resolve());
    });
  }
}

function learn({ turns, producer }) {
  producerNow = producer;
  for (const turn of turns) {
    if (!answers.has(turn.session)) add(turn);
    answers.get(turn.session).learn(turn);
  }
  const known = new Set(turns.map((turn) => turn.session));
  for (const answer of answers.values()) if (!known.has(answer.session)) answer.forget();
  $("welcome").hidden = answers.size > 0;
  show();
}

function add(turn) {
  const answer = new Answer(turn, tab);
  answers.set(turn.session, answer);
  answer.addEventListener("news", ({ detail }) => onNews(answer, detail));
  $("welcome").hidden = true;
  $("turns").append(answer.element);
  stayAtEnd(true);
}

const newest = () => [...answers.values()].at(-1);
const running = () => (newest() && !newest().over ? newest() : null);

// -- what happened --------------------------------------------------------------------------------

function onNews(answer, news) {
  switch (news.type) {
    case "drawn":
      stayAtEnd(false);
      show();
      return;
    case "open":
    case "closed":
      hurry();
      break;
    case "producer":
      if (news.before) log("good", `${capital(news.name)} goes on after chunk ${news.after}, under the next offset of a new term.`);
      else log("info", `${capital(news.name)} has claimed the session ${answer.session}.`);
      break;
    case "replayed":
      log("info", `${plural(news.chunks, "chunk")} replayed from the log${answer.isLive ? "; what comes now is live" : ""}.`);
      break;
    case "broken":
      log("bad", `Connection lost after chunk ${news.after}. The browser connects again by itself.`);
      break;
    case "resumed":
      log("good", `Connected again after chunk ${news.after}. ${news.missed ? `${plural(news.missed, "missed chunk")} made up for` : "Nothing was missed"}.`);
      break;
    case "state":
      onState(answer);
      hurry();
      break;
  }
  show();
}

function onState(answer) {
  switch (answer.state) {
    case "lost":
      log("bad", `Nobody renews the lease any more: the session is lost. The supervisor hands it to another producer.`);
      break;
    case "finished":
      log("good", `Finished: ${plural(answer.chunks.length, "chunk")}, each once and in order.`);
      break;
    case "cancelled":
      log("info", "Stopped: the cancel was stored, the producer has ended, every tab knows.");
      break;
    case "failed":
      log("bad", `Failed: ${answer.error}`);
      break;
    case "gone":
      log("bad", "The session is not there any more.");
      break;
    default:
      return;
  }
  $("announcer").textContent = `The answer is ${answer.state}.`;
}

function log(kind, text) {
  const item = document.createElement("li");
  item.className = kind;
  const time = document.createElement("time");
  time.textContent = new Date().toTimeString().slice(0, 8);
  item.append(time, text);
  $("events").prepend(item);
  while ($("events").children.length > 60) $("events").lastChild.remove();
}

// -- how things stand -----------------------------------------------------------------------------

function show() {
  const answer = newest();
  const live = running();
  $("send").hidden = live !== null;
  $("stop").hidden = live === null;
  $("send").disabled = asking;
  $("cut").disabled = live?.state !== "following";
  $("crash").disabled = live === null || live.facts.status !== "active";
  const facts = answer?.facts;
  const writes = facts?.status === "active";
  const lost = facts?.status === "lost";
  const dead = facts?.dead ?? false;
  const writer = facts?.producers.at(-1)?.name;
  node("producer", {
    state: !facts ? "idle" : lost || dead ? "bad" : writes ? "on" : "idle",
    who: (writes || lost ? writer : null) ?? producerNow?.name ?? "",
    facts: facts && {
      status: facts.cancelling ? "stopping" : dead ? "crashed" : writes ? "publishing" : facts.status,
      generation: short(facts.generation),
      lease: facts.lease === null ? "ended" : facts.lease > 0 ? `${facts.lease.toFixed(1)} s` : "lapsed",
    },
  });
  node("log", {
    state: !facts ? "idle" : "on",
    who: !about ? "" : about.redis ? "in Redis" : "in memory",
    facts: facts && {
      stored: `${plural(Math.max(facts.chunks, answer.chunks.length), "chunk")}`,
      epoch: facts.epoch,
    },
  });
  node("tab", {
    state: !answer ? "idle" : { reconnecting: "wait", connecting: "wait", lost: "wait", gone: "bad" }[answer.state] ?? "on",
    who: !answer ? "" : TAB[answer.state] ?? "has it all",
    facts: answer && {
      received: plural(answer.chunks.length, "chunk"),
      cursor: answer.cursor ? `…-${answer.cursor.split("-")[1]}` : "none yet",
      reconnects: answer.reconnects,
      "missed, made up for": answer.madeUp,
    },
  });
  if (answer) showStrips(answer);
  showOnward();
  const stored = answer ? Math.max(facts.chunks, answer.chunks.length) : 0;
  put($("brief"), answer ? `${answer.chunks.length} of ${plural(stored, "chunk")} here` : "");
}

const TAB = {
  connecting: "connecting…",
  following: "connected",
  reconnecting: "reconnecting…",
  lost: "waiting for a producer",
  gone: "the session is gone",
};

function node(id, { state, who, facts }) {
  const item = $(id);
  item.dataset.state = state;
  put(item.querySelector(".who"), who);
  const list = item.querySelector("dl");
  for (const [name, value] of Object.entries(facts ?? {})) {
    const key = name.replaceAll(/\W+/g, "-");
    let pair = list.querySelector(`[data-fact="${key}"]`);
    if (!pair) {
      pair = document.createElement("div");
      pair.dataset.fact = key;
      pair.append(document.createElement("dt"), document.createElement("dd"));
      pair.firstChild.textContent = name;
      list.append(pair);
    }
    put(pair.lastChild, String(value));
  }
}

/** Above, who wrote the chunks; below, how they came here. Both are as wide as what is stored. */
function showStrips(answer) {
  const stored = Math.max(answer.facts.chunks, answer.chunks.length);
  const producers = answer.facts.producers;
  const written = producers.map(({ name, after }, index) => ({
    kind: `by-${index % 4}`,
    count: (producers[index + 1]?.after ?? stored) - after,
    title: `written by ${name}`,
  }));
  const here = answer.chunks.length;
  const arrived = [];
  let at = 0;
  for (const { from, to, kind } of answer.ranges) {
    if (from - 1 > at) arrived.push({ kind: "live", count: from - 1 - at });
    arrived.push({ kind, count: Math.min(to, here) - from + 1 });
    at = Math.max(at, Math.min(to, here));
  }
  arrived.push({ kind: "live", count: here - at }, { kind: "missing", count: stored - here });
  showWriters(producers);
  strip($("log"), written, `${plural(stored, "chunk")} stored, written by ${producers.map(({ name }) => name).join(", then ")}`);
  strip($("tab"), arrived, `${here} of ${plural(stored, "chunk")} are here; ${answer.madeUp} were missed and made up for`);
}

/** Whose colour is which: of the newest, as many as there are colours. */
function showWriters(producers) {
  const list = $("writers");
  const newest = producers.map(({ name }, index) => ({ name, index })).slice(-4);
  while (list.children.length > newest.length) list.lastChild.remove();
  newest.forEach(({ name, index }, at) => {
    let entry = list.children[at];
    if (!entry) {
      entry = document.createElement("span");
      entry.append(document.createElement("i"), "");
      list.append(entry);
    }
    entry.firstChild.className = `by-${index % 4}`;
    const text = index === 0 ? name : `${name} went on`;
    if (entry.lastChild.data !== text) entry.lastChild.data = text;
  });
}

/** The way on, once an answer has been seen to its end. */
function showOnward() {
  const over = newest() !== undefined && running() === null;
  if ($("onward").hidden !== over) return;
  const near = isNearEnd();
  $("onward").hidden = !over;
  stayAtEnd(near);
}

function strip(item, parts, label) {
  const bar = item.querySelector(".strip");
  bar.setAttribute("aria-label", label);
  parts = parts.filter(({ count }) => count > 0);
  while (bar.children.length > parts.length) bar.lastChild.remove();
  parts.forEach(({ kind, count, title }, index) => {
    const part = bar.children[index] ?? bar.appendChild(document.createElement("i"));
    part.className = kind;
    part.style.flexGrow = count;
    part.title = `${plural(count, "chunk")} ${title ?? kind.replace("-", " ")}`;
  });
}

function showAbout(facts) {
  const { redis, model, web, lease } = facts;
  put($("mode"), redis ? "Redis" : "memory");
  put($("mode-more"), redis ? " · separate processes" : " · one process");
  put($("crash-how"), redis ? "SIGKILL, for real" : "its task just vanishes");
  $("crash").title = redis
    ? "Kills the producer's process with SIGKILL. Its lease lapses, and another process continues."
    : "The producer's task ends without a goodbye. Its lease lapses, and another task continues.";
  const lines = redis
    ? [
        `The sessions are in ${facts.private ? `a Redis of the demo's own (process ${redis.pid})` : `the Redis at ${redis.url}`}. The web server (process ${web}) only reads; producers are processes of their own, and the crash button kills one with SIGKILL.`,
      ]
    : [
        `Everything runs in one process (${web}), in memory${facts.note ? `, because ${facts.note}` : ""}. The crash button makes the producer's task vanish without a goodbye. With a redis-server on the PATH, producers are processes of their own and the crash is a SIGKILL.`,
      ];
  lines.push(
    `A lease lasts ${lease} s here (15 s by default), so that a dead producer shows quickly.`,
    ...(facts.private ? ["The Redis may be killed as well: another one begins, empty, and the producer puts back what it holds of the answer."] : []),
    model.built_in
      ? "The model is a small server that came with the demo; it knows three texts, and continues an answer at the very next character."
      : `The model is ${model.name} at ${model.url}. After a crash it gets its own answer so far and is asked to go on; how well it finds the next word is up to it.`,
  );
  for (const line of lines) $("about").append(paragraph(line));
  const list = document.createElement("p");
  list.append("The same sessions for programs: ", link("api/sessions"), ", ", link("api/openapi.json"), ".");
  $("about").append(list);
  put($("code"), facts.code);
  showReading(facts.documentation);
  if (redis) $("about").append(paragraph("In a terminal:"), code(`streamhub ls --redis '${redis.url}'`));
  return facts;
}

function showReading(documentation) {
  const install = document.createElement("code");
  install.textContent = 'pip install "streamhub-llm[fastapi]"';
  $("reading").append("Ten minutes from nothing: ", install, " and ");
  if (documentation.length === 0) {
    $("reading").append("docs/start.md of the repository that this was installed from.");
    return;
  }
  documentation.forEach(({ name, url }, index) => {
    const made = document.createElement("a");
    made.href = url;
    made.target = "_blank";
    made.rel = "noopener";
    made.textContent = name;
    $("reading").append(index === 0 ? "" : " · ", made);
  });
}

async function copy() {
  try {
    await navigator.clipboard.writeText(about.code);
    $("copy").textContent = "Copied";
    setTimeout(() => ($("copy").textContent = "Copy"), 2000);
  } catch {
    // No browser has to allow it: then the text is marked, to be copied by hand.
    getSelection().selectAllChildren($("code"));
  }
}

function paragraph(text) {
  const made = document.createElement("p");
  made.textContent = text;
  return made;
}

function code(text) {
  const made = document.createElement("pre");
  made.textContent = text;
  return made;
}

function link(path) {
  const made = document.createElement("a");
  made.href = path;
  made.textContent = `/${path}`;
  return made;
}

function alarm(text) {
  $("alarm").hidden = text === null;
  if (text !== null) put($("alarm"), text);
}

/** Set a text only if it is another: screen readers and selections stay undisturbed. */
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function isNearEnd() {
  const box = $("scroller");
  return box.scrollHeight - box.scrollTop - box.clientHeight < 160;
}

function stayAtEnd(always) {
  if (always || isNearEnd()) $("scroller").scrollTop = $("scroller").scrollHeight;
}

const short = (generation) => `…${generation.slice(-8)}`;
const capital = (text) => text[0].toUpperCase() + text.slice(1);

// -- what one does --------------------------------------------------------------------------------

async function ask(question) {
  if (!question.trim() || asking || running()) return;
  asking = true;
  show();
  try {
    await post(`chats/${chat}/ask`, { question });
    $("question").value = "";
    fit();
    // What was pressed is gone. On a touch screen this would bring up the keyboard.
    if (matchMedia("(pointer: fine)").matches) $("question").focus();
  } catch (error) {
    log("bad", `Could not ask: ${error.message}`);
    alarm(`Could not ask: ${error.message}`);
  } finally {
    asking = false;
    hurry();
  }
}

/** Do something to the running answer, and say what it is. */
async function act(path, what) {
  log("act", what);
  try {
    await post(path);
  } catch (error) {
    log("bad", `That did not work: ${error.message}`);
  }
  hurry();
}

function fit() {
  const box = $("question");
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, 160)}px`;
}

function chatOfThisPage() {
  const address = new URL(location.href);
  const given = address.searchParams.get("chat");
  if (given && /^[\w-]{1,64}$/.test(given)) return given;
  const made = crypto.randomUUID().slice(0, 8);
  address.searchParams.set("chat", made);
  history.replaceState(null, "", address);
  return made;
}

$("composer").addEventListener("submit", (event) => (event.preventDefault(), ask($("question").value)));
$("question").addEventListener("input", fit);
$("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask($("question").value);
});
$("suggestions").addEventListener("click", ({ target }) => target.closest("button") && ask(target.textContent));
$("reload").addEventListener("click", () => location.reload());
$("second").addEventListener("click", () => window.open(location.href, "_blank"));
$("cut").addEventListener("click", () => act(`tabs/${tab}/cut`, "You cut this tab's connection."));
$("crash").addEventListener("click", () => act("producer/crash", `You crash ${producerNow?.name}: ${about.crash}.`));
$("copy").addEventListener("click", copy);
$("stop").addEventListener("click", () => {
  const answer = running();
  if (answer) act(`answers/${encodeURIComponent(answer.session)}/stop`, "You ask it to stop.");
});

// On a wide screen the panel is always open.
const wide = matchMedia("(min-width: 62rem)");
const fold = () => {
  $("panel").open = wide.matches;
  $("fold").tabIndex = wide.matches ? -1 : 0;
};
const showFold = () => {
  $("fold").setAttribute("aria-expanded", $("panel").open);
  $("opens").textContent = $("panel").open ? "Hide" : "Show";
};
$("panel").addEventListener("toggle", showFold);
wide.addEventListener("change", fold);
fold();
showFold();

watch();
