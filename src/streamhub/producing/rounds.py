"""What instruments are told of the rounds of the writer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

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

    __slots__ = ("_appends", "_began", "_bytes", "_now", "_ops", "_since", "_tell")

    def __init__(
        self,
        producers: Sequence[Producer],
        ops: Sequence[WriteOp],
        tell: Tell,
        since: float,
        now: Callable[[], float],
    ) -> None:
        self._ops = ops
        self._tell = tell
        self._since = since
        self._now = now
        self._began = 0.0
        #: Of each operation the chunks that it brings, if it does, with who has published them, and
        #: how many bytes they are: an end may have them forgotten before it is answered.
        self._appends: list[tuple[Producer, Append] | None] = []
        self._bytes: list[int] = []
        for producer, op in zip(producers, ops, strict=True):
            append = op.append if isinstance(op, Handle) else op
            if isinstance(append, Append) and append.items:
                self._appends.append((producer, append))
                self._bytes.append(append.total_bytes - producer.outbox.sizes[append.base])
            else:
                self._appends.append(None)
                self._bytes.append(0)

    def sets_out(self, expect: Expect) -> None:
        """It is given to the store next."""
        self._began = began = self._now()
        appends = [one[1] for one in self._appends if one is not None]
        if not appends:
            return
        for append in appends[:_ASKED]:
            if expect(append.claim.session_id, append.base + 1, self._since, began):
                break
        sessions, chunks = self._count(self._appends)
        self._tell(
            events.Published(
                sessions=sessions, chunks=chunks, bytes=sum(self._bytes), waited=began - self._since
            )
        )

    def answered(self, answers: Sequence[WriteResult | Exception]) -> None:
        """These are the answers, which the producers have not taken in yet."""
        stored: list[tuple[Producer, Append] | None] = []
        size = failed = 0
        reason: Exception | None = None
        away = False
        clock = time.monotonic()
        for one, size_of_one, answer in zip(self._appends, self._bytes, answers, strict=True):
            if isinstance(answer, Exception):
                failed, reason = failed + 1, reason or answer
                away = away or not isinstance(answer, SessionCorrupted)
            elif one is not None and isinstance(answer, Stored):
                stored.append(one)
                size += size_of_one
                if (observed := one[0].observed) is not None:
                    observed.stored(one[1], clock)
        if stored:
            now = self._now()
            sessions, chunks = self._count(stored)
            self._tell(
                events.Stored(
                    sessions=sessions,
                    chunks=chunks,
                    bytes=size,
                    seconds=now - self._began,
                    since_accept=now - self._since,
                )
            )
        if reason is not None:
            self._tell(
                events.StoreFailed(doing="write", count=failed, reason=str(reason), away=away)
            )

    def _count(self, appends: Sequence[tuple[Producer, Append] | None]) -> tuple[int, int]:
        """Of how many sessions these are, and how many chunks."""
        some = [one for one in appends if one is not None]
        return len({id(one[0]) for one in some}), sum(len(one[1].items) for one in some)


def expect_nothing(session_id: str, offset: int, since: float, began: float) -> bool:
    """Nobody reads here."""
    return False
