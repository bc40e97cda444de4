"""What a store promises. The hub's guarantees G1 to G11 rest on these words and nothing else.

A store keeps, for every session, one record (who owns it, how it stands) and one log of chunks.
Every operation here is one atomic step: its check and its effect cannot be parted by another
writer, whatever process that runs in. Times come from the store's own clock.

The values that it takes and answers have modules of their own; whoever writes a store finds all of
them here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from ..chunks import Chunk, Cursor, SessionInfo, Status, join, right_after
from ..config import HubConfig
from ..errors import NoInbox, SessionCorrupted, StoreUnavailable
from ..instruments.events import Tell
from .feeds import Feeds
from .live_events import (
    Appended,
    CancelRequested,
    Claimed,
    Ended,
    LiveEvent,
    MessageSent,
    Released,
    Removed,
    Synced,
    Unsynced,
)
from .operations import (
    Append,
    Behind,
    Claim,
    Fenced,
    Finish,
    Gone,
    Granted,
    Handle,
    HasHoles,
    InboxMessage,
    InboxPage,
    Over,
    Refused,
    Release,
    Renew,
    Restore,
    Restored,
    SetMetadata,
    Stored,
    StoreTakeover,
    Takeover,
    WriteOp,
    WriteResult,
)
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


class Store(Protocol):
    """Where sessions live. Any store must pass the suite :mod:`streamhub.testing.conformance`.

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
        replaces: str | None = None,
        traceparent: str | None = None,
    ) -> Granted | Refused:
        """Claim the session if it is unknown, ended or lost; never over a live lease.

        Every claim is a new term: the store's time in milliseconds, and always above all terms that
        the session is known to have had. ``restart`` begins a new epoch with an empty log.
        ``continue`` keeps epoch, log and (where none are given) owner, metadata, request and
        ``traceparent``, is refused on a finished session, and begins a new epoch if the log is not
        whole. A lost session whose cancel was asked for is ended as ``CANCELLED`` instead of
        continued. With ``same_owner`` a session that has another owner than ``owner`` is refused,
        however it stands, and stays as it is. With ``replaces`` so is one whose generation is
        another, ``""`` being that of none. Repeating a call that was granted is
        granted again. Of several claims at once, one is granted.

        ``resume``, which a store without feeds is never asked for, is ``continue`` for a session
        that is lost. It counts: in ``resumes`` of the claim, and in ``handovers`` where the session
        was released before, and not ``in_vain``. Every other claim sets both to 0. Any other
        session is refused.

        :raises SessionNotFound: there is none to resume, or to replace.
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

    async def memory(self, session_ids: Sequence[str]) -> Sequence[int | None]:
        """About how many bytes of memory the store needs for each, all that belongs to it together;
        None where there is none, or the store cannot tell."""
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

    def instrument(self, tell: Tell) -> None:
        """Tell of connections that are opened and lost (``events.Connected``, ``Disconnected``).
        Comes before the first use of the store, and only in a hub that has instruments."""
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
        replaces: str | None = None,
        traceparent: str | None = None,
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

    async def memory(self, session_ids: Sequence[str]) -> Sequence[int | None]:
        """Cannot tell."""
        return [None] * len(session_ids)

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

    def instrument(self, tell: Tell) -> None:  # noqa: B027 - a default
        """Tells nothing."""

    def connections(self) -> int:
        """None, where there is nothing to connect to."""
        return 0

    async def aclose(self) -> None:  # noqa: B027 - a default
        """Lets go of nothing."""
