// The stock clients of Durable Streams, as an application uses them that goes on after a cut.

import { DurableStream, stream } from "@durable-streams/client";
import { durableStreamConnection } from "@durable-streams/tanstack-ai-transport";

const followed = {};
const pause = () => new Promise((resolve) => setTimeout(resolve, 10));

// Each puts what comes into `one.items`, and keeps in `one.offset` where it stands.
const FOLLOW = {
  async client(one) {
    const response = await stream({ url: one.url, offset: one.offset, live: one.live });
    const subscribe = one.text ? "subscribeText" : "subscribeJson";
    // `closed` may come before the last batch has; and without one that is closed, at a connection
    // that was too short.
    await new Promise((resolve, reject) => {
      response[subscribe](async (batch) => {
        one.items.push(...(one.text ? [batch.text].filter(Boolean) : batch.items));
        one.offset = batch.offset;
        if (batch.streamClosed) resolve();
      });
      response.closed.then(() => response.streamClosed || resolve(), reject);
    });
    one.closed = response.streamClosed;
  },
  // It keeps the offset itself.
  async tanstack(one) {
    one.connection ??= durableStreamConnection({
      sendUrl: one.url,
      readUrl: one.url,
      initialOffset: "-1",
    });
    for await (const event of one.connection.subscribe()) one.items.push(event);
    one.closed = true;
  },
};

async function follow(one) {
  while (true) {
    try {
      await FOLLOW[one.kind](one);
      if (one.closed) return;
    } catch (error) {
      // What the server has said is for the application; a connection that broke is not.
      if (error.status !== undefined) {
        one.refused = error.status;
        return;
      }
    }
    one.cuts += 1;
    await pause();
  }
}

export const calls = {
  async "durable/open"({ name, kind, url, live, text }) {
    const one = { kind, url, live, text, items: [], offset: "-1", cuts: 0 };
    followed[name] = one;
    one.over = follow(one);
  },
  async "durable/shown"({ name, text }) {
    while (!JSON.stringify(followed[name].items).includes(text)) await pause();
  },
  async "durable/over"({ name }) {
    await followed[name].over;
    const { items, closed, refused, offset, cuts } = followed[name];
    return { items, closed, refused, offset, cuts };
  },
  async "durable/resume"({ name }) {
    const one = followed[name];
    delete one.refused;
    one.over = follow(one);
  },
  async "durable/head"({ url }) {
    return await DurableStream.head({ url });
  },
};
