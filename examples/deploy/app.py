"""A web application that is deployed in the middle of answers, without that its readers notice."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from fastapi import FastAPI
from streamhub import Hub, HubConfig, LostSession, sources
from streamhub.http import SSEResponse, lifespan

PAUSE = 0.25  # seconds between two words of the scripted model
LEASE = 15.0  # seconds after which it shows that an instance was killed
DRAIN = 20.0  # seconds that answers get to end by themselves, once the instance is told to stop

url = os.environ.get("STREAMHUB_URL", "redis://localhost:6379/0")
hub = Hub.from_url(url, config=HubConfig(lease=LEASE))


async def scripted(question: str, said: str) -> AsyncIterator[str]:
    """A model that needs no key, and numbers what it says."""
    for n in range(said.count(question) + 1, 201):
        yield f"{n}. {question} "
        await asyncio.sleep(PAUSE)


@cache
def client() -> Any:
    from openai import AsyncOpenAI

    return AsyncOpenAI()


def model(question: str, said: str = "") -> AsyncIterator[Any]:
    """What is to be said after ``said``. Your model goes here."""
    name = os.environ.get("MODEL")
    if name is None:
        return scripted(question, said)
    asked = [{"role": "user", "content": question}]
    if said:
        asked.append({"role": "user", "content": f"You were cut off after this, go on: {said}"})
    return sources.openai(client().chat.completions.create(model=name, messages=asked, stream=True))


async def resume(lost: LostSession) -> AsyncIterator[Any]:
    """An instance was replaced or killed: what it was writing goes on here."""
    return model(lost.metadata["question"], lost.text)


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    async with lifespan(hub, drain=DRAIN)(app), hub.supervise(resume):
        yield


app = FastAPI(lifespan=running)


@app.get("/health")
async def health() -> dict[str, str]:
    # Of this process alone. A store that is away is no reason to stop it, nor to send it no
    # requests: it tells clients when to come again, which who stands in front of it would not.
    return {"status": "ok"}


@app.post("/chats/{chat}")
async def ask(chat: str, question: str) -> dict[str, bool]:
    about = {"question": question}
    stream = await hub.run(f"chat:{chat}", model(question), metadata=about)
    return {"begun": stream.generation is not None}


@app.get("/chats/{chat}/answer")
async def answer(chat: str) -> SSEResponse:
    return SSEResponse(hub.get(f"chat:{chat}", wait=5))


@app.post("/chats/{chat}/stop")
async def stop(chat: str) -> dict[str, str]:
    stream = await hub.get(f"chat:{chat}")
    return {"status": "unknown" if stream is None else await stream.cancel(wait=5)}
