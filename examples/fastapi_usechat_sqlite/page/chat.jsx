// The chat that `?chat=` names: what has been kept of it, and the answer that is being written.

import { useChat } from "@ai-sdk/react"
import { createRoot } from "react-dom/client"

function Chat({ id, kept }) {
  const chat = useChat({ id, messages: kept, resume: true })
  // Of what is kept: an answer that the hub still has takes the place of the kept one.
  const ended = Object.fromEntries(kept.map((message) => [message.id, message.metadata?.status]))
  // It stops the producer, wherever that runs; `chat.stop()` alone stops reading.
  const stop = () => fetch(`/api/chat/${id}/stop`, { method: "POST" })

  function ask(event) {
    event.preventDefault()
    chat.sendMessage({ text: new FormData(event.target).get("question") })
  }

  return (
    <>
      {chat.messages.map((message) => (
        <article key={message.id} data-role={message.role}>
          <b>{message.role}</b>{" "}
          <span>{message.parts.map((part) => (part.type === "text" ? part.text : ""))}</span>{" "}
          <i>{ended[message.id]}</i>
        </article>
      ))}
      <p id="status">{chat.status}</p>
      <p id="error">{chat.error?.message}</p>
      <form onSubmit={ask}>
        <input name="question" defaultValue="Why?" />
        <button>Ask</button>
        <button type="button" onClick={stop}>Stop</button>
      </form>
    </>
  )
}

function Login() {
  async function logIn(event) {
    event.preventDefault()
    await fetch("/login?" + new URLSearchParams(new FormData(event.target)), { method: "POST" })
    location.reload()
  }
  return (
    <form onSubmit={logIn}>
      <input name="name" placeholder="Your name" />
      <button>Log in</button>
    </form>
  )
}

const address = new URL(location)
if (!address.searchParams.has("chat")) {
  address.searchParams.set("chat", Math.random().toString(36).slice(2))
  history.replaceState(null, "", address)
}
const id = address.searchParams.get("chat")
const root = createRoot(document.querySelector("#root"))
const answer = await fetch(`/chats/${id}`)
if (answer.ok) root.render(<Chat id={id} kept={await answer.json()} />)
else root.render(answer.status === 401 ? <Login /> : <p>There is no such chat.</p>)
