"""What instruments are told of one claim."""

from __future__ import annotations

import asyncio
from typing import Any

from ..instruments import events
from ..instruments.events import Tell
from ..stores.base import Append, Claim, Granted, InboxMessage

__all__ = ["Observed", "tell_claim"]


class Observed:
    """Tells of one claim, from its begin on. How it is over is told in ``ending``. Its times are by
    the loop's clock."""

    __slots__ = ("_began", "_claim", "_first", "_last", "_now", "tell")

    def __init__(self, claim: Claim, tell: Tell) -> None:
        self._claim = claim
        self.tell: Tell = tell
        self._now = asyncio.get_running_loop().time
        self._began = self._now()
        self._first: float | None = None
        self._last: float | None = None

    def stored(self, append: Append, now: float) -> None:
        """These chunks are in the store."""
        if append.base < self._claim.base:
            # They are put back, and another generation's.
            return
        self._last = now - self._began
        if self._first is None:
            self._first = self._last
            claim = self._claim
            self.tell(
                events.FirstStored(
                    session_id=claim.session_id,
                    generation=claim.generation,
                    owner=claim.owner,
                    seconds=self._first,
                )
            )

    def received(self, message: InboxMessage) -> None:
        """The producer is handed a message of its inbox."""
        claim = self._claim
        self.tell(
            events.MessageReceived(
                session_id=claim.session_id,
                generation=claim.generation,
                owner=claim.owner,
                message_id=message.id,
                bytes=message.size,
            )
        )

    def cancelling(self) -> None:
        claim = self._claim
        self.tell(
            events.CancelNoticed(
                session_id=claim.session_id, generation=claim.generation, owner=claim.owner
            )
        )

    def lost_data(self, reason: str) -> None:
        claim = self._claim
        self.tell(
            events.DataLost(
                session_id=claim.session_id,
                generation=claim.generation,
                owner=claim.owner,
                reason=reason,
            )
        )

    def repaired(self, kept: int, chunks: int) -> None:
        claim = self._claim
        self.tell(
            events.Repaired(
                session_id=claim.session_id,
                generation=claim.generation,
                owner=claim.owner,
                kept=kept,
                chunks=chunks,
            )
        )

    def facts(self) -> dict[str, Any]:
        """What is told of a claim that is over, but for what was stored, and how it came."""
        claim = self._claim
        return {
            "session_id": claim.session_id,
            "generation": claim.generation,
            "owner": claim.owner,
            "seconds": self._now() - self._began,
            "first_chunk": self._first,
            "last_chunk": self._last,
        }


def tell_claim(
    tell: Tell, granted: Granted, *, takeover: str, traceparent: str | None, seconds: float
) -> None:
    """Tell of a claim that was granted, and of what it has replaced."""
    claim = granted.claim
    tell(
        events.Claimed(
            session_id=claim.session_id,
            generation=claim.generation,
            owner=claim.owner,
            takeover=takeover,
            replaced=claim.replaced,
            base=claim.base,
            traceparent=claim.traceparent,
            own_traceparent=traceparent,
            metadata=granted.metadata,
            seconds=seconds,
        )
    )
    if claim.replaced is not None:
        tell(
            events.TakenOver(
                session_id=claim.session_id,
                generation=claim.generation,
                owner=claim.owner,
                takeover=takeover,
                replaced=claim.replaced,
                base=claim.base,
                resumes=claim.resumes,
                handovers=claim.handovers,
            )
        )
