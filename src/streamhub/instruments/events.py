"""What a hub tells its instruments: frozen values, each of which says one thing that happened.

Times are seconds, sizes UTF-8 bytes. None of them holds what was published. Each ``Claimed`` is
followed by exactly one of ``Ended``, ``Released``, ``Fenced`` and ``GivenUp``, and each
``Subscribed`` by one ``Unsubscribed``, unless the process dies before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from ..chunks import Cursor, Status
from ..statistics import HubStatistics

__all__ = [
    "CancelNoticed",
    "CancelRequested",
    "CaughtUp",
    "Claimed",
    "Closed",
    "Connected",
    "DataLost",
    "Delivered",
    "Disconnected",
    "EndDone",
    "EndHandedOut",
    "EndReturned",
    "Ended",
    "Event",
    "FellBehind",
    "Fenced",
    "FirstStored",
    "GivenUp",
    "Lost",
    "MessageReceived",
    "MessageSent",
    "Opened",
    "Published",
    "Refused",
    "Released",
    "Repaired",
    "Replayed",
    "StoreAnswered",
    "StoreFailed",
    "Stored",
    "Subscribed",
    "TakenOver",
    "Tell",
    "Unsubscribed",
]


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """The hub was used for the first time. Comes before all other events of the hub."""

    #: Which hub of the process: a number that no two hubs share.
    hub: int
    #: The store as a hub shows it, without a password.
    store: str
    #: ``hub.statistics``, to be called in any thread, until ``Closed``.
    statistics: Callable[[], HubStatistics]
    #: Has the store asked whether it is there, for instruments that have heard nothing of it: then
    #: ``StoreAnswered`` or ``StoreFailed`` comes. To be called in the event loop of the hub; does
    #: nothing while it is being asked.
    ask: Callable[[], None]


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """The hub was closed. Comes after all other events of the hub."""

    hub: int
    store: str


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A session is produced here from now on."""

    session_id: str
    generation: str
    owner: str | None
    #: What was asked for: ``restart``, ``continue``, or ``resume`` by a supervisor.
    takeover: str
    #: The generation that had the session before; None where there was none.
    replaced: str | None
    #: After how many chunks it goes on; 0 in a log that begins.
    base: int
    #: The W3C ``traceparent`` that the record of the session has now: that of this claim, or,
    #: where it has none and continues, of the one before.
    traceparent: str | None
    #: The ``traceparent`` of this claim alone, as an instrument gave it.
    own_traceparent: str | None
    #: The metadata as JSON.
    metadata: str | None
    #: How long the claim took.
    seconds: float


class TakenOver(msgspec.Struct, frozen=True, kw_only=True):
    """The claim that was told just before has replaced another generation, which had ended, or was
    lost, or has released the session."""

    session_id: str
    generation: str
    owner: str | None
    takeover: str
    replaced: str
    base: int
    #: How often a supervisor has resumed this log, and how many of these were handovers.
    resumes: int
    handovers: int


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A claim was refused: somebody owns the session, or what was asked for excludes it."""

    session_id: str
    #: The generation that has the session, and how it stands.
    generation: str
    status: Status
    owner: str | None
    takeover: str
    seconds: float


class FirstStored(msgspec.Struct, frozen=True, kw_only=True):
    """The first chunk of a claim is stored."""

    session_id: str
    generation: str
    owner: str | None
    #: Since the claim.
    seconds: float


class CancelNoticed(msgspec.Struct, frozen=True, kw_only=True):
    """The producer has noticed that a cancel was asked for, and is to stop."""

    session_id: str
    generation: str
    owner: str | None


class DataLost(msgspec.Struct, frozen=True, kw_only=True):
    """The store has lost something of a session that is produced here, which puts it back."""

    session_id: str
    generation: str
    owner: str | None
    #: What is the matter, for people to read.
    reason: str


class Repaired(msgspec.Struct, frozen=True, kw_only=True):
    """The claim stands again, and what is missing of the chunks is written once more."""

    session_id: str
    generation: str
    owner: str | None
    #: How many chunks the store had kept, of how many.
    kept: int
    chunks: int


class _Done(msgspec.Struct, frozen=True, kw_only=True):
    """A claim is over."""

    session_id: str
    generation: str
    owner: str | None
    #: What was stored under this claim: chunks, and their bytes.
    chunks: int
    bytes: int
    #: How long the claim has lasted, and when after its begin its first and its newest chunk were
    #: stored; None where none was.
    seconds: float
    first_chunk: float | None
    last_chunk: float | None
    #: The newest metadata, as JSON.
    metadata: str | None


class Ended(_Done, frozen=True, kw_only=True):
    """The end of the session is stored."""

    status: Status
    #: Why it has failed, or was cancelled, as far as the producer knows.
    reason: str | None


class Released(_Done, frozen=True, kw_only=True):
    """The producer has let go of the session, which others may continue at once."""

    #: Whether it was claimed by a supervisor whose ``resume`` has failed.
    in_vain: bool
    #: The store does not know: the session is left to its lease.
    abandoned: bool


class Fenced(_Done, frozen=True, kw_only=True):
    """The session is another's: what was written here meanwhile had no effect."""

    #: The generation that has it; None where it was removed.
    by: str | None


class GivenUp(_Done, frozen=True, kw_only=True):
    """The session could not be written any more, and is lost with what is not stored of it."""

    reason: str


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """A session that is read here was found lost: its producer gives no sign of life. Each hub that
    reads it says so, once for each generation; of one that was released only where it has missed
    that. What a supervisor resumes is told as ``TakenOver``."""

    session_id: str
    generation: str
    owner: str | None
    #: How many chunks are stored.
    chunks: int


