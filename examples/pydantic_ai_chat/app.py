"""A chat with an agent of Pydantic AI, which has a tool and remembers what was said."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from pydantic_ai import Agent, ModelMessagesTypeAdapter
from pydantic_ai.models.function import DeltaToolCall, FunctionModel
from streamhub import Hub, sources
from streamhub.http import SSEResponse, lifespan

PAUSE = 0.25  # seconds between two words of the scripted model
DATABASE = Path("chats.db")

hub = Hub.from_url(os.environ.get("STREAMHUB_URL", "memory://"))
app = FastAPI(lifespan=lifespan(hub))  # closes the hub when the server is told to stop


async def scripted(messages: list[Any], info: Any) -> AsyncIterator[Any]:
    """A model that needs no key: it calls the tool, and counts the questions that it knows."""
    asked = [part for one in messages for part in one.parts if part.part_kind == "user-prompt"]
    last = messages[-1].parts[-1]
    if last is asked[-1]:
        name, city = "weather", '{"city": "Oslo"}'
        yield {0: DeltaToolCall(name, city, tool_call_id=f"call-{len(asked)}")}
        return
    for word in f"In Oslo it is {last.content}. That was question {len(asked)}.".split():
        await asyncio.sleep(PAUSE)
        yield f"{word} "


# MODEL=openai:gpt-5 asks a real one.
agent = Agent(os.environ.get("MODEL") or FunctionModel(stream_function=scripted))


@agent.tool_plain
def weather(city: str) -> str:
    """The weather in a city."""
    return "raining" if city == "Bergen" else "sunny"


def history(chat: str) -> bytes:
    """What was said in the chat, as Pydantic AI dumps it."""
    with closing(sqlite3.connect(DATABASE)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS chats (chat PRIMARY KEY, messages)")
        known = database.execute("SELECT messages FROM chats WHERE chat = ?", [chat]).fetchone()
    return known[0] if known else b"[]"


def remember(chat: str, messages: bytes) -> None:
    with closing(sqlite3.connect(DATABASE)) as database, database:
        database.execute("INSERT OR REPLACE INTO chats VALUES (?, ?)", [chat, messages])


@asynccontextmanager
async def turn(chat: str, question: str) -> AsyncIterator[Any]:
    """A run of the agent that knows what was said before, and is kept once it is complete.

    It is entered by who has claimed the chat's session, so that no two turns of a chat are
    written at a time.
    """
    before = ModelMessagesTypeAdapter.validate_json(await asyncio.to_thread(history, chat))
    async with agent.iter(question, message_history=before) as run:
        yield run
        await asyncio.to_thread(remember, chat, run.result.all_messages_json())


@app.post("/chats/{chat}")
async def ask(chat: str, question: str) -> None:
    stream = await hub.run(f"chat:{chat}", sources.pydantic_ai(turn(chat, question)))
    if stream.generation is None:
        raise HTTPException(409, "the answer before is still being written")


@app.get("/chats/{chat}/answer")
async def answer(chat: str) -> SSEResponse:
    return SSEResponse(hub.get(f"chat:{chat}", wait=5))


@app.post("/chats/{chat}/stop")
async def stop(chat: str) -> None:
    stream = await hub.get(f"chat:{chat}")
    if stream is not None:
        await stream.cancel()


@app.get("/chats/{chat}/history")
async def messages(chat: str) -> Response:
    return Response(await asyncio.to_thread(history, chat), media_type="application/json")
