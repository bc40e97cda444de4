// A chat as an application of the AI SDK has it: `useChat`, its default transport, and messages that
// are kept between visits. `?chat=` names the chat.

import { useChat } from "@ai-sdk/react";
import { lastAssistantMessageIsCompleteWithToolCalls } from "ai";
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

const chat = new URLSearchParams(location.search).get("chat");
const kept = JSON.parse(localStorage.getItem(chat) ?? "[]");

function Chat() {
  const { messages, sendMessage, addToolOutput, status, error } = useChat({
    id: chat,
    messages: kept,
    resume: true,
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
  });
  const [stopped, setStopped] = useState();
  useEffect(() => {
    if (messages.length) localStorage.setItem(chat, JSON.stringify(messages));
  }, [messages]);

  async function stop() {
    const path = `/api/chat/${encodeURIComponent(chat)}/stop`;
    const answer = await fetch(path, { method: "POST" });
    setStopped(answer.status);
  }

  return (
    <main>
      <p id="status">{status}</p>
      <p id="error">{error?.message}</p>
      <p id="stopped">{stopped}</p>
      {messages.map((message, index) => (
        <article key={index} data-role={message.role} data-id={message.id}>
          {message.parts.map((part, number) => (
            <Part key={number} part={part} />
          ))}
        </article>
      ))}
      <button id="send" onClick={() => sendMessage({ text: "Hello?" })}>Send</button>
      <button id="stop" onClick={stop}>Stop</button>
      <button
        id="place"
        onClick={() => addToolOutput({ tool: "place", toolCallId: "t1", output: "Oslo" })}
      >
        Tell the place
      </button>
    </main>
  );
}

function Part({ part }) {
  if (part.type === "text") return <p data-part="text" data-state={part.state}>{part.text}</p>;
  if (part.type === "step-start") return null;
  return <pre data-part={part.type}>{JSON.stringify(part.data ?? part)}</pre>;
}

createRoot(document.querySelector("#root")).render(<Chat />);
