// The stock clients, driven over stdin: a JSON object a line with `id`, `call` and its arguments; each
// is answered with a line of `id` and `value` or `error`. One process takes many cases.

import { createInterface } from "node:readline";
import { WorkflowChatTransport } from "@ai-sdk/workflow/client";
import {
  AbstractAgent,
  HttpAgent,
} from "@ag-ui/client";
import { ChatClient, StreamProcessor, fetchHttpStream, fetchServerSentEvents, webSocket } from "@tanstack/ai-client";
import { AbstractChat, WebSocketChatTransport, parseJsonEventStream, uiMessageChunkSchema } from "ai";
import { Observable } from "rxjs";

const warnings = [];
console.warn = (...words) => warnings.push(words.join(" "));
console.error = (...words) => warnings.push(words.join(" "));

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

const calls = {
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
