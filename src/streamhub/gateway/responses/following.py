"""An answer, told to one client: what it has missed, then what comes, then the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ...chunks import Chunk, Cursor, Status
from ...errors import (
    CursorExpired,
    ProducerFailed,
    ProducerLost,
    SessionNotFound,
    StoreUnavailable,
    StreamHubError,
    StreamReplaced,
)
from ...reading.subscription import Subscription
from .asked import REQUEST_EVENT
from .objects import TERMINAL
from .stored import Stored
from .telling import Telling

__all__ = ["Following"]

# How often, and after how many seconds each, an answer is looked for that is not there.
_MOST_LOOKS = 40
_LOOK = 0.25


class Following:
    """The pieces of a response; see :class:`Pieces`.

    :param after: the number after which the client wants to go on; None for the start.
    :param recover: called where the answer has lost its gateway, to have it go on or end.
    :param on_close: called at the end.
    """

    def __init__(
        self,
        stored: Stored,
        telling: Telling,
        *,
        after: int | None,
        recover: Callable[[Stored], Awaitable[None]],
        on_close: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._stored = stored
        self._telling = telling
        #: The number of the last event that the client has.
        self._number = -1 if after is None else after
        self._recover = recover
        self._on_close = on_close
        self._subscription = self._subscribe(_cursor(stored, after))
        self._lost = False
        self._looks = 0
        #: Whether the last event was told.
        self.over: bool = False

    async def next(self) -> bytes | None:
        if self.over:
            return None
        try:
            return await self._next()
        except StreamReplaced:
            message = "the answer was lost, and is given anew: ask for it from its start"
            return self._break_off("response_restarted", message)
        except (SessionNotFound, CursorExpired):
            return self._break_off("response_not_found", "the answer is not there any more")
        except StoreUnavailable:
            return self._break_off("store_unavailable", "the gateway cannot reach its store")

    async def _next(self) -> bytes:
        chunks: list[Chunk] = []
        try:
            if self._lost:
                await self._go_on()
            chunks = await self._subscription.take()
        except ProducerLost:
            self._lost = True
            return b""
        except ProducerFailed:
            pass
        except SessionNotFound:
            await self._look_again()
            return b""
        except StreamReplaced:
            if await self._is_another():
                raise
            message = f"this response has ended before the event {self._number}"
            return self._break_off("starting_after_beyond_end", message)
        return self._tell(chunks) if chunks else await self._end()

    async def aclose(self) -> None:
        await self._subscription.aclose()
        if self._on_close is not None:
            with suppress(StreamHubError):
                await self._on_close()

    def _subscribe(self, after: Cursor | None) -> Subscription:
        return self._stored.stream.subscribe(after=after)

    async def _go_on(self) -> None:
        """Read on what has become of a lost answer. Safe to cancel.

        :raises: as ``recover``.
        """
        await self._recover(self._stored)
        await self._subscribe_again()
        self._lost = False

    async def _look_again(self) -> None:
        """A store that has come back empty gets an answer back from who draws it.

        :raises SessionNotFound: it has ended, or was not put back for long.
        """
        if self._looks >= _MOST_LOOKS or self._stored.info.status is not Status.ACTIVE:
            raise SessionNotFound(self._stored.stream.session_id)
        self._looks += 1
        await asyncio.sleep(_LOOK)
        await self._subscribe_again()

    async def _subscribe_again(self) -> None:
        cursor = self._subscription.cursor
        await self._subscription.aclose()
        self._subscription = self._subscribe(cursor)

    async def _is_another(self) -> bool:
        """Whether the answer was begun anew: of one that was not, the client has asked for what
        comes after its end."""
        now = await self._stored.now()
        return now.info.generation != self._stored.info.generation

    def _tell(self, chunks: list[Chunk]) -> bytes:
        said = [chunk for chunk in chunks if chunk.event != REQUEST_EVENT]
        if said:
            self._number = self._stored.facts.number(said[-1].cursor.offset)
            self.over = said[-1].event in TERMINAL
        return b"".join([self._telling.chunk(chunk) for chunk in said])

    async def _end(self) -> bytes:
        """What is missing of an end that the upstream has not told."""
        self.over = True
        log = await self._stored.log()
        first = self._stored.facts.number(len(log.chunks) + log.missing) + 1
        ends = [
            self._telling.event(kind, data, number)
            for number, (kind, data) in enumerate(log.endings(), first)
            if number > self._number
        ]
        return b"".join(ends)

    def _break_off(self, code: str, message: str) -> bytes:
        self.over = True
        return self._telling.error(code, message, self._number + 1)


def _cursor(stored: Stored, after: int | None) -> Cursor | None:
    if after is None or stored.info.terms is None:
        return None
    offset = stored.facts.offset(after)
    return None if offset <= 0 else stored.info.terms.cursor(offset)
