"""What a store is asked to do with a claim, and what it answers: values, each with its promise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from ..chunks import Item, SessionInfo, Status, Terms

__all__ = [
    "Append",
    "Behind",
    "Claim",
    "Fenced",
    "Finish",
    "Gone",
    "Granted",
    "Handle",
    "HasHoles",
    "InboxMessage",
    "InboxPage",
    "Over",
    "Refused",
    "Release",
    "Renew",
    "Restore",
    "Restored",
    "SetMetadata",
    "StoreTakeover",
    "Stored",
    "Takeover",
    "WriteOp",
    "WriteResult",
]

#: What a user may ask for.
Takeover = Literal["restart", "continue"]
#: And what a supervisor does.
StoreTakeover = Literal["restart", "continue", "resume"]


class Claim(msgspec.Struct, frozen=True, gc=False):
    """One generation's ownership of a session, with all that is needed to put it back."""

    session_id: str
    generation: str
    #: Which term wrote what of the log; the current one is this claim.
    terms: Terms
    #: The generation that this one replaced; None for a session that was unknown.
    replaced: str | None
    #: Seconds that the claim outlives its last renewal.
    lease: float
    #: Seconds that the session stays readable after its end.
    retention: float
    owner: str | None = None
    #: What it was claimed for, in words of who claimed it.
    request: str | None = None
    #: The trace within which it was claimed, as W3C ``traceparent``.
    traceparent: str | None = None
    #: When the epoch began: milliseconds since 1970 by the store's clock.
    created_ms: int = 0
    #: How often the session was claimed as ``resume`` since, and how often its producer had handed
    #: it over before that.
    resumes: int = 0
    handovers: int = 0
    #: The feeds of ends, and the supervisors, that were known when it was made.
    feeds: tuple[str, ...] = ()
    #: Seconds that an end is kept for feeds that have not done it; 0 where there are none.
    unsaved: float = 0.0

    @property
    def epoch(self) -> int:
        """The term of the log's first claim."""
        return self.terms.epoch

    @property
    def base(self) -> int:
        """The offset after which this generation writes."""
        return self.terms.base

    @property
    def kept(self) -> float:
        """Seconds that the session stays after its end as long as a feed has not done it."""
        return max(self.retention, self.unsaved)


class Granted(msgspec.Struct, frozen=True):
    """The session is claimed; chunks go on after ``claim.base``."""

    claim: Claim
    #: UTF-8 bytes that the epoch holds already.
    bytes: int
    #: The metadata as it stands, as JSON.
    metadata: str | None = None


class Refused(msgspec.Struct, frozen=True):
    """Somebody owns the session, or it is complete and was not to be restarted."""

    info: SessionInfo


class InboxMessage(msgspec.Struct, frozen=True, gc=False):
    """A message to the producer. ``id`` is ``<number>-<token>``: numbers grow in the order in which
    messages were sent, tokens tell them apart even where a store that has lost some counts again.
    """

    id: str
    data: str
    event: str | None = None

    @property
    def size(self) -> int:
        """UTF-8 bytes of data and event type."""
        return len(self.data.encode()) + len((self.event or "").encode())


class InboxPage(msgspec.Struct, frozen=True, gc=False):
    """What an inbox holds that its producer does not have yet, in order."""

    messages: Sequence[InboxMessage]
    #: The ids of what the producer holds and the inbox does not.
    missing: Sequence[str]
    #: Whether more wait than these.
    more: bool = False


class Append(msgspec.Struct, frozen=True, gc=False):
    """Store ``items`` as the chunks ``base + 1`` … of the log, under ``term``. Renews the lease if
    a quarter of it has passed: more often would cost as much as a chunk, and change nothing.

    Safe to repeat: chunks that the log has already are not stored again.
    """

    claim: Claim
    base: int
    items: Sequence[Item]
    #: UTF-8 bytes of the epoch once these are stored.
    total_bytes: int
    #: Which term wrote all of them: the claim's own, or, where a lost log is put back, an earlier.
    term: int


class Handle(msgspec.Struct, frozen=True, gc=False):
    """Take messages out of the inbox, together with an append (maybe of no chunk): both or neither,
    and answered like the append. Safe to repeat: messages that are not there are left out.
    """

    append: Append
    #: The ids of the messages.
    messages: Sequence[str]

    @property
    def claim(self) -> Claim:
        return self.append.claim


class SetMetadata(msgspec.Struct, frozen=True, gc=False):
    """Replace the session's metadata by this JSON text."""

    claim: Claim
    metadata: str


class Renew(msgspec.Struct, frozen=True, gc=False):
    """Extend the lease. ``last`` is the newest offset that the store has acknowledged."""

    claim: Claim
    last: int


class Release(msgspec.Struct, frozen=True, gc=False):
    """Let the lease lapse now, so that somebody else can continue; the session stays active.

    Given up for good: a renewal that arrives later does not revive it. It is told as ``Released``,
    unless a cancel was asked for: its producer will end it as cancelled instead.
    """

    claim: Claim
    last: int
    #: Whether it was resumed in vain, which makes it no handover: see ``Store.claim``.
    in_vain: bool = False


class Finish(msgspec.Struct, frozen=True, gc=False):
    """End the session, once its log reaches ``last``.

    A session whose cancel was asked for before ends as ``CANCELLED``, whatever ``status`` says.
    Safe to repeat: an ended session keeps the end that it has.
    """

    claim: Claim
    last: int
    status: Status
    error: str | None = None


class Restore(msgspec.Struct, frozen=True, gc=False):
    """Put back a claim that the store has lost, or mend a log that has holes.

    Takes effect where the session is gone, or still belongs to this generation or to the one
    that it replaced; never where a removal is remembered that came after the claim. The log keeps
    what is whole of the claim's epoch, as far as this generation has not written it, and is
    emptied otherwise. The inbox is kept where the epoch is the claim's, and gets those of
    ``messages`` that it does not have.
    """

    claim: Claim
    metadata: str | None
    #: What the producer has received and not handled, under the ids that they have.
    messages: Sequence[InboxMessage] = ()


WriteOp = Append | Handle | SetMetadata | Renew | Release | Finish | Restore


class Stored(msgspec.Struct, frozen=True, gc=False):
    """Done. ``last`` is the log's newest offset, ``cancelling`` whether a cancel is asked for."""

    last: int
    cancelling: bool = False


class Behind(msgspec.Struct, frozen=True, gc=False):
    """Nothing was written: the claim stands, and its log is whole, but reaches ``last`` only."""

    last: int


class HasHoles(msgspec.Struct, frozen=True, gc=False):
    """Nothing was written: the claim stands, but its log does not hold what its record says."""


class Gone(msgspec.Struct, frozen=True, gc=False):
    """Nothing was written: the store does not know the session."""


class Restored(msgspec.Struct, frozen=True, gc=False):
    """The claim stands, and its log is whole up to ``last``: only a ``Restore`` is answered so."""

    last: int


class Fenced(msgspec.Struct, frozen=True, gc=False):
    """Nothing was written: the session belongs to ``generation`` (None: it was removed)."""

    generation: str | None


class Over(msgspec.Struct, frozen=True, gc=False):
    """The session has ended as ``status``; after a ``Finish`` this is the success."""

    status: Status


WriteResult = Stored | Behind | HasHoles | Gone | Restored | Fenced | Over
