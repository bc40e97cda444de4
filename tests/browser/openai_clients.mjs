// OpenAI's own clients of two generations, driven over stdin as the clients of clients.mjs are.

import { createInterface } from "node:readline";
import OpenAI7 from "openai";
import OpenAI6 from "openai-6";

const CLIENTS = { "openai-6": OpenAI6, "openai-7": OpenAI7 };

function client({ version, url, key = "sk-one", headers }) {
  return new CLIENTS[version]({ baseURL: url, apiKey: key, maxRetries: 0, defaultHeaders: headers });
}

// The events of a stream; of the first `take` only, after which its client hangs up.
async function read(stream, take = Infinity) {
  const events = [];
  for await (const event of stream) {
    events.push(event);
    if (events.length >= take) break;
  }
  return events;
}

const calls = {
  async "responses/create"({ asked, ...given }) {
    return client(given).responses.create(asked);
  },
  async "responses/events"({ asked, take, ...given }) {
    return read(await client(given).responses.create({ ...asked, stream: true }), take);
  },
  // What the package's accumulator makes of a stream: of a new answer, or of one that is taken up.
  async "responses/accumulated"({ asked, ...given }) {
    const stream = client(given).responses.stream(asked);
    const events = await read(stream);
    return { events, final: await stream.finalResponse() };
  },
  async "responses/resumed"({ response, after, take, ...given }) {
    const query = { stream: true, starting_after: after };
    return read(await client(given).responses.retrieve(response, query), take);
  },
  async "responses/retrieve"({ response, ...given }) {
    return client(given).responses.retrieve(response);
  },
  async "responses/cancel"({ response, ...given }) {
    return client(given).responses.cancel(response);
  },
  async "chat/events"({ asked, take, ...given }) {
    return read(await client(given).chat.completions.create({ ...asked, stream: true }), take);
  },
  async "chat/accumulated"({ asked, ...given }) {
    return client(given).chat.completions.stream(asked).finalChatCompletion();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, call, ...given } = JSON.parse(line);
  calls[call](given).then(
    (value) => process.stdout.write(JSON.stringify({ id, value }) + "\n"),
    ({ name, message, status, code }) => {
      const error = JSON.stringify({ name, message, status, code });
      process.stdout.write(JSON.stringify({ id, error }) + "\n");
    },
  );
}
