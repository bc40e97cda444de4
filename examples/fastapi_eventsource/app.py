"""A chat whose answers survive a reload: FastAPI, and an EventSource in the browser."""

import asyncio
import os
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse
from streamhub import Hub, sources
from streamhub.http import SSEResponse, lifespan
from streamhub.parts import AnyPart

PAUSE = 0.25  # seconds between two words of the scripted model

hub = Hub.from_url(os.environ.get("STREAMHUB_URL", "memory://"))
app = FastAPI(lifespan=lifespan(hub))  # closes the hub when the server is told to stop


async def scripted(question: str) -> AsyncIterator[str]:
    """A model that needs no key, and numbers what it says."""
    for n in range(1, 61):
        yield f"{n}. {question} "
        await asyncio.sleep(PAUSE)


@cache
def client() -> Any:
    from openai import AsyncOpenAI

    return AsyncOpenAI()


def model(question: str) -> AsyncIterator[str | AnyPart]:
    """The answer to a question, as it comes. Your model goes here."""
    name = os.environ.get("MODEL")
    if name is None:
        return scripted(question)
    asked = [{"role": "user", "content": question}]
    return sources.openai(client().chat.completions.create(model=name, messages=asked, stream=True))


@app.get("/")
async def page() -> FileResponse:
    return FileResponse(Path(__file__).with_name("page.html"))


@app.post("/chats/{chat}")
async def ask(chat: str, question: str) -> dict[str, bool]:
    # Returns at once; the answer goes on without this request. Who asks while one is being
    # written gets that one.
    stream = await hub.run(f"chat:{chat}", model(question))
    return {"begun": stream.generation is not None}


@app.get("/chats/{chat}/answers")
async def answers(chat: str) -> SSEResponse:
    # What was missed, then what comes, then the next answer; the first one, too, once it is asked.
    return SSEResponse(hub.get(f"chat:{chat}", wait=30), follow_next=True)


@app.post("/chats/{chat}/stop")
async def stop(chat: str) -> None:
    stream = await hub.get(f"chat:{chat}")
    if stream is not None:
        await stream.cancel()
