"""What one hub runs: its store, the writer, the leases, the watcher, and every task they need."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakSet

from .config import HubConfig
from .errors import HubClosed, HubInOtherLoop, HubInOtherProcess
from .instruments.dispatch import Dispatcher
from .instruments.events import Tell
from .instruments.observation import Observation
from .producing.claiming import claim
from .producing.ending import OnEnd
from .producing.leases import Leases
from .producing.producer import Producer
from .producing.production import OnCancel, Production
from .producing.writer import Writer
from .reading.observed_view import Expectations, ObservedView
from .reading.session_view import SessionView
from .reading.watcher import Watcher
from .signals import is_cancelled
from .statistics import HubStatistics
from .stores.base import Refused, Store, StoreTakeover

__all__ = ["Engine"]

logger: logging.Logger = logging.getLogger("streamhub")

# How long closing waits, in seconds: for claims under way and for sources to clean up, and then
# for what is pending to be stored.
_CLEAN_UP = 5.0
_LAST_WRITES = 5.0
# How long it waits for the application to take in the ends that it is told.
_TELLING = 5.0
# How long it waits for ends that are being worked on, before they are given back.
_GIVING_BACK = 5.0
# The same where the event loop shuts down, and its program waits for that.
_SHORT_CLEAN_UP = 2.0
_SHORT_LAST_WRITES = 2.0
# How long tasks are waited for that were told to end: those of the hub need none of it.
_STUBBORN = 1.0


class Engine:
    """Belongs to the event loop in which it is made. Owns its tasks, and ends them all: when the
    hub is closed, or when its event loop shuts down."""

    def __init__(self, store: Store, config: HubConfig, dispatcher: Dispatcher) -> None:
        self.store = store
        self.config = config
        self.closed: bool = False
        self._dispatcher = dispatcher
        #: Tells the hub's instruments; None where it has none.
        self.tell: Tell | None = dispatcher.tell if dispatcher else None
        tell = self.tell
        self.writer: Writer = Writer(store, config.linger, tell=tell)
        self.leases: Leases = Leases(store, config.lease, tell=tell)
        view: Callable[..., SessionView] = SessionView
        if tell is not None:
            view = partial(ObservedView, tell=tell, lost={})
        self.watcher: Watcher = Watcher(store, config, self.check_place, tell=tell, view=view)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.current_thread()
        #: The process that this one was forked from, where the hub belongs.
        self._forked_from: int | None = None
        self._process = os.getpid()
        self._productions: dict[Production, None] = {}
        self._sources: dict[asyncio.Task[None], Production] = {}
        self._claims: set[asyncio.Task[Production | Refused]] = set()
        #: Told when the hub closes to give back what they have, for which they may wait so many
        #: seconds.
        self.leavers: set[Callable[[float], Coroutine[Any, Any, None]]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        #: Those of them that tell the application of an end.
        self._tellings: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self._draining = False
        #: Whether the store is being asked whether it is there.
        # What all productions share is made once: the garbage collector goes through whatever each
        # of a thousand has of its own.
        self._mark, self._check_place = self.writer.mark, self.check_place
        self._production = partial(
            Production,
            store=store,
            leases=self.leases,
            spawn=self.spawn,
            spawn_last=self.spawn_last,
            is_ending=lambda: self.ending,
            is_draining=lambda: self._draining,
            on_done=self._productions.pop,
            tell=tell,
        )
        self._services = {
            self._serve(run, name)
            for name, run in (
                ("writer", self.writer.run()),
                ("leases", self.leases.run()),
                ("watcher", self.watcher.run()),
            )
        }
        self._keeper = self._loop.create_task(self._keep(), name="streamhub hub")
        #: What is told of all of it; None where nobody wants to know.
        self._observation: Observation | None = None
        #: Whether all of it has ended.
        self._gone = False
        if tell is not None:
            self.writer.expect = Expectations(self.watcher.view_of).expect
            self._observation = Observation(
                tell, store, spawn=self.spawn, is_ending=lambda: self.ending
            )
            self._observation.opened(self.statistics)
        _engines.add(self)

    def check(self) -> None:
        """:raises HubClosed: the hub is closed.
        :raises HubInOtherLoop: it belongs to another event loop than the one that runs here, if any
            does.
        :raises HubInOtherProcess: it belongs to the process that this one was forked from.
        """
        self.check_place()
        if self.closed:
            raise HubClosed

    def check_place(self) -> None:
        """The same for what may be done with a hub that is closed."""
        here: asyncio.AbstractEventLoop | None = None
        try:
            if (here := asyncio.get_running_loop()) is self._loop:
                return
        except RuntimeError:
            pass  # in plain code, and in a child that was forked within a coroutine
        if self._forked_from is not None:
            raise HubInOtherProcess(self._forked_from)
        thread = self._thread.name if self._loop.is_running() else None
        raise HubInOtherLoop(thread, in_none=here is None)

    @property
    def ending(self) -> bool:
        """Whether what the tasks of the hub are told to do now is to end. Where a loop shuts down
        it holds from the moment on at which that cancels all tasks, before any of them runs."""
        return self.closed or self._keeper.cancelling() > 0

    @property
    def leaving(self) -> bool:
        """Whether nothing is to be begun any more: it is ending, or drains before that."""
        return self._draining or self.ending

    def statistics(self) -> HubStatistics:
        """May be called in any thread."""
        if self._forked_from is not None:
            return HubStatistics()
        observation = self._observation
        return HubStatistics(
            sessions_followed=self.watcher.sessions,
            subscribers=self.watcher.users,
            producers=len(self._productions),
            sources=len(self._sources),
            claims=len(self._claims),
            pending_bytes=sum(one.producer.unstored_bytes for one in [*self._productions]),
            connections=self.store.connections(),
            tasks=len(self._tasks) + self.watcher.tasks,
            store_failing=not self._gone
            and (self.writer.failing or self.leases.failing or self.watcher.failing),
            loop_lag=0.0 if observation is None or self._gone else observation.loop_lag,
        )

    async def claim(
        self,
        session_id: str,
        on_cancel: OnCancel | None,
        on_end: OnEnd | None,
        *,
        takeover: StoreTakeover,
        owner: str | None,
        metadata: str | None,
        request: str | None,
        same_owner: bool,
        replaces: str | None = None,
    ) -> Production | Refused:
        """Carry a claim out to its end, whatever becomes of the caller: a session that was claimed
        for nobody is released."""
        self.check()
        if self._draining:
            raise HubClosed
        claiming = claim(
            self.store,
            self.config,
            session_id,
            lambda producer: self._produce(producer, on_cancel, on_end),
            takeover=takeover,
            owner=owner,
            metadata=metadata,
            request=request,
            same_owner=same_owner,
            replaces=replaces,
            traceparent=self._dispatcher.context(takeover),
            tell=self.tell,
        )
        task = self._loop.create_task(claiming, name="streamhub claim")
        self._claims.add(task)
        task.add_done_callback(self._claims.discard)
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and not is_cancelled():
                # The hub has cancelled it, and nobody the caller.
                raise HubClosed from None
            self.spawn(_give_up(task), "give up a claim")
            raise
        if self.closed:
            await _give_up(task)
            raise HubClosed
        return answer

    def _produce(
        self, producer: Producer, on_cancel: OnCancel | None, on_end: OnEnd | None
    ) -> Production:
        """Put a producer to work, until it is done."""
        producer.on_work, producer.check_place = self._mark, self._check_place
        production = self._production(producer, on_cancel, on_end)
        self._productions[production] = None
        return production

    def run_source(self, work: Coroutine[Any, Any, None], production: Production) -> None:
        """Run a source; closing the hub cancels it and then lets its lease go."""
        production.owned = True
        task = self.spawn(work, f"run {production.producer.claim.session_id}")
        self._sources[task] = production
        task.add_done_callback(lambda task: self._sources.pop(task, None))

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something that ends with the hub at the latest; its error is logged."""
        task = self._loop.create_task(work, name=f"streamhub {name}")
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def spawn_last(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """The same for what follows an end: closing the hub waits for it, a few seconds."""
        task = self.spawn(work, name)
        self._tellings.add(task)
        task.add_done_callback(self._tellings.discard)
        return task

    async def drain(self, seconds: float) -> None:
        """Claim nothing more, and wait until no source is running and every end is told, or for
        so many seconds."""
        self.check_place()
        self._draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                # A claim that is under way may bring one more.
                while waiting := {*self._claims, *self._sources, *self._tellings}:
                    await asyncio.wait(waiting)

    def crash(self) -> None:
        """Leave all that is produced here to its leases, as a process that is killed does."""
        self.check()
        for production in list(self._productions):
            production.producer.abandon()

    async def aclose(self) -> None:
        """End everything. What was published is stored, as far as the store can be reached in
        a few seconds, and every lease is released. Idempotent."""
        if self._keeper.done():
            return  # its loop has ended, and all that was in it
        self.check_place()
        await asyncio.shield(self._close_soon())

    def _close_soon(self) -> asyncio.Task[None]:
        self.closed = True
        if self._closing is None:
            self._closing = self._loop.create_task(self._close(), name="streamhub close")
        return self._closing

    async def _keep(self) -> None:
        """Lasts as long as the hub, for a loop that shuts down: that cancels every task, and runs
        on until the last one has ended."""
        try:
            await self._loop.create_future()
        except asyncio.CancelledError:
            if self._closing is None or self._closing.cancelled() or self._closing.cancelling():
                await self._end_with_loop()
            raise

    async def _end_with_loop(self) -> None:
        """Do in a few seconds what ``aclose`` does."""
        if not self.closed:
            self.closed = True
            logger.warning(
                "the event loop ends, and the hub on %r was not closed: its sources are stopped, "
                "its leases released. Call `await hub.aclose()` before, or use `async with hub`",
                self.store,
            )
        # All of them were cancelled; what is pending is written all the same.
        await asyncio.wait(self._services, timeout=_STUBBORN)
        self._services = {self._serve(self.writer.run(), "writer")}
        await self._close(_SHORT_CLEAN_UP, _SHORT_LAST_WRITES)

    async def _close(self, clean_up: float = _CLEAN_UP, last_writes: float = _LAST_WRITES) -> None:
        self.watcher.closing = True
        leaving = {
            self._loop.create_task(leave(min(clean_up, _GIVING_BACK))) for leave in self.leavers
        }
        if self._claims:
            await asyncio.wait(self._claims, timeout=clean_up)
        sources = dict(self._sources)
        for task in sources:
            if not task.cancelling():
                task.cancel("handover")
        if sources:
            await asyncio.wait(sources, timeout=clean_up)
        releases = {
            self._loop.create_task(production.release()) for production in self._productions
        }
        if releases:
            _, late = await asyncio.wait(releases, timeout=last_writes)
            for production in list(self._productions):
                claim = production.producer.claim
                logger.warning("closing: could not store the rest of session %r", claim.session_id)
                production.producer.abandon()
            if late:
                await asyncio.wait(late)
        if self._tellings:
            await asyncio.wait(self._tellings, timeout=min(clean_up, _TELLING))
        if leaving:
            await asyncio.wait(leaving, timeout=clean_up + last_writes)
        await self.watcher.aclose()
        tasks: set[asyncio.Task[Any]] = {*self._services, *self._tasks, *self._claims, *leaving}
        if self._closing is asyncio.current_task():
            tasks.add(self._keeper)
        for task in tasks:
            task.cancel()
        _, stubborn = await asyncio.wait(tasks, timeout=_STUBBORN)
        for task in stubborn:
            logger.warning("closing: %s does not end, though it was cancelled", task.get_name())
        await self.store.aclose()
        self._gone = True
        if self._observation is not None:
            self._observation.closed()

    def _serve(self, run: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        service = self._loop.create_task(run, name=f"streamhub {name}")
        service.add_done_callback(self._on_service_done)
        return service

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s failed", task.get_name(), exc_info=error)

    def _on_service_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # A bug: say so and fail loudly rather than leave everybody waiting.
            logger.critical("%s ended: closing the hub", task.get_name(), exc_info=error)
            self._close_soon()

    def leave(self) -> None:
        """The process was forked, and this is the child: nothing here may be used. The sockets,
        the timers and what is pending are the parent's."""
        self._forked_from = self._process
        for production in self._productions:
            production.producer.leave()
        self.watcher.leave()


_engines: WeakSet[Engine] = WeakSet()


def _leave_all() -> None:
    for engine in _engines:
        engine.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)


async def _give_up(claiming: asyncio.Task[Production | Refused]) -> None:
    """Release what was claimed, if it was."""
    with suppress(Exception):
        answer = await claiming
        if isinstance(answer, Production):
            await answer.release()
