"""Sees to it that every answer has a producer until it has ended."""

from __future__ import annotations

import asyncio
import logging
from typing import Literal

from streamhub import Hub, SessionNotFound, Status, StreamHubError

from .producers import ProducerGone, Producers

__all__ = ["Supervisor"]

logger = logging.getLogger("streamhub.demo")

_PAUSE = 1.0


class Supervisor:
    """Watches sessions: when one is lost, another producer continues it.

    The hub is the web server's: it learns of a death like any other reader, by the lease.
    """

    def __init__(self, hub: Hub, producers: Producers) -> None:
        self._hub = hub
        self._producers = producers
        self._watches: dict[str, asyncio.Task[None]] = {}

    async def begin(self, session_id: str, question: str) -> None:
        """Have a question answered; returns once a producer has claimed the session.

        :raises StreamHubError: none could.
        """
        await self._produce(session_id, question, "restart")
        self.watch(session_id)

    def watch(self, session_id: str) -> None:
        """See to it that this session is continued if its producer dies."""
        if session_id not in self._watches:
            watch = asyncio.create_task(self._watch(session_id), name=f"watch {session_id}")
            self._watches[session_id] = watch
            watch.add_done_callback(lambda _: self._watches.pop(session_id, None))

    async def aclose(self) -> None:
        watches = list(self._watches.values())
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)

    async def _watch(self, session_id: str) -> None:
        while True:
            try:
                stream = await self._hub.get(session_id)
                if stream is None or await stream.wait() is not Status.LOST:
                    return
                await self._produce(session_id, "", "continue")
            except SessionNotFound:
                return
            except StreamHubError as error:
                logger.warning("cannot continue %s yet: %s", session_id, error)
                await asyncio.sleep(_PAUSE)

    async def _produce(
        self, session_id: str, question: str, takeover: Literal["restart", "continue"]
    ) -> None:
        """Ask one producer after the other until one has claimed the session."""
        while True:
            try:
                await self._producers.produce(session_id, question, takeover)
            except ProducerGone:
                # It may have claimed before it died; the lease then tells.
                stream = await self._hub.get(session_id)
                if stream is not None and not await stream.done():
                    return
            else:
                return
