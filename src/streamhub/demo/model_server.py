"""A small server with the chat completions of the OpenAI API, so that the demo needs no model.

It knows a few texts, picks one by the question, and streams it at the pace of a model. An answer
that broke off is continued at the very next character.

    python -m streamhub.demo.model_server --port 8422
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any
from uuid import uuid4

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .conversation import GO_ON

__all__ = ["MODEL", "PACE", "model_app", "text_for", "tokens"]

#: The name of the one model that there is.
MODEL = "a-few-texts"
#: Tokens a second.
PACE = 22.0

_TOKEN = re.compile(r"\s*(?:[^\W\d_]{1,7}|\d+|[^\w\s]|_)|\s+")
#: Which text answers a question that holds one of these.
_TOPICS = {
    "streamhub": ("streamhub", "alive", "surviv", "reload", "resum", "stream", "crash", "redis"),
    "bread": ("bread", "dough", "yeast", "bake", "baking", "rise"),
    "lighthouses": ("lighthouse", "light", "sea", "ship", "sailor"),
}
_PREFACE = (
    "I am no real model: I came with this demo and know {count} texts by heart. None of them "
    "answers that, so here is the one that I like best.\n\n"
)


def text_for(question: str) -> str:
    """The whole answer to a question."""
    asked = question.lower()
    for name, words in _TOPICS.items():
        if any(word in asked for word in words):
            return _text(name)
    return _PREFACE.format(count=len(_TOPICS)) + _text("lighthouses")


def tokens(text: str) -> list[str]:
    """The text in the pieces that a language model might make of it."""
    return _TOKEN.findall(text)


def model_app(*, pace: float = PACE) -> Starlette:
    """The API as an application.

    :param pace: about how many tokens a second it speaks.
    """

    async def completions(request: Request) -> Response:
        try:
            body = await request.json()
            model, messages = body["model"], body["messages"]
            rest = _rest(messages)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return _refusal(400, "a JSON object with model and messages is expected", "bad_request")
        if model != MODEL:
            reason = f"The model {model!r} does not exist; this server has {MODEL!r}"
            return _refusal(404, reason, "model_not_found")
        if not body.get("stream"):
            return JSONResponse(_completion({"message": {"role": "assistant", "content": rest}}))
        return StreamingResponse(_events(rest, pace), media_type="text/event-stream")

    async def models(request: Request) -> Response:
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "streamhub"}
        return JSONResponse({"object": "list", "data": [model]})

    return Starlette(
        routes=[
            Route("/v1/chat/completions", completions, methods=["POST"]),
            Route("/v1/models", models),
        ]
    )


def _rest(messages: list[dict[str, Any]]) -> str:
    """What is still to be said in answer to these messages."""
    said = [str(message["content"]) for message in messages if message["role"] != "system"]
    if said[-1] != GO_ON:
        return text_for(said[-1])
    question, so_far = said[-3], said[-2]
    text = text_for(question)
    return text.removeprefix(so_far)


async def _events(text: str, pace: float) -> AsyncIterator[str]:
    await asyncio.sleep(min(0.5, 10 / pace))  # to think
    yield _event({"delta": {"role": "assistant", "content": ""}})
    for token in tokens(text):
        yield _event({"delta": {"content": token}})
        await asyncio.sleep(_delay(token) / pace)
    yield _event({"delta": {}}, "stop")
    yield "data: [DONE]\n\n"


def _delay(token: str) -> float:
    """How long a token takes: irregular, longer at the end of a sentence, about 1 on average."""
    return random.lognormvariate(-0.35, 0.55) * (3.0 if token.endswith((".", ":", "?")) else 1.0)


def _event(choice: dict[str, Any], finish_reason: str | None = None) -> str:
    chunk = _completion(choice, finish_reason, kind="chat.completion.chunk")
    return f"data: {json.dumps(chunk)}\n\n"


def _completion(
    choice: dict[str, Any], finish_reason: str | None = "stop", kind: str = "chat.completion"
) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": MODEL,
        "choices": [{"index": 0, **choice, "finish_reason": finish_reason}],
    }


def _refusal(status: int, message: str, code: str) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return JSONResponse({"error": error}, status_code=status)


def _text(name: str) -> str:
    return (files(__package__) / "texts" / f"{name}.md").read_text(encoding="utf-8").strip()


def main() -> None:
    parser = argparse.ArgumentParser(description="The model API of the streamhub demo.")
    parser.add_argument("--port", type=int, default=8422)
    parser.add_argument("--pace", type=float, default=PACE, help="tokens a second")
    options = parser.parse_args()
    uvicorn.run(model_app(pace=options.pace), host="127.0.0.1", port=options.port)


if __name__ == "__main__":
    main()
