"""One view per session per process, and one task that looks after all of them.

Those that are due for a look at the store get it together, in one round trip.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from math import inf
from os import urandom
from typing import Any, Protocol

from ..chunks import Cursor, SessionInfo, Status
from ..config import HubConfig
from ..errors import HubClosed, StoreUnavailable, StreamHubError
from ..instruments import events
from ..instruments.events import Tell
from ..stores.base import Store
from .observing import ObservedReader
from .session_view import SessionView

__all__ = ["Watcher"]

logger: logging.Logger = logging.getLogger("streamhub")

_LOOKS_PER_ROUND = 512
# Looks that fall due within this time go together.
_GATHER = 0.5
# A look that comes this late finds leases that nobody could renew: the event loop was blocked.
_LATE = 1.0
# And so does one that is answered so late: the store stood still.
_SLOW = 0.25
_FIRST_BACKOFF = 0.05
_LAST_BACKOFF = 1.0


class Reader(Protocol):
    @property
    def cursor(self) -> Cursor | None: ...


class Watcher:
    """:param check_place: raises in another event loop, and in a forked process.
    :param tell: tells instruments, if there are any.
    :param view: makes what this process has of a session.
    """

    def __init__(
        self,
        store: Store,
        config: HubConfig,
        check_place: Callable[[], None],
        *,
        tell: Tell | None = None,
        view: Callable[..., SessionView] = SessionView,
    ) -> None:
        self.check_place = check_place
        self._store = store
        self._tell = tell
        #: Readers of which instruments are told.
        self._readers: dict[ObservedReader, None] = {}
        self.config = config
        #: What this hub is called where it says how many follow a session here.
        self._name = urandom(6).hex()
        self._gather = min(_GATHER, config.lease / 8)
        self._views: dict[str, SessionView] = {}
        self._next = inf
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        #: Views whose look failed, and since when.
        self._failing: dict[SessionView, float] = {}
        self._backoff = _FIRST_BACKOFF
        self._closed = False
        #: Whether the hub is closing; its subscriptions end with it, and not before.
        self.closing = False
        #: Whether this process was forked from the one that the hub belongs to.
        self.left: bool = False
        # What all views share is made once: the garbage collector goes through what each has.
        self._view = partial(
            view,
            store=store,
            config=config,
            spawn=self._spawn,
            schedule=self._schedule,
            is_closing=lambda: self.closing,
        )

    def attach(self, session_id: str, *, buffer: int = 1) -> SessionView:
        """The session's view, for one more user; each gives it back with ``detach``.

        :raises HubClosed: the hub is closed.
        """
        self.check_place()
        if self._closed:
            raise HubClosed
        view = self._views.get(session_id)
        if view is None or view.standing.failure is not None:
            view = self._view(session_id)
            self._views[session_id] = view
            self._schedule(view)
        view.references += 1
        view.recent.max_chunks = max(view.recent.max_chunks, buffer)
        return view

    def observe(self, reader: Reader, info: SessionInfo, position: Cursor) -> ObservedReader | None:
        """What tells of a reader that begins there; None where there is nobody to be told."""
        if self._tell is None:
            return None
        cursor = partial(_cursor_of, weakref.ref(reader))
        observed = ObservedReader(self._tell, info, position, cursor, self._readers.pop)
        self._readers[observed] = None
        return observed

    def view_of(self, session_id: str) -> SessionView | None:
        """The session's view, if somebody here reads it."""
        return self._views.get(session_id)

    def learn(self, session_id: str, generation: str) -> None:
        """A handle is given out on a session that was claimed, or found, under this generation.
        Whoever uses it is not to hear what its view has known before that."""
        view = self._views.get(session_id)
        if view is not None:
            view.learn(generation)

    def detach(self, view: SessionView) -> None:
        view.references -= 1
        if view.references == 0:
            view.close()
            self._failing.pop(view, None)
            if self._views.get(view.session_id) is view:
                del self._views[view.session_id]

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(None if self._next == inf else self._next):
                    await self._wake.wait()
            self._wake.clear()
            await self._look_at_due()
            self._next = min((view.standing.due for view in self._views.values()), default=inf)

    @property
    def sessions(self) -> int:
        """How many sessions are followed."""
        return len(self._views)

    @property
    def users(self) -> int:
        """How many follow them."""
        return sum(view.references for view in [*self._views.values()])

    @property
    def failing(self) -> bool:
        """Whether the store could not be looked at, for any session."""
        return bool(self._failing)

    @property
    def tasks(self) -> int:
        """How many tasks read for them."""
        return len(self._tasks)

    def leave(self) -> None:
        """This is a process that was forked: all is left as it is, for it is the parent's."""
        self.left = True
        for view in self._views.values():
            # Its subscribers ask before they wait for news.
            view.standing.turn += 1

    async def aclose(self) -> None:
        """End all subscriptions with ``HubClosed``."""
        self._closed = True
        for view in list(self._views.values()):
            view.close()
            view.fail(HubClosed())
        self._views.clear()
        for reader in [*self._readers]:
            reader.left(Status.ACTIVE, HubClosed())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look_at_due(self) -> None:
        now = asyncio.get_running_loop().time()
        late = now - self._next > _LATE
        due = [view for view in self._views.values() if view.standing.due <= now + self._gather]
        if any(view.standing.due <= now for view in due):
            for start in range(0, len(due), _LOOKS_PER_ROUND):
                await self._look(due[start : start + _LOOKS_PER_ROUND], late=late)

    async def _look(self, views: list[SessionView], *, late: bool) -> None:
        for view in views:
            view.standing.begin_look()
            if late:
                view.distrust()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            found = await self._store.look([view.session_id for view in views])
        except Exception as error:  # whatever the store does, its views must hear of it
            self._fail(views, error)
            return
        answers = dict(zip(views, found, strict=True))
        # Where a part of the store is away, the other sessions have their answers all the same.
        away = {view: one for view, one in answers.items() if isinstance(one, StoreUnavailable)}
        back = self._failing.keys() & (answers.keys() - away.keys())
        if back or (not away and loop.time() - began > _SLOW):
            for view in self._views.values():
                view.distrust()
        for view, info in answers.items():
            if not isinstance(info, StoreUnavailable):
                self._failing.pop(view, None)
                view.end_look(info)
        if self.config.count_subscribers:
            self._spawn(
                self._announce([v for v, i in answers.items() if isinstance(i, SessionInfo)])
            )
        if away:
            self._fail(list(away), next(iter(away.values())))
        else:
            self._backoff = _FIRST_BACKOFF

    async def _announce(self, views: list[SessionView]) -> None:
        """Say how many follow these sessions here. Where that fails, the next look brings it."""
        followers = {view.session_id: view.references for view in views if view.references}
        if followers:
            with suppress(StreamHubError):
                await self._store.announce(followers, hub=self._name, lasts=2 * self.config.lease)

    def _fail(self, views: list[SessionView], error: Exception) -> None:
        """Try again later, or tell the subscribers when that has lasted too long."""
        now = asyncio.get_running_loop().time()
        if not self._failing.keys() & views:
            logger.warning("looking at %d sessions failed: %s", len(views), error)
        if self._tell is not None:
            self._tell(
                events.StoreFailed(doing="look", count=len(views), reason=str(error), away=True)
            )
        if not isinstance(error, StreamHubError):
            error = StoreUnavailable(repr(self._store), f"{type(error).__name__}: {error}")
        for view in views:
            since = self._failing.setdefault(view, now)
            if now - since >= self.config.give_up_after:
                del self._failing[view]
                view.fail(error)
            else:
                view.standing.look_failed(now + self._backoff)
        self._backoff = min(2 * self._backoff, _LAST_BACKOFF)

    def _schedule(self, view: SessionView) -> None:
        due = view.standing.due
        if due < self._next:
            self._next = due
            self._wake.set()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()


def _cursor_of(reader: weakref.ref[Reader]) -> Cursor | None:
    alive = reader()
    return None if alive is None else alive.cursor
