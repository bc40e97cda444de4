"""What instruments are told of those who read."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..chunks import Chunk, Cursor, SessionInfo, Status
from ..instruments import events
from ..instruments.dispatch import new_number
from ..instruments.events import Tell

__all__ = ["ObservedReader"]


class ObservedReader:
    """Tells of one subscriber, from the moment on at which its begin is known.

    :param cursor: where it stands.
    """

    __slots__ = (
        "_began", "_behind_since", "_bytes", "_chunks", "_cursor", "_gone", "_number", "_over",
        "_replaying", "_session_id", "_start", "_tell",
    )  # fmt: skip

    def __init__(
        self,
        tell: Tell,
        info: SessionInfo,
        position: Cursor,
        cursor: Callable[[], Cursor | None],
        gone: Callable[[ObservedReader], object],
    ) -> None:
        self._tell = tell
        self._session_id = info.session_id
        self._number = new_number()
        self._cursor = cursor
        self._gone = gone
        self._began = time.monotonic()
        self._over = False
        #: Where it began; None where chunks are not counted.
        self._start = None if info.is_foreign else position.offset
        #: Since when it reads what is stored, and how many chunks that were; whether it is what was
        #: there when it came.
        self._behind_since: float | None = self._began
        self._chunks = self._bytes = 0
        self._replaying = True
        tell(
            events.Subscribed(
                subscriber=self._number,
                session_id=info.session_id,
                generation=info.generation,
                owner=info.owner,
                status=info.status,
                after=position,
                behind=0 if self._start is None else max(0, info.last.offset - position.offset),
                traceparent=info.traceparent,
            )
        )

    def took(self, chunks: list[Chunk], before: Cursor, newest: int, *, stored: bool) -> None:
        """It has got these chunks after ``before``, and is up to date where these are none.

        :param newest: up to which offset there are chunks.
        :param stored: whether they were read from the store.
        """
        if not chunks:
            self._is_up_to_date()
            return
        behind = chunks[-1].cursor.offset - before.offset
        if self._behind_since is None:
            if not stored:
                return
            self._behind_since, self._chunks, self._bytes = time.monotonic(), 0, 0
            if self._start is None:
                # Nothing is told of these live: they are read from the log as they come.
                return
            self._tell(
                events.FellBehind(
                    subscriber=self._number,
                    session_id=self._session_id,
                    behind=max(newest - before.offset, behind),
                )
            )
        self._chunks += len(chunks) if self._start is None else behind
        self._bytes += sum(
            [len(one.data) if one.data.isascii() else len(one.data.encode()) for one in chunks]
        )

    def left(self, status: Status, error: Exception | None) -> None:
        """It reads no more. Only the first time counts."""
        if self._over:
            return
        self._over = True
        if status is not Status.ACTIVE:
            # It has read all of it.
            self._is_up_to_date()
        self._tell(
            events.Unsubscribed(
                subscriber=self._number,
                session_id=self._session_id,
                chunks=self._read(),
                seconds=time.monotonic() - self._began,
                status=status,
                error=None if error is None else type(error).__name__,
            )
        )
        self._gone(self)

    def _read(self) -> int:
        cursor = self._cursor()
        if self._start is None or cursor is None:
            return self._chunks
        return max(0, cursor.offset - self._start)

    def _is_up_to_date(self) -> None:
        if self._behind_since is None:
            return
        seconds = time.monotonic() - self._behind_since
        self._behind_since = None
        kind: type[events.Replayed] | type[events.CaughtUp] = events.CaughtUp
        if self._replaying:
            self._replaying, kind = False, events.Replayed
        elif self._start is None:
            return
        self._tell(
            kind(
                subscriber=self._number,
                session_id=self._session_id,
                chunks=self._chunks,
                bytes=self._bytes,
                seconds=seconds,
            )
        )
