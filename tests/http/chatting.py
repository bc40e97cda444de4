"""A model behind the routes of chats, and what a page asks it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from httpx import AsyncClient

__all__ = ["Model", "begun", "question", "text_of"]


class Model:
    """Answers with the words of the question, and then waits until it is let go."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.may_end = asyncio.Event()
        #: What a cancel waits for.
        self.may_stop = asyncio.Event()
        self.may_stop.set()

    def __call__(self, body: dict[str, Any]) -> AsyncIterator[str]:
        self.asked.append(body)
        message = body["message"] if "message" in body else body["messages"][-1]
        return self._words(str(message.get("text", "")))

    async def _words(self, text: str) -> AsyncIterator[str]:
        for word in text.split():
            yield word
        try:
            await self.may_end.wait()
        finally:
            await self.may_stop.wait()


def question(text: str, *, chat: str = "c", **more: Any) -> dict[str, Any]:
    message = {"id": f"m-{text}", "role": "user", "text": text}
    return {"id": chat, "messages": [message], "trigger": "submit-message", **more}


async def begun(client: AsyncClient, body: dict[str, Any], **options: Any) -> int:
    """Ask, read the beginning of the answer, and go away; the status."""
    async with client.stream("POST", "/api/chat", json=body, **options) as response:
        if response.status_code == 200:
            await anext(response.aiter_raw())
        return response.status_code


def text_of(body: str) -> str:
    frames = [one.removeprefix("data: ") for one in body.split("\n\n") if one.startswith("data: {")]
    return "".join(json.loads(one).get("delta", "") for one in frames)
