// The stock clients, driven over stdin: a JSON object a line with `id`, `call` and its arguments; each
// is answered with a line of `id` and `value` or `error`. One process takes many cases.

import { createInterface } from "node:readline";
import { WorkflowChatTransport } from "@ai-sdk/workflow/client";
import { HttpAgent } from "@ag-ui/client";
import { ChatClient, fetchHttpStream, fetchServerSentEvents, webSocket } from "@tanstack/ai-client";
import {
  AbstractChat,
  DefaultChatTransport,
  WebSocketChatTransport,
  lastAssistantMessageIsCompleteWithApprovalResponses,
  parseJsonEventStream,
  uiMessageChunkSchema,
} from "ai";
import { createDurableChatTransport } from "@durable-streams/aisdk-transport";
import * as durable from "./durable_clients.mjs";

const warnings = [];
console.warn = (...words) => warnings.push(words.join(" "));
console.error = (...words) => warnings.push(words.join(" "));
// What an application would see in its console.
process.on("unhandledRejection", (error) => warnings.push(`unhandled: ${error?.stack ?? error}`));

// What a page keeps: useChat of any framework hands it to AbstractChat.
class Kept {
  messages = [];
  status = "ready";
  error = undefined;
  pushMessage = (message) => { this.messages = [...this.messages, message]; };
  popMessage = () => { this.messages = this.messages.slice(0, -1); };
  replaceMessage = (index, message) => {
    this.messages = this.messages.map((one, n) => (n === index ? structuredClone(message) : one));
  };
  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {
  constructor({ messages = [], ...options }) {
    super({ ...options, state: Object.assign(new Kept(), { messages }) });
  }
}

const TRANSPORTS = {
  default: (url) => new DefaultChatTransport({ api: `${url}/api/chat` }),
  websocket: (url) => new WebSocketChatTransport({ url: `${url}/api/chat` }),
  workflow: (url) => new WorkflowChatTransport({ api: `${url}/api/chat` }),
  durable: (url) => createDurableChatTransport({ api: `${url}/api/chat` }),
};
const ADAPTERS = {
  "tanstack-sse": (url) => fetchServerSentEvents(`${url}/api/agent`, { reconnect: { delayMs: 20 } }),
  "tanstack-ndjson": (url) =>
    fetchHttpStream(`${url}/api/agent?format=ndjson`, { reconnect: { delayMs: 20 } }),
  "tanstack-websocket": (url) =>
    webSocket(`${url.replace("http", "ws")}/api/agent`, { reconnect: { delayMs: 20 } }),
};
const opened = {};

// Each has: messages(), resume(), stop(), and `over`, a promise of its first response's end.
const KINDS = {
  chat(kind, name, url) {
    const chat = new Chat({
      id: name,
      transport: TRANSPORTS[kind](url),
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
    });
    return {
      chat,
      over: chat.sendMessage({ text: name }),
      messages: () => chat.messages.slice(1),
      error: () => chat.error?.message,
      stop: () => chat.stop(),
      resume: () => chat.resumeStream(),
      broken: () => chat.status === "error",
      approve: (id, approved) => chat.addToolApprovalResponse({ id, approved }),
      close: () => chat.dispose(),
    };
  },
  tanstack(kind, name, url) {
    const client = new ChatClient({ connection: ADAPTERS[kind](url), threadId: name });
    return {
      over: client.sendMessage(name),
      messages: () => client.getMessages().slice(1),
      error: () => client.getError()?.message,
      stop: async () => client.stop(),
      close: async () => client.dispose?.(),
    };
  },
  agui(kind, name, url) {
    const agent = new HttpAgent({ url: `${url}/api/agent`, threadId: name });
    agent.addMessage({ id: "1", role: "user", content: name });
    let error;
    return {
      over: agent.runAgent().catch((raised) => (error = raised.message)),
      messages: () => agent.messages.slice(1),
      error: () => error,
      close: async () => {},
    };
  },
};

async function until(seen) {
  while (!seen()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const calls = {
  ...durable.calls,
  // A client on a real server.
  async open({ kind, name, url }) {
    const family = kind in TRANSPORTS ? "chat" : kind.split("-")[0];
    opened[name] = KINDS[family](kind, name, url);
    opened[name].over.catch(() => {});
  },
  async shown({ name, text }) {
    await until(() => JSON.stringify(opened[name].messages()).includes(text));
  },
  // As an application resumes a chat that has lost its connection.
  async resume({ name }) {
    await until(() => opened[name].broken());
    opened[name].over = opened[name].resume();
  },
  async stop({ name }) {
    await opened[name].stop();
  },
  // Like `shown`, for a chat that resumes whenever it has lost its connection.
  async "shown/resuming"({ name, text }) {
    const one = opened[name];
    await until(() => {
      if (one.broken() && !one.resuming) {
        one.resuming = true;
        one.over = one.resume().finally(() => (one.resuming = false));
      }
      return JSON.stringify(one.messages()).includes(text);
    });
  },
  async approve({ name, approval, approved }) {
    await opened[name].approve(approval, approved);
  },
  async over({ name }) {
    await opened[name].over;
    return { messages: opened[name].messages(), error: opened[name].error() };
  },
  async close({ name }) {
    await opened[name].close();
    delete opened[name];
  },
  // The connections that were cut are not in the pool any more.
  async reach({ url }) {
    while (!(await fetch(url).catch(() => null))) await new Promise((done) => setTimeout(done, 5));
  },
  async warnings() {
    return warnings.splice(0);
  },
  // The law: what a parser makes of the events of `pieces`, each of which is a response.
  async "ui/parsed"({ pieces, message }) {
    // Each response is a replay: the last one counts.
    const transport = {
      resumeStreamIsReplay: true,
      sendMessages: async () => chunksOf(pieces[0]),
      reconnectToStream: async () => chunksOf(pieces.at(-1)),
    };
    const chat = new Chat({ id: "c", transport, messages: message ? [message] : [] });
    await chat.sendMessage({ text: "?" });
    if (pieces.length > 1) await chat.resumeStream();
    return { messages: chat.messages.slice(1), error: chat.error?.message };
  },
  async "workflow/parsed"({ pieces, startIndex }) {
    // A response that is cut off errors; the transport asks again by itself.
    warnings.length = 0;
    const asked = [];
    const fetch = async (url) => {
      const place = new URL(url, "http://x").searchParams.get("startIndex");
      asked.push(place);
      const { text, headers = {} } = pieces[asked.length - 1];
      return new Response(text, { headers: { "x-workflow-run-id": "r", ...headers } });
    };
    const transport = new WorkflowChatTransport({ api: "http://x/api", fetch, initialStartIndex: startIndex });
    const chat = new Chat({ id: "c", transport });
    if (startIndex === undefined) await chat.sendMessage({ text: "?" });
    else await chat.resumeStream();
    const messages = chat.messages.filter((one) => one.role === "assistant");
    return { messages, error: chat.error?.message, asked, warnings: [...warnings] };
  },
  async "agui/parsed"({ pieces }) {
    // Each response is a run of its own to the verifier, on the messages that there are.
    warnings.length = 0;
    let number = 0;
    const agent = new HttpAgent({ url: "http://x", fetch: async () => sse(pieces[number++]) });
    let error;
    for (let n = 0; n < pieces.length; n++) {
      const last = n === pieces.length - 1;
      try {
        await agent.runAgent({ runId: "r" });
      } catch (raised) {
        if (last) error = raised.message;
      }
    }
    return { messages: agent.messages, error, warnings: [...warnings] };
  },
  async "tanstack/parsed"({ pieces, lines }) {
    // The adapter asks again by itself after a cut.
    warnings.length = 0;
    const asked = [];
    const adapter = lines ? fetchHttpStream : fetchServerSentEvents;
    const fetchClient = async (url, init) => {
      asked.push(init.headers["Last-Event-ID"] ?? null);
      return sse(pieces[asked.length - 1], asked.length < pieces.length);
    };
    const connection = adapter("http://x/api", { fetchClient, reconnect: { delayMs: 0 } });
    const client = new ChatClient({ connection, threadId: "t" });
    await client.sendMessage("?");
    const messages = client.getMessages().slice(1).map(({ createdAt, ...message }) => message);
    return { messages, error: client.getError()?.message, asked, warnings: [...warnings] };
  },
};

function chunksOf(text) {
  return parseJsonEventStream({ stream: new Response(text).body, schema: uiMessageChunkSchema })
    .pipeThrough(new TransformStream({
      transform(part, controller) {
        if (!part.success) throw part.error;
        controller.enqueue(part.value);
      },
    }));
}

function sse(text, cut = false) {
  const bytes = new TextEncoder().encode(text);
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(bytes);
      if (cut) setTimeout(() => controller.error(new TypeError("network error")));
      else controller.close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, call, ...given } = JSON.parse(line);
  calls[call](given).then(
    (value) => process.stdout.write(JSON.stringify({ id, value }) + "\n"),
    (error) => process.stdout.write(JSON.stringify({ id, error: error.stack ?? String(error) }) + "\n"),
  );
}
// Nobody asks any more, whatever is still being tried.
process.exit();
