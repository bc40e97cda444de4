"""The hub for threads: where sessions are claimed, found and removed."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from types import TracebackType
from typing import TypeAlias, cast

from .. import hub, stream, supervisor
from ..chunks import Cursor, SessionInfo, Status
from ..config import HubConfig
from ..end import End
from ..instruments.dispatch import Instrument
from ..parts import AnyPart
from ..producing import sources
from ..producing.ending import OnEnd
from ..producing.production import OnCancel
from ..statistics import HubStatistics
from ..stores.base import Store, StoreTakeover
from ..supervisor import LostSession
from .background import Background, in_thread
from .ends import Ends
from .stream import LiveStream
from .supervisor import Supervisor

__all__ = ["Hub", "Source"]

Source: TypeAlias = (
    Iterable[str | AnyPart | None]
    | AsyncIterable[str | AnyPart | None]
    | Callable[[LiveStream], object]
    | Callable[[stream.LiveStream], Awaitable[object]]
)

Resume: TypeAlias = Callable[[LostSession], "Source | None"]

_INFOS_AT_ONCE = 256


class Hub:
    """:class:`streamhub.Hub` for threads. Close it with ``close`` or ``with``.

    Any number of threads may use it at the same time. It runs one thread of its own, in which an
    event loop does the I/O, from its first use on. Ctrl-C interrupts whatever waits.

    A hub that is still open when the interpreter exits is closed then. One that was used before
    ``os.fork()`` raises ``HubInOtherProcess`` in the child: create it where you like, but use it
    first in the process that needs it.

    :param store: where sessions live; a new in-memory store by default. It belongs to this hub
        alone.
    :param config: limits and times.
    :param instruments: as for :class:`streamhub.Hub`; they are called in the hub's own thread.

    ::

        with Hub.from_url("redis://localhost:6379/0") as hub:
            stream = hub.run("chat:123", answer)
    """

    def __init__(
        self,
        store: Store | None = None,
        *,
        config: HubConfig | None = None,
        instruments: Iterable[Instrument] = (),
    ) -> None:
        self._set_up(hub.Hub(store, config=config, instruments=instruments))

    @classmethod
    def from_url(
        cls,
        url: str = "memory://",
        *,
        config: HubConfig | None = None,
        instruments: Iterable[Instrument] = (),
    ) -> Hub:
        """A hub on the store that ``url`` names; see :meth:`streamhub.Hub.from_url`.

        :raises InvalidStoreUrl: the URL names no such store.
        """
        opened = cls.__new__(cls)
        opened._set_up(hub.Hub.from_url(url, config=config, instruments=instruments))
        return opened

    def _set_up(self, opened: hub.Hub) -> None:
        #: For our own modules: the hub of the event loop, and what runs that.
        self.hub = opened
        self.background: Background = Background(opened)
        self._call = self.background.call

    def __repr__(self) -> str:
        return repr(self.hub)

    @property
    def config(self) -> HubConfig:
        """The limits and times that this hub keeps."""
        return self.hub.config

    def register(
        self,
        session_id: str,
        on_cancel: Callable[[], object] | None = None,
        *,
        on_end: Callable[[End], object] | None = None,
        takeover: StoreTakeover = "restart",
        owner: str | None = None,
        metadata: object = None,
        request: str | None = None,
        same_owner: bool = False,
        replaces: str | None = None,
    ) -> tuple[LiveStream, bool]:
        """Claim a session: ``(producer's handle, True)``, or ``(reader's handle, False)``.

        :param on_cancel: called once, in a worker thread, when a cancel is noticed; it may block.
            Without it, a cancel makes the producer's next ``publish`` raise ``StreamClosed``.
        :param on_end: called once with the :class:`streamhub.End`, in a worker thread, after that
            is stored; it may block. ``close`` of the hub waits for it, up to 5 seconds.

        The rest is as in :meth:`streamhub.Hub.register`, with its errors.
        """
        claimed, created = self._call(
            self.hub.register,
            session_id,
            _as_async(on_cancel),
            on_end=_as_async_on_end(on_end),
            takeover=takeover,
            owner=owner,
            metadata=metadata,
            request=request,
            same_owner=same_owner,
            replaces=replaces,
        )
        return LiveStream(self.background, claimed), created

    def run(
        self,
        session_id: str,
        source: Source,
        *,
        on_end: Callable[[End], object] | None = None,
        takeover: StoreTakeover = "restart",
        owner: str | None = None,
        metadata: object = None,
        request: str | None = None,
        same_owner: bool = False,
    ) -> LiveStream:
        """Claim a session and publish all of ``source`` into it, in the background.

        :param source: an iterable of str, drawn from in a thread of its own; or a function, run
            in one, that is given the stream and publishes itself. Nobody can stop a thread: on a
            cancel nothing more is drawn from the iterable, and the function's next ``publish``
            raises ``StreamClosed``; the stream is ended as ``cancelled`` meanwhile.
            An async iterable, or an async function of a :class:`streamhub.LiveStream`, runs in
            the event loop of the hub, as in :meth:`streamhub.Hub.run`.
        :param on_end: as for ``register``.

        The rest is as in :meth:`streamhub.Hub.run`, with its errors.
        """
        sources.check(source)
        started = self._call(
            self.hub.run,
            session_id,
            self._as_async_source(source),
            on_end=_as_async_on_end(on_end),
            takeover=takeover,
            owner=owner,
            metadata=metadata,
            request=request,
            same_owner=same_owner,
        )
        return LiveStream(self.background, started)

    def get(
        self,
        session_id: str,
        *,
        wait: float | None = None,
        after: Cursor | str | None = None,
    ) -> LiveStream | None:
        """A reader's handle on a session; None when there is no such session.

        :param wait: wait up to so many seconds for it to be registered.
        :param after: the cursor that the caller is going to read on from: where the store has lost
            the session, this waits for its producer to put it back, up to a lease.
        """
        found = self._call(self.hub.get, session_id, wait=wait, after=after)
        return None if found is None else LiveStream(self.background, found)

    def active(self, session_ids: Iterable[str]) -> set[str]:
        """Which of these sessions have a live producer now."""
        # What they come from may do I/O of its own: in this thread.
        return self._call(self.hub.active, list(session_ids))

    def remove(self, session_id: str) -> bool:
        """Delete a session, whoever produces it; False if there is none."""
        return self._call(self.hub.remove, session_id)

    def sessions(
        self,
        *,
        owner: str | None = None,
        status: Status | None = None,
        foreign: bool = False,
    ) -> Iterator[SessionInfo]:
        """All sessions, or those of one owner or status; see :meth:`streamhub.Hub.sessions`."""
        infos = self.hub.sessions(owner=owner, status=status, foreign=foreign)
        while batch := self._call(_take, infos):
            yield from batch

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
        """A worker of the feed ``name``; see :meth:`streamhub.Hub.ends`.

        ::

            with hub.ends("save") as ends:
                for end in ends:
                    save(end)
                    end.done()
        """
        return Ends(
            self.background,
            self.hub.ends(
                name,
                lease=lease,
                lost_after=lost_after,
                max_attempts=max_attempts,
                max_unsaved=max_unsaved,
                timeout=timeout,
            ),
        )

    def supervise(
        self,
        resume: Resume,
        *,
        on_end: Callable[[End], object] | None = None,
        owner: str | None = None,
        max_resumes: int = 5,
    ) -> Supervisor:
        """See to it that sessions go on when their producers are lost; see
        :meth:`streamhub.Hub.supervise`.

        :param resume: a function of the lost session, called in a thread, which returns what
            ``run`` takes, or None.
        """

        async def ask(lost: LostSession) -> sources.Source[stream.LiveStream] | None:
            source = await in_thread(resume, lost)
            if inspect.isawaitable(source) and not isinstance(source, AsyncIterable):
                source = await source
            if source is None:
                return None
            sources.check(source)
            return self._as_async_source(source)

        async def begin() -> supervisor.Supervisor:
            return self.hub.supervise(
                ask if callable(resume) else resume,
                on_end=_as_async_on_end(on_end),
                owner=owner,
                max_resumes=max_resumes,
            )

        return Supervisor(self.background, self._call(begin))

    def statistics(self) -> HubStatistics:
        """What the hub holds now; see :meth:`streamhub.Hub.statistics`."""
        return self.hub.statistics()

    def close(self, *, drain: float = 0.0) -> None:
        """Close the hub; see :meth:`streamhub.Hub.aclose`.

        Threads that wait on it or iterate raise ``HubClosed``, at once. Idempotent.
        """
        hub.check_drain(drain)
        self.background.close(drain)

    def __enter__(self) -> Hub:
        self._call(self.hub.__aenter__)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _as_async_source(self, source: Source) -> sources.Source[stream.LiveStream]:
        if isinstance(source, AsyncIterable | Iterable) or inspect.iscoroutinefunction(source):
            return cast("sources.Source[stream.LiveStream]", source)
        function = cast("Callable[[LiveStream], object]", source)

        async def body(claimed: stream.LiveStream) -> None:
            result = await in_thread(function, LiveStream(self.background, claimed))
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError(f"{source!r} returned a coroutine: hand in an async function")

        return body


def _as_async(on_cancel: Callable[[], object] | None) -> OnCancel | None:
    if on_cancel is None or not callable(on_cancel):
        return on_cancel

    async def stop() -> None:
        result = await in_thread(on_cancel)
        if inspect.isawaitable(result):
            await result

    return stop


def _as_async_on_end(on_end: Callable[[End], object] | None) -> OnEnd | None:
    if on_end is None or not callable(on_end):
        return on_end

    async def tell(end: End) -> None:
        result = await in_thread(on_end, end)
        if inspect.isawaitable(result):
            await result

    return tell


async def _take(infos: AsyncIterator[SessionInfo]) -> list[SessionInfo]:
    """The next of ``infos``, many at once; none at the end."""
    batch: list[SessionInfo] = []
    async for info in infos:
        batch.append(info)
        if len(batch) == _INFOS_AT_ONCE:
            break
    return batch
