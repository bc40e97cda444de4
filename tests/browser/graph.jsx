// A chat on a graph as an application of LangGraph has it: `useStream`, which keeps its thread's id in
// the address and comes back to a run after a reload.

import { useStream } from "@langchain/langgraph-sdk/react";
import { createRoot } from "react-dom/client";
import { useState } from "react";

function Chat() {
  const [threadId, setThreadId] = useState(() => location.hash.slice(1) || null);
  const stream = useStream({
    apiUrl: location.origin,
    assistantId: "agent",
    threadId,
    onThreadId: (id) => {
      location.hash = id;
      setThreadId(id);
    },
    reconnectOnMount: true,
  });
  return (
    <main>
      <p id="status">{stream.isLoading ? "streaming" : "ready"}</p>
      <p id="error">{stream.error?.message}</p>
      <pre id="interrupt">{stream.interrupt && JSON.stringify(stream.interrupt.value)}</pre>
      {stream.messages.map((message, index) => (
        <p key={index} data-type={message.type}>{message.content}</p>
      ))}
      <button
        id="send"
        onClick={() => stream.submit({ messages: [{ type: "human", content: "Hello?" }] })}
      >
        Send
      </button>
      <button id="approve" onClick={() => stream.submit(undefined, { command: { resume: "yes" } })}>
        Approve
      </button>
      <button id="stop" onClick={() => stream.stop()}>Stop</button>
    </main>
  );
}

createRoot(document.querySelector("#root")).render(<Chat />);
