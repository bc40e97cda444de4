"""What a page asks: the body that ``useChat`` posts."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import uuid4

import msgspec
from starlette.requests import Request
from starlette.types import Message

from ...wording import short
from ..json_bodies import json_object, raw_body
from ..problems import BadRequest, Problem

__all__ = ["Question", "question_of", "stated_in"]

# In bytes: a claim keeps no more than 512 of what it was made for, digest included.
_LONGEST_NAME = 256


@dataclass(frozen=True)
class Question:
    #: With its body still to be read, by ``user``, ``authorize`` and ``answer``.
    request: Request
    chat: str
    #: All that was posted.
    body: dict[str, Any]
    #: What tells one question of a chat from another, and after a colon the id of the message that
    #: the answer goes on in, if there is one.
    key: str
    #: The assistant's message that the answer goes on in.
    message: dict[str, Any] | None


async def question_of(request: Request) -> Question:
    """:raises BadRequest: the body is none that a page posts."""
    raw = await raw_body(request)
    body = json_object(raw)
    chat = body.get("id")
    if "id" not in body and _messages(body):
        # As WorkflowChatTransport asks, which is told the name of its answer.
        chat = uuid4().hex
    if not isinstance(chat, str) or not chat:
        detail = f"id must be the chat's id, some text, not {short(chat)}"
        raise BadRequest(Problem(400, "invalid_body", detail))
    message = _continued(body)
    name = "" if message is None else message["id"]
    fits = len(name.encode()) <= _LONGEST_NAME
    key = f"{_digest(body)}:{name if fits else ''}"
    return Question(_unread(request, raw), chat, body, key, message)


async def stated_in(request: Request) -> dict[str, Any]:
    """The body of a request that needs none: empty where it is no JSON object.

    :raises BadRequest: it is too large.
    """
    raw = await raw_body(request)
    try:
        return json_object(raw)
    except BadRequest:
        return {}


def _unread(request: Request, body: bytes) -> Request:
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return left.pop() if left else await request.receive()

    return Request(request.scope, receive)


def _messages(body: dict[str, Any]) -> list[Any]:
    """Those that were posted; the last one alone, where a page sends no more."""
    messages = body.get("messages")
    if isinstance(messages, list) and messages:
        return messages
    return [body["message"]] if "message" in body else []


def _digest(body: dict[str, Any]) -> str:
    # Ids alone do not tell one from another where a message is edited, or where a client has none.
    last = [None, *_messages(body)][-1]
    question = [body.get("trigger"), body.get("messageId"), last]
    return sha256(msgspec.json.encode(question, order="sorted")).hexdigest()


def _continued(body: dict[str, Any]) -> dict[str, Any] | None:
    """The assistant's message that was posted because one of its tools has answered, or was
    approved, in the page: the answer goes on in it."""
    messages = [one for one in _messages(body) if isinstance(one, dict)]
    if body.get("trigger") == "regenerate-message" or not messages:
        return None
    named = [one for one in messages if one.get("id") == body.get("messageId")]
    message = (named or messages)[-1]
    fits = message.get("role") == "assistant" and isinstance(message.get("id"), str)
    return message if fits and message["id"] else None
