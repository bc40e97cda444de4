"""A LangGraph agent that asks before it acts, and waits for the answer as long as it takes."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent import builder
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command
from streamhub import Hub, HubConfig, LiveStream, LostSession, sources
from streamhub.http import SSEResponse, lifespan

LEASE = 5.0  # seconds after which it shows that a server was killed

config = HubConfig(lease=LEASE)
hub = Hub.from_url(os.environ.get("STREAMHUB_URL", "memory://"), config=config)


async def answer(stream: LiveStream) -> None:
    """Run the graph; where it asks, wait for the user's word, and go on with that."""
    graph, thread = app.state.graph, {"configurable": {"thread_id": stream.stream_id}}
    begun = (await graph.aget_state(thread)).created_at is not None
    question = (await stream.metadata())["question"]
    # What a server has begun that is gone goes on where its checkpoints end.
    given: Any = None if begun else {"messages": [("user", question)]}
    inbox = aiter(stream.inbox())
    while True:
        modes = ["messages", "updates"]
        async for part in sources.langgraph(graph.astream(given, thread, stream_mode=modes)):
            await stream.publish(part)
        waiting = {one.id for one in (await graph.aget_state(thread)).interrupts}
        if not waiting:
            return
        while (message := await anext(inbox, None)) is not None and message.event not in waiting:
            message.done()  # an answer to what was asked before
        if message is None:
            return  # stopped
        given = Command(resume={message.event: message.data == "yes"})
        message.done()


async def resume(lost: LostSession) -> Callable[[LiveStream], Awaitable[None]]:
    return answer


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncSqliteSaver.from_conn_string("threads.db") as threads:
        app.state.graph = builder.compile(checkpointer=threads)
        async with lifespan(hub)(app), hub.supervise(resume):
            yield


app = FastAPI(lifespan=running)


@app.get("/")
async def page() -> FileResponse:
    return FileResponse(Path(__file__).with_name("page.html"))


@app.post("/chats/{chat}")
async def ask(chat: str, question: str) -> dict[str, bool]:
    stream = await hub.run(f"chat:{chat}", answer, metadata={"question": question})
    return {"begun": stream.generation is not None}


@app.get("/chats/{chat}/answer")
async def read(chat: str) -> SSEResponse:
    return SSEResponse(hub.get(f"chat:{chat}", wait=5))


@app.post("/chats/{chat}/approvals/{question}")
async def decide(chat: str, question: str, approved: bool) -> None:
    stream = await hub.get(f"chat:{chat}")
    if stream is None:
        raise HTTPException(404)
    # With a key, so that a button that is pressed twice is one answer.
    await stream.send("yes" if approved else "no", question, key=question)