class CancelRequested(msgspec.Struct, frozen=True, kw_only=True):
    """A cancel was asked for here."""

    session_id: str
    #: How the session stood then: ``ACTIVE`` where its producer is told; None where it is not
    #: there any more.
    status: Status | None


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """A round of the writer has set out: what was pending of all streams, in one round trip. Only
    of rounds that carry chunks; those that failed are sent again, and told again."""

    #: Of how many sessions it carries chunks, how many chunks, and their bytes.
    sessions: int
    chunks: int
    bytes: int
    #: How long the oldest of them has waited.
    waited: float


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What a round of the writer has brought into the store."""

    sessions: int
    chunks: int
    bytes: int
    #: How long the round trip took.
    seconds: float
    #: How long it took from the moment in which the oldest chunk of the round was accepted.
    since_accept: float


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that was published here has come back from the store to those who read it here. At
    most 20 chunks a second are followed, each the oldest of its session in a round."""

    session_id: str
    #: Since the oldest chunk of its round was accepted, and since the round has set out.
    since_accept: float
    since_published: float


class StoreFailed(msgspec.Struct, frozen=True, kw_only=True):
    """The store could not do something. It is tried again, except for a claim: who asked for that
    was told."""

    #: ``write``, ``renew``, ``look``, ``claim``, or ``ask`` (see ``Opened.ask``).
    doing: str
    #: For how many operations, or sessions.
    count: int
    reason: str
    #: Whether the store is to blame, and not what it holds of some session, which is damaged.
    away: bool


class StoreAnswered(msgspec.Struct, frozen=True, kw_only=True):
    """The store was asked whether it is there, by ``Opened.ask``, and is."""

    seconds: float


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """A subscriber has found its session, and where it begins."""

    #: Which subscriber of the hub.
    subscriber: int
    session_id: str
    generation: str
    owner: str | None
    status: Status
    #: Where it begins, and how many chunks are stored after that; 0 where nobody counts them.
    after: Cursor
    behind: int
    #: The ``traceparent`` of the newest claim that had one: link to that.
    traceparent: str | None


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """A subscriber has what was stored when it came, and is up to date for the first time."""

    subscriber: int
    session_id: str
    #: How many chunks it was given, their bytes, and how long it took, its own pauses included.
    chunks: int
    bytes: int
    seconds: float


class FellBehind(msgspec.Struct, frozen=True, kw_only=True):
    """A subscriber that was up to date reads on in the store: more has come than is held for it."""

    subscriber: int
    session_id: str
    #: How many chunks it is behind.
    behind: int


class CaughtUp(msgspec.Struct, frozen=True, kw_only=True):
    """A subscriber that fell behind is up to date again."""

    subscriber: int
    session_id: str
    chunks: int
    bytes: int
    seconds: float


class Unsubscribed(msgspec.Struct, frozen=True, kw_only=True):
    """A subscriber has left, or its iteration has ended."""

    subscriber: int
    session_id: str
    #: By how many offsets it has read on, and how long it was there.
    chunks: int
    seconds: float
    #: How the stream has ended; ``ACTIVE`` where the subscriber left before.
    status: Status
    #: What its iteration has raised: the name of the error's class.
    error: str | None


class Connected(msgspec.Struct, frozen=True, kw_only=True):
    """A connection to a server of the store was opened."""

    #: The server, without a password, and what the connection is for.
    server: str
    purpose: str
    #: Whether one for the same purpose was open before.
    again: bool
    seconds: float


class Disconnected(msgspec.Struct, frozen=True, kw_only=True):
    """A connection has broken off, or was left. Those that a hub closes at its end are not told."""

    server: str
    purpose: str
    reason: str


class EndHandedOut(msgspec.Struct, frozen=True, kw_only=True):
    """A worker of a feed got the end of a session."""

    feed: str
    session_id: str
    generation: str
    owner: str | None
    status: Status
    #: The how-manieth delivery it is, and how long ago the session has ended: the store has said
    #: when that was, this machine's clock says how long ago.
    attempt: int
    age: float


class EndDone(msgspec.Struct, frozen=True, kw_only=True):
    """A worker is done with an end."""

    feed: str
    session_id: str
    generation: str
    owner: str | None
    attempt: int
    #: How long the worker had it.
    seconds: float


class EndReturned(msgspec.Struct, frozen=True, kw_only=True):
    """An end was given back, or given up."""

    feed: str
    session_id: str
    generation: str
    owner: str | None
    attempt: int
    seconds: float
    #: ``again``: it comes again after a while. ``back``: at once. ``dead``: never. ``fenced``: it
    #: is another worker's.
    outcome: str
    reason: str


class MessageSent(msgspec.Struct, frozen=True, kw_only=True):
    """A message was put into an inbox here."""

    session_id: str
    message_id: str
    bytes: int


class MessageReceived(msgspec.Struct, frozen=True, kw_only=True):
    """A message of its inbox was handed to the producer here."""

    session_id: str
    generation: str
    owner: str | None
    message_id: str
    bytes: int


Event = (
    Opened
    | Closed
    | Claimed
    | TakenOver
    | Refused
    | FirstStored
    | CancelNoticed
    | DataLost
    | Repaired
    | Ended
    | Released
    | Fenced
    | GivenUp
    | Lost
    | CancelRequested
    | Published
    | Stored
    | Delivered
    | StoreFailed
    | StoreAnswered
    | Subscribed
    | Replayed
    | FellBehind
    | CaughtUp
    | Unsubscribed
    | Connected
    | Disconnected
    | EndHandedOut
    | EndDone
    | EndReturned
    | MessageSent
    | MessageReceived
)

#: Tells all instruments of one hub; None where it has none.
Tell: TypeAlias = Callable[[Event], None]
