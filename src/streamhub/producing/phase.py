"""The phases of a producer, from its claim to its end: what may follow what.

Two questions are answered side by side, because either may change while the other stands still.

*What its user and the world want of it* is the phase:

| input           | OPEN       | CANCELLING | ENDING     | RELEASING  | any of the four |
|-----------------|------------|------------|------------|------------|-----------------|
| ``finish``      | ENDING     | ENDING ¹   |            |            |                 |
| ``release``     | RELEASING  | ENDING ¹   |            |            |                 |
| ``cancel``      | CANCELLING |            | ENDING ¹   | ENDING ¹   |                 |
| ``let_go``      |            |            |            | RELEASED   |                 |
| ``over``        |            |            |            |            | ENDED           |
| ``fence``       |            |            |            |            | FENCED          |
| ``give_up``     |            |            |            |            | BROKEN          |
| ``abandon``     |            |            |            |            | RELEASED        |

¹ as ``cancelled``, whatever it was to end as: a cancel that was noticed is kept, though the store
may have lost that it was asked for, and though the hub closes meanwhile.

Nothing follows ENDED, RELEASED, FENCED and BROKEN, and an empty place changes nothing.

*Whether its claim stands in the store* is ``restoring``: ``lose`` sets it and ``restored`` takes it
back, in each of the four phases alike. It is no phase, because a stream that is to end, or to be
cancelled, while its claim is put back must still know that afterwards: as phases, the two would be
one for each pair of them.

While it is restoring, nothing but the claim is written. Then come the chunks, and the last
operation (``last_write``) after all of them.
"""

from __future__ import annotations

from enum import Enum, Flag, auto
from typing import Literal

from ..chunks import Status
from ..errors import HubClosed, ProducerFenced, StreamClosed, StreamHubError
from ..stores.base import Claim

__all__ = ["Follow", "LastWrite", "Phase", "ProducerState", "Stopping"]

Stopping = Literal["cancelled", "handover", "fenced"]


class Phase(Enum):
    #: Takes chunks in.
    OPEN = auto()
    #: Takes chunks in, and was asked to stop: it may say goodbye before it ends.
    CANCELLING = auto()
    #: Ends once all chunks are stored.
    ENDING = auto()
    #: Gives its lease up once all chunks are stored, so that others can continue.
    RELEASING = auto()
    #: The end is stored: by this producer, or by who cancelled it when it was lost.
    ENDED = auto()
    #: The lease is given up, or the session left to it.
    RELEASED = auto()
    #: Another generation owns the session, or it was removed.
    FENCED = auto()
    #: It could not be written any more.
    BROKEN = auto()


class LastWrite(Enum):
    """What is written after all chunks."""

    END = auto()
    RELEASE = auto()


class Follow(Flag):
    """What an input has for a consequence."""

    NOTHING = 0
    #: Have the producer stop: a cancel was noticed for the first time.
    STOP = auto()
    #: There is more to write than chunks.
    WRITE = auto()
    #: Nothing can be written any more: forget what waits, and tell who waits for it.
    DONE = auto()


_CANCELLED = (Status.CANCELLED, "")
_OPEN = (Phase.OPEN, Phase.CANCELLING)
_LAST_WRITE = {Phase.ENDING: LastWrite.END, Phase.RELEASING: LastWrite.RELEASE}


