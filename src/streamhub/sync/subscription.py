"""The read side for threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType

from ..chunks import Chunk, Cursor, SessionInfo, Status
from ..errors import HubClosed
from ..reading import subscription
from .background import Background

__all__ = ["Subscription"]


class Subscription(Iterator[Chunk]):
    """:class:`streamhub.Subscription` for threads: an iterator of :class:`streamhub.Chunk`, and
    a context manager. What it promises and raises is said there.

    One thread iterates; any other may call ``close``, which ends the iteration quietly.
    """

    def __init__(self, background: Background, followed: subscription.Subscription) -> None:
        self._call = background.call
        self._followed = followed
        self._ready: deque[Chunk] = deque()
        self._cursor = followed.cursor
        #: Where ``followed`` stood when all that it took was in ``_ready``.
        self._reached: Cursor | None = None
        self._closed = False

    @property
    def cursor(self) -> Cursor | None:
        """Where this reader stands: hand it to ``subscribe(after=…)`` to go on from here.

        None until the session was found, unless it started at a cursor.
        """
        # In this order: what came in between is in ``_ready`` by the time that this is known.
        reached = self._reached
        if self._ready:
            return self._cursor
        return reached or self._cursor or self._followed.cursor

    @property
    def status(self) -> Status:
        """How the stream ended, once iteration has; ``ACTIVE`` before."""
        return self._followed.status

    @property
    def behind(self) -> bool:
        """Whether more is stored than was handed out, as far as is known here."""
        # In this order: what is taken in between is in ``_ready`` by the time that this is known.
        return self._followed.behind or bool(self._ready)

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> Chunk:
        while not self._closed:
            if self._ready:
                chunk = self._ready.popleft()
                self._cursor = chunk.cursor
                return chunk
            if not self._call(self._fetch):
                break
        raise StopIteration

    def take(self) -> list[Chunk]:
        """All chunks that are ready at once, at least one; none once the stream has ended quietly.

        For those who pass them on together. Raises what iteration raises.
        """
        if not self._ready and not self._closed:
            self._call(self._fetch)
        chunks = list(self._ready)
        self._ready.clear()
        if chunks:
            self._cursor = chunks[-1].cursor
        return chunks

    def open(self) -> SessionInfo:
        """Find the session and check the start, which iteration does by itself otherwise.

        For those who must know before the first chunk whether there will be one: how the session
        stands then. Raises what iteration raises.
        """
        return self._call(self._followed.open)

    def close(self) -> None:
        """Let go of everything; iteration ends, in whichever thread it is. Idempotent."""
        self._closed = True
        with suppress(HubClosed):
            self._call(self._followed.aclose)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def _fetch(self) -> bool:
        """Fetch all that is ready, at least one chunk; False at the end."""
        # Kept here rather than returned: whose wait is interrupted finds them next time.
        self._ready += await self._followed.take()
        self._reached = self._followed.cursor
        return bool(self._ready)
