"""What instruments are told of the rounds of the writer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ..chunks import size_of
from ..errors import SessionCorrupted
from ..instruments import events
from ..instruments.events import Tell
from ..stores.base import Append, Handle, Stored, WriteOp, WriteResult
from .producer import Producer

__all__ = ["Expect", "ObservedRound", "expect_nothing"]


# Of how many sessions of a round it is asked whether somebody here reads them.
_ASKED = 8


class Expect(Protocol):
    """Is told of a chunk that is on its way: of which session, its offset, when the oldest of what
    goes with it was accepted, and when it has set out. Answers whether somebody here reads it."""

    def __call__(self, session_id: str, offset: int, since: float, began: float) -> bool: ...


class ObservedRound:
    """Tells of one round of the writer.

    :param since: when the oldest of what it carries came at the earliest.
    :param now: the clock of all of these times.
    """

    __slots__ = (
        "_appends", "_began", "_bytes", "_chunks", "_now", "_producers", "_sessions", "_since",
        "_tell",
    )  # fmt: skip

    def __init__(
        self,
        producers: Sequence[Producer],
        ops: Sequence[WriteOp],
        tell: Tell,
        since: float,
        now: Callable[[], float],
    ) -> None:
        self._producers = producers
        self._tell = tell
        self._since = since
        self._now = now
        self._began = 0.0
        #: The chunks that each operation brings, if it does.
        self._appends: list[Append | None] = []
        self._sessions = self._chunks = self._bytes = 0
        before: Producer | None = None
        for producer, op in zip(producers, ops, strict=True):
            append = op.append if isinstance(op, Handle) else op
            if not isinstance(append, Append) or not append.items:
                self._appends.append(None)
                continue
            self._appends.append(append)
            self._chunks += len(append.items)
            self._bytes += append.total_bytes - producer.outbox.sizes[append.base]
            # What one stream has in a round stands together.
            if producer is not before:
                self._sessions += 1
                before = producer

    def sets_out(self, expect: Expect) -> None:
        """It is given to the store next."""
        self._began = began = self._now()
        if not self._sessions:
            return
        for append in self._appends[:_ASKED]:
            if append is not None and expect(
                append.claim.session_id, append.base + 1, self._since, began
            ):
                break
        self._tell(
            events.Published(
                sessions=self._sessions,
                chunks=self._chunks,
                bytes=self._bytes,
                waited=began - self._since,
            )
        )

    def answered(self, answers: Sequence[WriteResult | Exception]) -> None:
        """These are the answers, which the producers have not taken in yet."""
        failed = 0
        reason: Exception | None = None
        away = False
        clock = time.monotonic()
        stored: dict[Producer, None] = {}
        for producer, append, answer in zip(self._producers, self._appends, answers, strict=True):
            if isinstance(answer, Exception):
                failed, reason = failed + 1, reason or answer
                away = away or not isinstance(answer, SessionCorrupted)
            if append is None:
                continue
            if isinstance(answer, Stored):
                stored[producer] = None
                if producer.observed is not None:
                    producer.observed.stored(append, clock)
            else:
                self._chunks -= len(append.items)
                self._bytes -= sum(map(size_of, append.items))
        if stored:
            now = self._now()
            self._tell(
                events.Stored(
                    sessions=len(stored),
                    chunks=self._chunks,
                    bytes=self._bytes,
                    seconds=now - self._began,
                    since_accept=now - self._since,
                )
            )
        if reason is not None:
            self._tell(
                events.StoreFailed(doing="write", count=failed, reason=str(reason), away=away)
            )


def expect_nothing(session_id: str, offset: int, since: float, began: float) -> bool:
    """Nobody reads here."""
    return False