class ProducerState:
    """Where one producer stands. Each method but the last is an input, and answers what follows."""

    __slots__ = (
        "_claim", "_reason", "abandoned", "asked_to_end", "current", "in_vain", "outcome", "phase",
        "restoring",
    )  # fmt: skip

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self.phase: Phase = Phase.OPEN
        #: Whether the store has lost the claim, and is to get it back before anything else.
        self.restoring: bool = False
        #: How the stream ends or has ended, and its error.
        self.outcome: tuple[Status, str] = (Status.FINISHED, "")
        #: Whether the end was asked for here, by ``finish``.
        self.asked_to_end: bool = False
        #: Whether the session is released because it could not be resumed.
        self.in_vain: bool = False
        #: Whether the session is left to its lease, and the store told nothing.
        self.abandoned: bool = False
        #: Of one that is fenced: who has the session; None: it was removed.
        self.current: str | None = None
        self._reason: StreamHubError | None = None

    @property
    def open(self) -> bool:
        """Whether chunks are taken in."""
        return self.phase in _OPEN

    @property
    def done(self) -> bool:
        """Whether nothing can be written any more."""
        return self.phase not in _OPEN and self.phase not in _LAST_WRITE

    @property
    def last_write(self) -> LastWrite | None:
        return _LAST_WRITE.get(self.phase)

    @property
    def stopping(self) -> Stopping | None:
        """Why the producer is to come to an end; None while nobody but its user has said so."""
        match self.phase:
            case Phase.CANCELLING:
                return "cancelled"
            case Phase.ENDING | Phase.ENDED if self.outcome[0] is Status.CANCELLED:
                return "cancelled"
            case Phase.RELEASING | Phase.RELEASED:
                return "handover"
            case Phase.FENCED | Phase.BROKEN:
                return "fenced"
            case Phase.ENDED if not self.asked_to_end:
                # By somebody who took its producer for lost.
                return "fenced"
        return None

    def finish(self, status: Status, error: str) -> Follow:
        """The user ends the stream."""
        if not self.open:
            return Follow.NOTHING
        self.asked_to_end = True
        return self._end_as((status, error) if self.phase is Phase.OPEN else _CANCELLED)

    def release(self, *, in_vain: bool = False) -> Follow:
        """The hub closes, or it was claimed in vain: others may continue."""
        if not self.open:
            return Follow.NOTHING
        self.in_vain = in_vain
        if self.phase is Phase.CANCELLING:
            return self._end_as(_CANCELLED)
        self.phase = Phase.RELEASING
        return Follow.WRITE

    def abandon(self) -> Follow:
        """The session is left to its lease, here and now."""
        follow = self._reach(Phase.RELEASED)
        if follow:
            self.abandoned = True
        return follow

    def cancel(self) -> Follow:
        """The store says that a cancel was asked for."""
        match self.phase:
            case Phase.OPEN:
                self.phase = Phase.CANCELLING
                return Follow.STOP
            case Phase.RELEASING:
                return self._end_as(_CANCELLED) | Follow.STOP
            case Phase.ENDING if self.outcome[0] is not Status.CANCELLED:
                return self._end_as(_CANCELLED) | Follow.STOP
        return Follow.NOTHING

    def lose(self) -> Follow:
        """The store has lost the claim, or a part of the log."""
        if self.done or self.restoring:
            return Follow.NOTHING
        self.restoring = True
        return Follow.WRITE

    def restored(self) -> Follow:
        """The claim stands again."""
        self.restoring = False
        return Follow.NOTHING

    def let_go(self) -> Follow:
        """The store has taken the release."""
        return self._reach(Phase.RELEASED) if self.phase is Phase.RELEASING else Follow.NOTHING

    def over(self, status: Status) -> Follow:
        """The store says that the session has ended, and how."""
        if self.done:
            return Follow.NOTHING
        follow = self.cancel() & Follow.STOP if status is Status.CANCELLED else Follow.NOTHING
        if status is not self.outcome[0]:
            self.outcome = (status, "")
        return follow | self._reach(Phase.ENDED)

    def fence(self, current: str | None) -> Follow:
        """The session belongs to ``current``; None: it was removed."""
        follow = self._reach(Phase.FENCED)
        if follow:
            self.current = current
        return follow

    def give_up(self, reason: StreamHubError) -> Follow:
        """It could not be written for too long, or never will be."""
        follow = self._reach(Phase.BROKEN)
        if follow:
            self._reason = reason
        return follow

    def refusal(self) -> StreamHubError | None:
        """Why a chunk is not taken in; None if it is."""
        session_id = self._claim.session_id
        match self.phase:
            case Phase.ENDING | Phase.ENDED:
                return StreamClosed(session_id, self.outcome[0])
            case Phase.RELEASING | Phase.RELEASED:
                return HubClosed()
            case Phase.FENCED:
                return ProducerFenced(session_id, self._claim.generation, self.current)
            case Phase.BROKEN:
                return self._reason
        return None

    def describe(self) -> str:
        """The phase, for people to read."""
        match self.phase:
            case Phase.ENDED:
                return f"ended as {self.outcome[0]}"
            case Phase.FENCED if self.current is None:
                return "fenced, because the session was removed,"
            case Phase.FENCED:
                return f"fenced by {self.current}"
            case Phase.BROKEN:
                return f"given up ({self._reason})"
        return self.phase.name.lower()

    def _end_as(self, outcome: tuple[Status, str]) -> Follow:
        self.phase, self.outcome = Phase.ENDING, outcome
        return Follow.WRITE

    def _reach(self, phase: Phase) -> Follow:
        if self.done:
            return Follow.NOTHING
        self.phase, self.restoring = phase, False
        return Follow.DONE
