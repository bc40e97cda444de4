"""What a producer does around ``essence.answer``: it says who it is, and what went wrong.

The model is any server with the chat completions of the OpenAI API.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit, urlunsplit

import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from openai.types.chat import ChatCompletionMessageParam

from streamhub import Hub, LiveStream, StreamHubError

from . import essence
from .conversation import Message, Turn, conversation

__all__ = ["Model", "answer", "earlier_turns", "session_of"]

_SESSION = re.compile(r"demo:(?P<chat>[A-Za-z0-9_-]{1,64}):(?P<turn>[1-9][0-9]{0,4})")
_CONNECT_SECONDS = 5.0
# A model that thinks, or is loaded first, may be silent for long.
_SILENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Model:
    """Where the model answers, and what it is called there."""

    url: str
    name: str
    key: str = field(default="none", repr=False)

    @property
    def shown_url(self) -> str:
        """The URL without a user, a password or a query that it may carry."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def session_of(chat: str, turn: int) -> str:
    """The session that holds the answer of a chat's turn."""
    return f"demo:{chat}:{turn}"


async def answer(stream: LiveStream, hub: Hub, model: Model, producer: str) -> None:
    """Produce the answer to the question in the session's metadata, or the rest of it.

    The stream ends as ``failed``, with the reason, if the model cannot be asked.
    """
    info = await stream.info()
    about = info.metadata
    who = {"name": producer, "pid": os.getpid(), "generation": stream.generation}
    await stream.set_metadata(
        {**about, "producers": [*about["producers"], {**who, "after": info.base}]}
    )
    earlier = await earlier_turns(hub, stream.session_id)
    speaking = False

    async def rest(question: str, so_far: str) -> AsyncIterator[str]:
        nonlocal speaking
        async for token in _tokens(model, conversation(earlier, question, so_far)):
            speaking = True
            yield token

    try:
        await essence.answer(stream, rest)
    except StreamHubError:
        raise
    except Exception as error:
        await stream.fail(_explained(error, model, speaking=speaking))


async def earlier_turns(hub: Hub, session_id: str) -> list[Turn]:
    """The chat before this session, as the hub has it."""
    match = _SESSION.fullmatch(session_id)
    assert match is not None
    turns = []
    for turn in range(1, int(match["turn"])):
        stream = await hub.get(session_of(match["chat"], turn))
        if stream is not None:
            turns.append(((await stream.info()).metadata["question"], await stream.text()))
    return turns


async def _tokens(model: Model, messages: list[Message]) -> AsyncIterator[str]:
    finished = False
    timeout = openai.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
    # What is on this machine is not looked for behind a proxy.
    http = DefaultAsyncHttpxClient(timeout=timeout, trust_env=not _is_local(model.url))
    async with AsyncOpenAI(
        base_url=model.url, api_key=model.key, max_retries=0, timeout=timeout, http_client=http
    ) as client:
        completion = await client.chat.completions.create(
            model=model.name,
            messages=cast(list[ChatCompletionMessageParam], messages),
            stream=True,
        )
        async with completion:
            async for chunk in completion:
                for choice in chunk.choices[:1]:
                    finished = finished or choice.finish_reason is not None
                    if choice.delta.content:
                        yield choice.delta.content
    if not finished:
        raise ConnectionError("it stopped in the middle of the answer")


def _explained(error: Exception, model: Model, *, speaking: bool) -> str:
    """What went wrong between us and the model, without the key."""
    where = f"the model API at {model.shown_url}"
    match error:
        case openai.APITimeoutError():
            reason = f"{where} did not answer in time"
        case openai.APIStatusError():
            body = error.body if isinstance(error.body, dict) else {}
            reason = f"{where} refused ({error.status_code}): {body.get('message') or error}"
        case openai.APIConnectionError() if not speaking:
            reason = f"cannot reach {where}: {_root_of(error)}"
        case _:
            reason = f"{where} broke off: {_root_of(error)}"
    return reason.replace(model.key, "***") if len(model.key) > 7 else reason


def _root_of(error: BaseException) -> str:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
