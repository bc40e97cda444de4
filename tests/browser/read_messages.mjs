// What the AI SDK's own client makes of responses: for each line of stdin, an object with the bytes
// of one as `body`, a line with the message, as JSON text, and with the errors that it has told.
import { createInterface } from "node:readline";
import { DefaultChatTransport, readUIMessageStream } from "ai";

async function read(body) {
  const errors = [];
  const fetch = async () =>
    new Response(body, { headers: { "content-type": "text/event-stream" } });
  const transport = new DefaultChatTransport({ api: "http://unused", fetch });
  const stream = await transport.sendMessages({
    chatId: "c",
    messages: [],
    trigger: "submit-message",
  });
  // A step that has just begun is shown with what comes next.
  const last = new TransformStream({
    flush: (controller) => controller.enqueue({ type: "data-last", data: null }),
  });
  let message = null;
  const told = (error) => errors.push(String(error?.message ?? error));
  for await (const one of readUIMessageStream({ stream: stream.pipeThrough(last), onError: told })) {
    message = one;
  }
  message.parts.pop();
  return { message: JSON.stringify(message), errors };
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await read(JSON.parse(line).body)));
}
