"""What a store promises. The hub's guarantees G1 to G11 rest on these words and nothing else.

A store keeps, for every session, one record (who owns it, how it stands) and one log of chunks.
Every operation here is one atomic step: its check and its effect cannot be parted by another
writer, whatever process that runs in. Times come from the store's own clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from ..chunks import Chunk, Cursor, Item, SessionInfo, Status, Terms, join, right_after
from ..config import HubConfig
from ..errors import NoInbox, SessionCorrupted, StoreUnavailable
from .feeds import Feeds
from .watch import Watch

__all__ = [
    "Append",
    "Appended",
    "BaseStore",
    "Behind",
    "CancelRequested",
    "Claim",
    "Claimed",
    "Ended",
    "Fenced",
    "Finish",
    "Gone",
    "Granted",
    "Handle",
    "HasHoles",
    "InboxMessage",
    "InboxPage",
    "LiveEvent",
    "MessageSent",
    "Over",
    "Refused",
    "Release",
    "Released",
    "Removed",
    "Renew",
    "Restore",
    "Restored",
    "SetMetadata",
    "Store",
    "StoreTakeover",
    "Stored",
    "Synced",
    "Takeover",
    "Unsynced",
    "Watch",
    "WriteOp",
    "WriteResult",
    "missing_methods",
]

#: What a user may ask for.
Takeover = Literal["restart", "continue"]
#: And what a supervisor does.
StoreTakeover = Literal["restart", "continue", "resume"]


class Claim(msgspec.Struct, frozen=True):
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


class Store(Protocol):
    """Where sessions live. See :mod:`streamhub.testing` for the suite that any store must pass.

    Every method but ``watch`` may raise ``StoreUnavailable`` (nothing is known about the effect;
    all may be repeated) and ``SessionCorrupted``. None waits longer than a few seconds.
    """

    def configure(self, config: HubConfig) -> None:
        """Take over from the hub's config what concerns the store. Comes before anything else."""
        ...

    @property
    def feeds(self) -> Feeds | None:
        """What hands out how sessions ended; None in a store that has no feeds."""
        ...

    async def claim(
        self,
        session_id: str,
        generation: str,
        *,
        takeover: StoreTakeover,
        lease: float,
        retention: float,
        owner: str | None = None,
        metadata: str | None = None,
        request: str | None = None,
        same_owner: bool = False,
    ) -> Granted | Refused:
        """Claim the session if it is unknown, ended or lost; never over a live lease.

        Every claim is a new term: the store's time in milliseconds, and always above all terms that
        the session is known to have had. ``restart`` begins a new epoch with an empty log.
        ``continue`` keeps epoch, log and (where none are given) owner, metadata and request, is
        refused on a finished session, and begins a new epoch if the log is not whole. A lost
        session whose cancel was asked for is ended as ``CANCELLED`` instead of continued. With
        ``same_owner`` a session that has another owner than ``owner`` is refused, however it
        stands, and stays as it is. Repeating a call that was granted is granted again. Of several
        claims at once, one is granted.

        ``resume``, which a store without feeds is never asked for, is ``continue`` for a session
        that is lost. It counts: in ``resumes`` of the claim, and in ``handovers`` where the session
        was released before, and not ``in_vain``. Every other claim sets both to 0. Any other
        session is refused.

        :raises SessionNotFound: there is none to resume.
        """
        ...

    def write(self, ops: Sequence[WriteOp]) -> Awaitable[list[WriteResult | Exception]]:
        """Carry out the operations in order, each an atomic step checked against its claim.

        The answers stand in the same order. One operation's error is its own answer
        (``StoreUnavailable``: worth repeating) and leaves the others alone.

        It is awaited soon, but a store that can do so begins when it is called; what it raises then
        counts as if it came with the answers. It is called again before it has answered, with
        appends that follow those under way: it should carry them out in that order. One that comes
        too early is ``Behind``, and repeated.
        """
        ...

    async def renew(self, ops: Sequence[Renew]) -> list[WriteResult | Exception]:
        """Like ``write``, and never kept waiting by it."""
        ...

    async def cancel(
        self, session_id: str, *, generation: str, epoch: int | None, reason: str | None = None
    ) -> Status | None:
        """Ask for the cancel of what ``epoch`` (or, where that is None, ``generation``) writes.

        An active session is marked and its producer told: ``ACTIVE``. A lost one is ended as
        ``CANCELLED`` on the spot. An ended one keeps its end, which is returned. The first
        ``reason`` stays as the ``error`` of a session that ends as cancelled. None if that stream
        is not there any more; nothing was changed then.
        """
        ...

    async def remove(self, session_id: str) -> bool:
        """Delete the session, and fence the producer it may have; False if there was none."""
        ...

    async def look(
        self, session_ids: Sequence[str], *, metadata: bool = False
    ) -> Sequence[SessionInfo | SessionCorrupted | StoreUnavailable | None]:
        """How these sessions stand, with their metadata on request; None where there is none.

        A session whose data is damaged is answered by its error, and leaves the others alone; so
        is one in a part of the store that alone cannot be reached.
        """
        ...

    async def announce(self, followers: Mapping[str, int], *, hub: str, lasts: float) -> None:
        """So many follow each of these sessions in the hub of this name (letters and digits), for
        the next ``lasts`` seconds unless it says otherwise: ``look`` answers how many follow in all
        hubs. Says nothing of sessions that are not there, nor of those of the Go library. Only hubs
        that count subscribers do so.

        A claim that begins a new epoch begins without. It may be done in part or not at all where
        the store is away or may not be written.

        :raises StoreUnavailable: nothing of it may be done.
        """
        ...

    async def metadata_sizes(self, session_ids: Sequence[str]) -> Sequence[int]:
        """About how many bytes of metadata ``look`` would read of each; 0 where there is none.

        Says nothing of damage: that is told to whoever looks.
        """
        ...

    async def read(
        self, session_id: str, after: Cursor, limit: int, *, generation: str | None = None
    ) -> list[Chunk]:
        """Up to ``limit`` chunks after the place ``after`` in order; fewer only at the end of the
        term, which may be the end of the log.

        Only those of its term: none if the log does not have that term (any more). In a session of
        the Go library, which has no terms, name the ``generation`` instead: none if the session is
        another's now.
        """
        ...

    async def read_joined(self, session_id: str, after: Cursor, limit: int) -> list[Chunk]:
        """What the next ``limit`` places after ``after`` hold, up to the first that is empty.

        Each row of chunks without event type comes as one chunk, of their data in order, under the
        cursor of the last; chunks with an event type stay single, in their place. Short only at
        the end of the term or at a hole; none where ``read`` finds none. Not for sessions of the Go
        library.
        """
        ...

    def sessions(self, *, owner: str | None = None, foreign: bool = False) -> AsyncIterator[str]:
        """The ids of all sessions; one that comes or goes meanwhile may be seen or not, and some
        may be of sessions that are gone.

        :param owner: those of one owner. A store that cannot tell them apart names all.
        :param foreign: those of the Go library as well, which may take much longer.
        """
        ...

    def watch(
        self, session_id: str, sink: Callable[[LiveEvent], None], *, cancels: bool = False
    ) -> Watch:
        """Call ``sink`` in the event loop with each of the session's live events, in order.

        With ``cancels`` these are the ``CancelRequested`` that its producer wants, otherwise all
        others. Returns at once; ``Synced`` says when it listens.
        Live events save the wait and carry no guarantee: the record and the log are the truth.
        """
        ...

    async def send(
        self,
        session_id: str,
        data: str,
        event: str | None,
        *,
        epoch: int | None,
        token: str,
        max_messages: int,
        max_bytes: int,
    ) -> str:
        """Put a message into the inbox of what ``epoch`` writes; the answer is its id.

        An inbox keeps its messages in order, across generations, until they are handled
        (``Handle``) or a restart begins with an empty one. A lost session takes messages. Repeating
        a call with the same ``token`` (of letters and digits) is answered with the same id and
        sends nothing, for at least the last 256 messages.

        :raises InboxFull: there are ``max_messages`` in it, or they would be over ``max_bytes`` of
            data and event types.
        :raises StreamClosed: the session has ended.
        :raises SessionNotFound: there is none.
        :raises StreamReplaced: it has another epoch.
        :raises NoInbox: what writes the session, or the store, has none.
        """
        ...

    async def read_inbox(self, claim: Claim, held: Sequence[str]) -> InboxPage:
        """The messages that wait for this claim, but those whose ids are ``held``; not always all
        at once, but one at least where there is any. Nothing where the claim does not stand."""
        ...

    def watch_inbox(self, session_id: str, sink: Callable[[LiveEvent], None]) -> Watch:
        """Like ``watch``; tells of each message that is sent (``MessageSent``)."""
        ...

    def connections(self) -> int:
        """How many connections are open, for ``Hub.statistics``. Costs no I/O."""
        ...

    async def aclose(self) -> None:
        """Let go of all connections and tasks. A client that the user owns stays open."""
        ...


