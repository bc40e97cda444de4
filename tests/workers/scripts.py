"""Tasks whose functions yield what the test sends them, one word after the other."""

from __future__ import annotations

from typing import Self

import redis.asyncio

from streamhub.testing.waiting import patience, within

#: For a worker's source: ``script(chat)`` yields each word of a list in Redis, and obeys some.
SCRIPT = """
import os, signal
import redis

def script(chat, server):
    try:
        while (word := server.blpop(f"script:{chat}")[1].decode()) != "end":
            if word == "raise":
                raise ValueError("the model broke")
            if word == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            yield word
    finally:
        server.rpush(f"closed:{chat}", "closed")
"""


class Script:
    """What the function of one chat's task is to do."""

    def __init__(self, client: redis.asyncio.Redis, chat: str) -> None:
        self.chat = chat
        self.session_id = f"chat:{chat}"
        self.client = client

    async def send(self, *words: str) -> Self:
        """Have it yield these; ``end`` ends it, ``raise`` and ``die`` do what they say."""
        await self.client.rpush(f"script:{self.chat}", *words)
        return self

    async def wait_closed(self) -> None:
        """Wait until the generator was closed, once."""
        await within(self.client.blpop([f"closed:{self.chat}"], timeout=patience()))

    async def unread(self) -> int:
        """How many words nobody has asked for."""
        return await self.client.llen(f"script:{self.chat}")
