"""What a store tells of a session while it happens. It saves the wait, and carries no guarantee."""

from __future__ import annotations

import msgspec

from ..chunks import Chunk, Status

__all__ = [
    "Appended",
    "CancelRequested",
    "Claimed",
    "Ended",
    "LiveEvent",
    "MessageSent",
    "Released",
    "Removed",
    "Synced",
    "Unsynced",
]


class Synced(msgspec.Struct, frozen=True, gc=False):
    """From here on every event of the session arrives. What came before may have been missed."""


class Unsynced(msgspec.Struct, frozen=True, gc=False):
    """Events may be missed until the next ``Synced``."""


class Appended(msgspec.Struct, frozen=True, gc=False):
    """The chunks ``base + 1`` … were stored. ``lease``: seconds that the claim holds at most."""

    term: int
    base: int
    chunks: list[Chunk]
    bytes: int
    lease: float


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """A generation claimed the session, or put its claim back; the log reaches ``last``."""

    term: int
    last: int
    lease: float
    generation: str


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The session ended after chunk ``last``, which ``term`` was to go on from."""

    term: int
    last: int
    status: Status
    error: str | None


class Released(msgspec.Struct, frozen=True, gc=False):
    """The claim of ``term`` was given up after chunk ``last``: the session is lost from now on."""

    term: int
    last: int


class Removed(msgspec.Struct, frozen=True, gc=False):
    """The session was removed."""


class CancelRequested(msgspec.Struct, frozen=True, gc=False):
    """Somebody asked the producer to stop. A hint: the record in the store decides."""


class MessageSent(msgspec.Struct, frozen=True, gc=False):
    """The inbox has got a message. A hint: what it holds decides."""


LiveEvent = (
    Synced
    | Unsynced
    | Appended
    | Claimed
    | Ended
    | Released
    | Removed
    | CancelRequested
    | MessageSent
)
