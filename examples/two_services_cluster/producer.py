"""The service that asks the model. Nobody reads from it: what it says goes into the cluster."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from fastapi import FastAPI
from streamhub import Hub, HubConfig, LostSession, sources
from streamhub.http import lifespan

PAUSE = 0.25  # seconds between two words of the scripted model
LEASE = 5.0  # seconds after which it shows that a producer was killed

url = os.environ.get("STREAMHUB_URL", "redis+cluster://127.0.0.1:7001,127.0.0.1:7002")
hub = Hub.from_url(url, config=HubConfig(lease=LEASE))


async def scripted(question: str, said: str) -> AsyncIterator[str]:
    """A model that needs no key, and numbers what it says."""
    for n in range(said.count(question) + 1, 61):
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
    """Another instance was killed, or deployed away."""
    return model(lost.metadata["question"], lost.text)


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    async with lifespan(hub)(app), hub.supervise(resume):
        yield


app = FastAPI(lifespan=running)


@app.post("/answers/{chat}")
async def begin(chat: str, question: str) -> dict[str, bool]:
    about = {"question": question}
    stream = await hub.run(f"chat:{chat}", model(question), metadata=about)
    return {"begun": stream.generation is not None}