def missing_methods(store: object) -> list[str]:
    """Which of them this object has not, and so is no store."""
    methods = [
        name for name, one in vars(Store).items() if callable(one) and not name.startswith("_")
    ]
    return [name for name in methods if not callable(getattr(store, name, None))]


class BaseStore(ABC):
    """A store is these eight methods; the others of ``Store`` have a default here.

    The promises stand at the methods of :class:`Store`; ``docs/writing-a-store.md`` has a template.
    """

    def configure(self, config: HubConfig) -> None:  # noqa: B027 - a default
        """Takes over nothing."""

    @property
    def feeds(self) -> Feeds | None:
        """None: there are none."""
        return None

    @abstractmethod
    async def claim(
        self,
        session_id: str,
        generation: str,
        *,
        takeover: StoreTakeover,
        lease: float,
        retention: float,
        owner: str | None = None,
        metadata: str | None = None,
        request: str | None = None,
        same_owner: bool = False,
    ) -> Granted | Refused: ...

    @abstractmethod
    def write(self, ops: Sequence[WriteOp]) -> Awaitable[list[WriteResult | Exception]]: ...

    async def renew(self, ops: Sequence[Renew]) -> list[WriteResult | Exception]:
        """Renews as ``write`` does, which suits a store whose writes never wait for each other."""
        return await self.write(ops)

    @abstractmethod
    async def cancel(
        self, session_id: str, *, generation: str, epoch: int | None, reason: str | None = None
    ) -> Status | None: ...

    @abstractmethod
    async def remove(self, session_id: str) -> bool: ...

    @abstractmethod
    async def look(
        self, session_ids: Sequence[str], *, metadata: bool = False
    ) -> Sequence[SessionInfo | SessionCorrupted | StoreUnavailable | None]: ...

    async def announce(  # noqa: B027 - a default
        self, followers: Mapping[str, int], *, hub: str, lasts: float
    ) -> None:
        """Does nothing: ``SessionInfo.subscribers`` stays None."""

    async def metadata_sizes(self, session_ids: Sequence[str]) -> Sequence[int]:
        """Takes all for large: they are looked at one by one."""
        return [HubConfig().max_chunk_bytes] * len(session_ids)

    @abstractmethod
    async def read(
        self, session_id: str, after: Cursor, limit: int, *, generation: str | None = None
    ) -> list[Chunk]: ...

    async def read_joined(self, session_id: str, after: Cursor, limit: int) -> list[Chunk]:
        """Joins what ``read`` answers, up to the first hole."""
        return join(right_after(await self.read(session_id, after, limit), after))

    @abstractmethod
    def sessions(
        self, *, owner: str | None = None, foreign: bool = False
    ) -> AsyncIterator[str]: ...

    @abstractmethod
    def watch(
        self, session_id: str, sink: Callable[[LiveEvent], None], *, cancels: bool = False
    ) -> Watch: ...

    async def send(
        self,
        session_id: str,
        data: str,
        event: str | None,
        *,
        epoch: int | None,
        token: str,
        max_messages: int,
        max_bytes: int,
    ) -> str:
        """Says that the store keeps no inboxes."""
        raise self._no_inbox(session_id)

    async def read_inbox(self, claim: Claim, held: Sequence[str]) -> InboxPage:
        """Says that the store keeps no inboxes."""
        raise self._no_inbox(claim.session_id)

    def watch_inbox(self, session_id: str, sink: Callable[[LiveEvent], None]) -> Watch:
        """Says that the store keeps no inboxes."""
        raise self._no_inbox(session_id)

    def _no_inbox(self, session_id: str) -> NoInbox:
        return NoInbox(session_id, f"{type(self).__name__} keeps none")

    def connections(self) -> int:
        """None, where there is nothing to connect to."""
        return 0

    async def aclose(self) -> None:  # noqa: B027 - a default
        """Lets go of nothing."""
