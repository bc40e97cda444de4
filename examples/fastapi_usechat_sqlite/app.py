"""A chat with ``useChat`` whose messages SQLite keeps: each answer once, as what it ended."""

import asyncio
import json
import logging
import os
import secrets
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.staticfiles import StaticFiles
from streamhub import End, Hub, HubClosed, HubConfig, LiveStream, StoreUnavailable, sources
from streamhub.http import chat_router, lifespan
from streamhub.sources import ProviderStream

PAUSE = 0.25  # seconds between two words of the scripted model
LEASE = 15.0  # seconds after which a producer that was killed counts as dead
FOLDER = Path(__file__).parent

logger = logging.getLogger(__name__)

hub = Hub.from_url(os.environ.get("STREAMHUB_URL", "memory://"), config=HubConfig(lease=LEASE))

database = sqlite3.connect(FOLDER / "chat.db", isolation_level=None)
database.executescript("""
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS logins (token TEXT PRIMARY KEY, user TEXT);
CREATE TABLE IF NOT EXISTS chats (id TEXT PRIMARY KEY, user TEXT);
CREATE TABLE IF NOT EXISTS questions (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE, chat TEXT, message TEXT
);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, question TEXT, status TEXT, message TEXT, ended REAL
);
""")


# Who asks, and whose a chat is.


def user_of(request: Request) -> str | None:
    token = request.cookies.get("login", "")
    row = database.execute("SELECT user FROM logins WHERE token = ?", [token]).fetchone()
    return row[0] if row else None


def owner_of(chat: str) -> str | None:
    row = database.execute("SELECT user FROM chats WHERE id = ?", [chat]).fetchone()
    return row[0] if row else None


def is_allowed(request: Request, session_id: str, action: str) -> bool:
    """Whether a chat is the user's: it belongs to who has asked in it first."""
    user, chat = user_of(request), session_id.removeprefix("chat:")
    if user is None:
        return False
    if action == "produce":
        database.execute("INSERT OR IGNORE INTO chats VALUES (?, ?)", [chat, user])
    return owner_of(chat) == user


# The model, and what is kept of it.


async def scripted(question: str) -> AsyncGenerator[str, None]:
    """A model that needs no key, and numbers what it says."""
    for n in range(1, 61):
        yield f"{n}. {question} "
        await asyncio.sleep(PAUSE)


@cache
def client() -> Any:
    from openai import AsyncOpenAI

    return AsyncOpenAI()


def model(messages: list[dict[str, Any]]) -> AsyncGenerator[str, None] | ProviderStream:
    """The answer to the last message, as it comes. Your model goes here."""
    asked = [{"role": one["role"], "content": text_of(one)} for one in messages]
    name = os.environ.get("MODEL")
    if name is None:
        return scripted(asked[-1]["content"])
    return sources.openai(client().chat.completions.create(model=name, messages=asked, stream=True))


def text_of(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


def answer(body: dict[str, Any]) -> Callable[[LiveStream], Awaitable[None]]:
    """Is called once for each question, by whoever writes the answer to it."""
    messages = body["messages"]
    question = messages[-1]
    database.execute(
        "INSERT OR IGNORE INTO questions (id, chat, message) VALUES (?, ?, ?)",
        [question["id"], body["id"], json.dumps(question)],
    )

    async def write(stream: LiveStream) -> None:
        await stream.set_metadata({"question": question["id"]})
        async with aclosing(model(messages)) as said:
            async for piece in said:
                await stream.publish(piece)

    return write


def save(end: End) -> None:
    """One row for each end, however often it is told."""
    message = end.message.to_dict()
    message["metadata"] = {**(end.message.metadata or {}), "status": end.status}
    question = (end.metadata or {}).get("question")
    row = [end.key, question, end.status, json.dumps(message), end.ended]
    database.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)", row)


async def save_answers() -> None:
    """Those of this process, of others, and of such as were killed."""
    while True:
        try:
            async with hub.ends("save", lost_after=0) as ends:
                async for end in ends:
                    save(end)
                    await end.done()
        except StoreUnavailable as error:
            logger.warning("no answers are saved for now: %s", error)


# The application.


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    saving = asyncio.create_task(save_answers())
    async with lifespan(hub)(app):  # closes the hub when the server is told to stop
        yield
    with suppress(HubClosed):
        await saving


app = FastAPI(lifespan=running)
app.include_router(
    chat_router(
        hub,
        answer,
        user=user_of,
        authorize=is_allowed,
        replay_ended=True,  # who reloads between an end and its row has the answer from the hub
        restart_lost=True,  # a question waits until an answer whose server was killed is lost
    )
)


@app.post("/login")
async def log_in(name: str, response: Response) -> None:
    """Believes every name: ask for a password, or your identity provider, here."""
    token = secrets.token_urlsafe()
    database.execute("INSERT INTO logins VALUES (?, ?)", [token, name])
    response.set_cookie("login", token, httponly=True, samesite="lax")


@app.get("/chats/{chat}")
async def messages_of(chat: str, request: Request) -> list[dict[str, Any]]:
    """All that has been said in a chat, in order, in the shape of ``useChat``."""
    user, owner = user_of(request), owner_of(chat)
    if user is None:
        raise HTTPException(401)
    if owner not in (None, user):
        raise HTTPException(404)
    rows = database.execute(
        "SELECT questions.message, answers.message FROM questions"
        " LEFT JOIN answers ON answers.question = questions.id"
        " WHERE chat = ? ORDER BY number, ended",
        [chat],
    )
    return [json.loads(message) for row in rows for message in row if message is not None]


app.mount("/", StaticFiles(directory=FOLDER / "page" / "dist", html=True))
