"""The hub: where sessions are claimed, found and removed."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias, get_args

from .chunks import Cursor, SessionInfo, Status
from .config import HubConfig
from .ends.feed import Ends
from .engine import Engine
from .errors import (
    HubClosed,
    HubInOtherProcess,
    SessionCorrupted,
    StoreUnavailable,
)
from .ids import check_owner, check_request, check_session_id
from .instruments.dispatch import Dispatcher, Instrument
from .lookup import Lookup, wait_registered
from .producing import sources
from .producing.ending import OnEnd
from .producing.production import OnCancel
from .reading.listing import listed, listed_with_metadata
from .reading.replay import parse_after
from .statistics import HubStatistics
from .stores.base import Refused, Store, StoreTakeover, missing_methods
from .stores.open_store import open_store
from .stream import LiveStream, written_metadata
from .supervisor import Resume, Supervisor

if TYPE_CHECKING:
    from .board import Board

__all__ = ["Hub", "Source", "check_drain"]

#: What ``run`` takes.
Source: TypeAlias = sources.Source[LiveStream]


class Hub:
    """Sessions on one store. Needs no start; close it with ``aclose`` or ``async with``.

    A hub belongs to the event loop of its first use: in another one, be it of another thread, it
    and its handles raise ``HubInOtherLoop``, in a process that is forked afterwards
    ``HubInOtherProcess``. ``streamhub.sync`` has one for threads. A hub holds a constant number of
    connections, however many sessions pass through it.

    One that is still open when its event loop shuts down, as ``asyncio.run`` does at the end, is
    closed by that within a few seconds, with a warning.

    :param store: where sessions live; a new in-memory store by default.
    :param config: limits and times.
    :param instruments: functions that are called with each event of ``streamhub.instruments``:
        claims, losses, repairs, ends …, for logs, metrics and traces. See ``docs/seeing.md``.
    :raises TypeError: ``store`` is no store (a URL is for ``from_url``), ``config`` none, or an
        instrument cannot be called.

    ::

        async with Hub.from_url("redis://localhost:6379/0") as hub:
            stream = await hub.run("chat:123", answer)
    """

    def __init__(
        self,
        store: Store | None = None,
        *,
        config: HubConfig | None = None,
        instruments: Iterable[Instrument] = (),
    ) -> None:
        if store is None:
            from .stores.memory import MemoryStore

            store = MemoryStore()
        _check_store(store)
        if config is not None and not isinstance(config, HubConfig):
            raise TypeError(f"config must be a HubConfig, not {type(config).__name__}")
        self._config = config or HubConfig()
        self._dispatcher = Dispatcher(instruments)
        self._store = store
        store.configure(self._config)
        self._closed = False
        #: Made by the first use, in its event loop.
        self._engine: Engine | None = None
        self._board: Board | None = None

    @classmethod
    def from_url(
        cls,
        url: str = "memory://",
        *,
        config: HubConfig | None = None,
        instruments: Iterable[Instrument] = (),
    ) -> Hub:
        """A hub on the store that ``url`` names. Nothing is connected before the first use.

        - ``memory://``, in this process
        - ``redis://[user:password@]host:6379/0``, ``unix:///path/to/redis.sock?db=0``
        - ``redis+sentinel://[user:password@]host:26379,host,…/mymaster/0``, the master that these
          Sentinels name; what they want for themselves are ``?sentinel_username=…``,
          ``&sentinel_password=…`` and ``&sentinel_tls=no``
        - ``redis+cluster://[user:password@]host:6379,host,…``, the cluster of these nodes

        With TLS it is ``rediss``; ``valkey`` and ``valkeys`` mean the same. Options of redis-py
        stand in the query: ``?ssl_ca_certs=/path/to/ca.pem&socket_timeout=2``. Redis needs the
        extra: ``pip install "streamhub-llm[redis]"``.

        Other packages may bring stores with schemes of their own; see ``docs/writing-a-store.md``.

        :raises InvalidStoreUrl: no store has this scheme, what it needs is not installed, or the
            URL is malformed: the message names the schemes or options that are allowed, and never
            holds a password.
        """
        return cls(open_store(url), config=config, instruments=instruments)

    def __repr__(self) -> str:
        return f"<Hub {self._store!r}>"

    @property
    def config(self) -> HubConfig:
        """The limits and times that this hub keeps."""
        return self._config

    async def register(
        self,
        session_id: str,
        on_cancel: OnCancel | None = None,
        *,
        on_end: OnEnd | None = None,
        takeover: StoreTakeover = "restart",
        owner: str | None = None,
        metadata: object = None,
        request: str | None = None,
        same_owner: bool = False,
        replaces: str | None = None,
    ) -> tuple[LiveStream, bool]:
        """Claim a session.

        Of all who try, on all machines, one gets it: ``(producer's handle, True)``. The others
        get ``(reader's handle, False)``. Nobody claims over a live lease.

        :param on_cancel: called once when a cancel is noticed; plain or async. Without it, a
            cancel interrupts ``async with stream``.
        :param on_end: called once with the :class:`End`, after that is stored as finished, failed
            or cancelled; plain (in the event loop) or async (in a task of its own). ``close`` does
            not wait for it; ``aclose`` does, up to 5 seconds, and then cancels it (the hub's own
            methods raise ``HubClosed`` by then). If it raises, that is logged and the end stays
            as it is. It is not called where this producer does not end the stream: killed,
            released by a hub that closes, fenced, lost, or broken off because the store was away.
        :param takeover: what happens to a session that has ended or is lost. ``"restart"`` begins
            a new epoch and drops the old chunks; ``"continue"`` goes on after the last chunk, and
            does not claim a finished session; ``"resume"`` continues one that is lost, and claims
            no other: it is for those who look after sessions that others have begun.
        :param owner: whose session it is, for ``sessions(owner=…)`` and for authorization.
        :param metadata: as for ``LiveStream.set_metadata``.
        :param request: what the session is claimed for, as a key that tells one request from
            another. It is kept beside the metadata, as ``info().request``: who is refused sees by
            it whether its own request is being served already.
        :param same_owner: never claim a session that has another owner, however it stands.
        :param replaces: never claim a session that is at another generation than this, as
            ``info().generation`` told it; ``""`` for one that is not there.
        :raises InvalidSessionId: not 1 to 512 bytes of UTF-8 without control characters.
        :raises InvalidMetadata: not JSON, nested more than 100 levels deep, or over
            ``max_chunk_bytes``.
        :raises ValueError: ``takeover`` is none of these, or ``owner`` or ``request`` not text of
            at most 512 bytes.
        :raises SessionNotFound: ``replaces`` names a generation of what is not there, or there is
            nothing to resume.
        :raises StoreUnavailable: the store cannot be reached.
        :raises HubClosed: the hub is closed.
        :raises HubInOtherLoop: see :class:`Hub`, as of all its methods.
        """
        check_session_id(session_id)
        if takeover not in get_args(StoreTakeover):
            allowed = "'restart', 'continue' or 'resume'"
            raise ValueError(f"takeover must be {allowed}, not {takeover!r}")
        if owner is not None:
            check_owner(owner)
        if request is not None:
            check_request(request)
        if on_cancel is not None and not callable(on_cancel):
            raise TypeError(f"on_cancel must be callable, not {type(on_cancel).__name__}")
        if on_end is not None and not callable(on_end):
            raise TypeError(f"on_end must be a function of the end, not {type(on_end).__name__}")
        limit = self._config.max_chunk_bytes
        engine = self._started()
        encoded = None if metadata is None else written_metadata(session_id, metadata, limit)
        answer = await engine.claim(
            session_id,
            on_cancel,
            on_end,
            takeover=takeover,
            owner=owner,
            metadata=encoded,
            request=request,
            same_owner=same_owner,
            replaces=replaces,
        )
        if isinstance(answer, Refused):
            return _reader(engine, answer.info), False
        claim = answer.producer.claim
        engine.watcher.learn(session_id, claim.generation)
        stream = LiveStream(
            engine,
            session_id,
            owner_generation=claim.generation,
            epoch=claim.epoch,
            production=answer,
        )
        return stream, True

    async def run(
        self,
        session_id: str,
        source: Source,
        *,
        on_end: OnEnd | None = None,
        takeover: StoreTakeover = "restart",
        owner: str | None = None,
        metadata: object = None,
        request: str | None = None,
        same_owner: bool = False,
    ) -> LiveStream:
        """Claim a session and publish all of ``source`` into it, in the background.

        Survives its caller and ends with the hub. The stream is ``finished`` with its source,
        ``failed`` if that raises, and ``cancelled`` by a cancel, which stops the source. If
        somebody owns the session, the source is closed unused and the handle is a reader's
        (``stream.generation is None``).

        :param source: an async iterable of str; an iterable of str, drawn from in a thread; or an
            async function that is given the stream and publishes itself. Of an iterable, None
            and ``""`` are skipped, and lone surrogates stored as U+FFFD.
        :param on_end: as for ``register``, however the stream ends.
        :raises TypeError: ``source`` is none of these.
        :raises: otherwise as ``register``; the source is closed then, too.
        """
        sources.check(source)
        try:
            stream, created = await self.register(
                session_id,
                on_end=on_end,
                takeover=takeover,
                owner=owner,
                metadata=metadata,
                request=request,
                same_owner=same_owner,
            )
        except BaseException:
            await sources.close_unused(source)
            raise
        if not created:
            await sources.close_unused(source)
            return stream
        stream.spawn_body(source)
        return stream

    def get(
        self,
        session_id: str,
        *,
        wait: float | None = None,
        after: Cursor | str | None = None,
    ) -> Lookup[LiveStream | None]:
        """A reader's handle on a session; None when there is no such session. To be awaited.

        :param wait: wait up to so many seconds for it to be registered.
        :param after: the cursor that the caller is going to read on from. Whoever holds one knows
            that the session was there: where a store has lost it, this waits for its producer to
            put it back, up to a lease.
        :raises InvalidSessionId: not 1 to 512 bytes of UTF-8 without control characters.
        :raises InvalidCursor: ``after`` is malformed.
        :raises SessionCorrupted: its stored data is damaged.
        :raises StoreUnavailable: the store cannot be reached.
        """

        async def find(after: Cursor | str | None) -> LiveStream | None:
            check_session_id(session_id)
            engine = self._started()
            patient = isinstance(parse_after(after), Cursor)
            (info,) = await engine.store.look([session_id])
            if info is None and (wait is not None or patient):
                info = await wait_registered(engine, session_id, wait, patient=patient)
            if isinstance(info, SessionCorrupted | StoreUnavailable):
                raise info
            return None if info is None else _reader(engine, info)

        return Lookup(find, after)

    async def active(self, session_ids: Iterable[str]) -> set[str]:
        """Which of these sessions have a live producer now."""
        if isinstance(session_ids, str):
            raise TypeError(f"session_ids must be several ids, not the one str {session_ids!r}")
        wanted = list(dict.fromkeys(session_ids))
        for session_id in wanted:
            check_session_id(session_id)
        infos = listed(self._started().store, _each(wanted))
        return {info.session_id async for info in infos if info.status is Status.ACTIVE}

    async def remove(self, session_id: str) -> bool:
        """Delete a session, whoever produces it; False if there is none.

        Its producer is fenced, its subscribers get ``SessionNotFound``.
        """
        check_session_id(session_id)
        return await self._started().store.remove(session_id)

    async def sessions(
        self,
        *,
        owner: str | None = None,
        status: Status | None = None,
        foreign: bool = False,
    ) -> AsyncIterator[SessionInfo]:
        """All sessions, in no order, with their metadata.

        One that comes or goes meanwhile may be among them or not. Never blocks the server. They are
        read as they are taken, a few at a time, so that memory is bounded however many there are.

        :param owner: those of one owner only; no others are looked at.
        :param status: those that stand so only.
        :param foreign: those of the Go library as well: every key in the database has to be gone
            through, whoever's it is.
        :raises StoreUnavailable: the store, or a part of it, cannot be reached.
        """

        def wanted(info: SessionInfo) -> bool:
            return owner in (None, info.owner) and status in (None, info.status)

        store = self._started().store
        every = owner is None and status is None
        named = store.sessions(owner=owner, foreign=foreign)
        async for info in listed_with_metadata(store, named, None if every else wanted):
            yield info

    def ends(
        self,
        name: str,
        *,
        lease: float = 30.0,
        lost_after: float = 60.0,
        max_attempts: int = 10,
        max_unsaved: float = 86400.0,
        timeout: float = 600.0,
    ) -> Ends:
        """A worker of the feed ``name``: of all workers that use the name, on all machines, one
        gets each end, until it is done. Another name gets every end, too::

            async with hub.ends("save") as ends:
                async for end in ends:
                    await save(end)
                    await end.done()

        The ends of all sessions that are claimed once the name is known, and of those that the
        store still has then: finished, failed, cancelled, and lost. An end that is not done when
        the next is asked for, or when an exception leaves the block, comes again after 1, 2, 4 …
        seconds, under the same ``key``; at once, and as if it had never been delivered, if its
        worker was cancelled or the hub closes; and once its lease has lapsed, if its worker was
        killed. So save by ``key``.

        :param lease: how long an end stays with a worker that gives no sign of life. It is
            renewed in the background.
        :param lost_after: how long a stream must be lost before that is its end: somebody may
            continue it meanwhile. One that is continued later ends once more.
        :param max_attempts: how often an end is delivered; then it is given up, and ``dead``.
        :param max_unsaved: how long a stream is kept after its end for those who have not done it,
            where that is longer than ``retention``. The workers of a name should agree on it.
        :param timeout: how long one delivery may take: then its lease is renewed no more, another
            worker gets the end, and ``done`` raises ``EndFenced``.
        :raises ValueError: the name is not 1 to 64 of ``a-z 0-9 _ - .``, or a number is none.
        :raises StoreUnsupported: the store keeps no feeds.
        """
        return Ends(
            self._started,
            self._store,
            name,
            lease=lease,
            lost_after=lost_after,
            max_attempts=max_attempts,
            max_unsaved=max_unsaved,
            timeout=timeout,
            config=self._config,
        )

    def supervise(
        self,
        resume: Resume,
        *,
        on_end: OnEnd | None = None,
        owner: str | None = None,
        max_resumes: int = 5,
    ) -> Supervisor:
        """See to it that sessions go on when their producers are lost: killed, or released by a
        hub that closed. Begins at once, and lasts until ``aclose`` or the end of the hub::

            async def resume(lost):
                return model.continue_answer(lost.metadata["prompt"], lost.text)

            async with hub.supervise(resume): ...

        In as many processes as one likes: one of all supervisors claims such a session, with
        ``takeover="continue"``, and runs what ``resume`` gives for it as ``run`` would. A session
        that was released goes on within moments, one whose producer was killed once its lease has
        lapsed. Who reads it waits for that, up to a lease, and reads on as if nothing had happened.
        What ended is left alone, and so is what its user has cancelled.

        :param resume: an async function of the :class:`LostSession`. It returns a source as ``run``
            takes them, whose chunks follow what is stored, or None: then the session ends as
            failed. If it raises, that is logged, and the session is left to the next attempt
            1/15, 2/15, 4/15 … of the lease later.
        :param on_end: as for ``register``, of the sessions that are resumed here.
        :param owner: look after the sessions of this owner alone, instead of all that the store
            has under the hub's ``key_prefix``.
        :param max_resumes: after so many attempts a session whose producer is lost once more ends
            as failed. A handover by a hub that closes is no failed attempt: see
            ``SessionInfo.resumes`` and ``handovers``.
        :raises TypeError: ``resume`` or ``on_end`` is no function.
        :raises ValueError: ``owner`` or ``max_resumes`` is none.
        :raises StoreUnsupported: the store keeps no index of its sessions.
        """
        if owner is not None:
            check_owner(owner)
        return Supervisor(
            self._started(), resume, on_end=on_end, owner=owner, max_resumes=max_resumes
        )

    def board(self) -> Board:
        """All sessions as somebody on call sees them: one for all who ask."""
        engine = self._started()
        if self._board is None:
            from .board import Board

            self._board = Board(engine.store, engine.spawn)
        return self._board

    def statistics(self) -> HubStatistics:
        """What the hub holds now. Costs no I/O, and next to no time."""
        return HubStatistics() if self._engine is None else self._engine.statistics()

    async def aclose(self, *, drain: float = 0.0) -> None:
        """Close the hub: sources of ``run`` are cancelled, what was published is stored, leases
        are released so that others can continue at once, subscriptions raise ``HubClosed``.

        Takes a few seconds at most, even if the store cannot be reached. Idempotent.

        :param drain: for how many seconds sources of ``run`` may go on to their ends before that.
            Meanwhile nothing can be claimed, which raises ``HubClosed``; all else goes on.
        """
        check_drain(drain)
        if drain and self._engine is not None and not self._closed:
            await self._engine.drain(drain)
        self._closed = True
        if self._engine is None:
            await self._store.aclose()
        else:
            await self._engine.aclose()

    async def __aenter__(self) -> Hub:
        self._started()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.aclose()
        except HubInOtherProcess:
            # A fork within the block: its child leaves it, too, and has nothing to close.
            if error is None:
                raise

    def _started(self) -> Engine:
        """What runs the hub, from the first use on.

        :raises HubClosed, HubInOtherLoop, HubInOtherProcess: it cannot be used, or not here.
        """
        if self._engine is None:
            if self._closed:
                raise HubClosed
            self._engine = Engine(self._store, self._config, self._dispatcher)
        else:
            self._engine.check()
        return self._engine


def _check_store(store: object) -> None:
    """:raises TypeError: it is none, and what to do instead."""
    if isinstance(store, str):
        raise TypeError("store must be a store, not a str: a URL is for Hub.from_url(url)")
    if isinstance(store, type):
        raise TypeError(f"store must be a store, not the class of some: {store.__name__}(…)")
    if missing := missing_methods(store):
        hint = ""
        if type(store).__module__.partition(".")[0] == "redis":
            hint = ": a client of redis-py goes into streamhub.stores.redis.RedisStore(client)"
        raise TypeError(
            f"store must be a store, not {type(store).__name__}, which has no "
            f"{', '.join(missing)}{hint}"
        )


def _reader(engine: Engine, info: SessionInfo) -> LiveStream:
    engine.watcher.learn(info.session_id, info.generation)
    return LiveStream(engine, info.session_id, owner_generation=info.generation, epoch=info.epoch)


async def _each(items: Iterable[str]) -> AsyncIterator[str]:
    for item in items:
        yield item


def check_drain(drain: float) -> None:
    """:raises ValueError: it is no number of seconds."""
    if not 0 <= drain < math.inf:
        raise ValueError(f"drain must be a number of seconds, 0 or more, not {drain!r}")
