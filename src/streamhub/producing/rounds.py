"""What instruments are told of the rounds of the writer."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Is told of a chunk that is about to set out: of which session, its offset, and when the
    oldest of what goes with it was accepted. Answers whether it need not be told of others."""

    def __call__(self, session_id: str, offset: int, since: float) -> bool: ...


class ObservedRound:
    """Tells of one round of the writer.

    :param since: when the oldest of what it carries came at the earliest, by the loop's clock.
    """

    # Local names and exact types wherever that saves something: each round goes through this, and
    # most of them carry one chunk.
    __slots__ = (
        "_appends", "_began", "_bytes", "_chunks", "_producers", "_sessions", "_since", "_tell",
    )  # fmt: skip

    def __init__(
        self,
        producers: Sequence[Producer],
        ops: Sequence[WriteOp],
        tell: Tell,
        since: float,
    ) -> None:
        #: The chunks that each operation brings, if it does.
        appends: list[Append | None] = []
        sessions = chunks = size = 0
        before: Producer | None = None
        for producer, op in zip(producers, ops, strict=True):
            append = op
            if type(append) is Handle:
                append = append.append
            if type(append) is not Append or not append.items:
                appends.append(None)
                continue
            appends.append(append)
            chunks += len(append.items)
            size += append.total_bytes - producer.outbox.sizes[append.base]
            # What one stream has in a round stands together.
            if producer is not before:
                sessions += 1
                before = producer
        self._producers, self._appends = producers, appends
        self._sessions, self._chunks, self._bytes = sessions, chunks, size
        self._tell, self._since, self._began = tell, since, since

    def announce(self, expect: Expect) -> None:
        """It is about to be given to the store."""
        for append in self._appends[:_ASKED]:
            if append is not None and expect(append.claim.session_id, append.base + 1, self._since):
                break

    def sets_out(self, began: float) -> None:
        """It was given to the store."""
        self._began = began
        if self._sessions:
            self._tell(
                events.Published(
                    sessions=self._sessions,
                    chunks=self._chunks,
                    bytes=self._bytes,
                    waited=began - self._since,
                )
            )

    def answered(self, answers: Sequence[WriteResult | Exception], now: float) -> None:
        """These are the answers, which the producers have not taken in yet."""
        all_stored = True
        for producer, append, answer in zip(self._producers, self._appends, answers, strict=True):
            if type(answer) is Stored:
                if append is not None and producer.observed is not None:
                    producer.observed.stored(append, now)
            elif append is not None or isinstance(answer, Exception):
                all_stored = False
        if not all_stored:
            self._take_out(answers)
        if self._chunks:
            self._tell(
                events.Stored(
                    sessions=self._sessions,
                    chunks=self._chunks,
                    bytes=self._bytes,
                    seconds=now - self._began,
                    since_accept=now - self._since,
                )
            )

    def _take_out(self, answers: Sequence[WriteResult | Exception]) -> None:
        """Count only what was stored, and tell what has failed."""
        stored: dict[Producer, None] = {}
        errors: list[Exception] = []
        for producer, append, answer in zip(self._producers, self._appends, answers, strict=True):
            if isinstance(answer, Exception):
                errors.append(answer)
            if append is None:
                continue
            if type(answer) is Stored:
                stored[producer] = None
            else:
                # Its producer may have forgotten how large they are.
                self._chunks -= len(append.items)
                self._bytes -= sum(map(size_of, append.items))
        self._sessions = len(stored)
        if errors:
            away = any(not isinstance(one, SessionCorrupted) for one in errors)
            self._tell(
                events.StoreFailed(
                    doing="write", count=len(errors), reason=str(errors[0]), away=away
                )
            )


def expect_nothing(session_id: str, offset: int, since: float) -> bool:
    """Nobody reads here."""
    return True
