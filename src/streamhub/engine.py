"""What one hub runs: its store, the writer, the leases, the fan-out, and every task they need."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .config import HubConfig
from .errors import HubClosed
from .producing.cancelling import Production
from .producing.leases import Leases
from .producing.writer import Writer
from .reading.watcher import Watcher
from .stores.base import Store

if TYPE_CHECKING:
    from .stream import LiveStream

__all__ = ["Engine"]

logger = logging.getLogger("streamhub")

# How long closing waits for bodies to clean up, and then for what is pending to be stored.
_CLEAN_UP = 5.0
_LAST_WRITES = 5.0


class Engine:
    """Starts on first use, in the event loop of that use. Owns its tasks and ends them."""

    def __init__(self, store: Store, config: HubConfig) -> None:
        self.store = store
        self.config = config
        self.productions: dict[Production, None] = {}
        self._bodies: dict[asyncio.Task[None], Production] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._claims: set[asyncio.Task[tuple[LiveStream, bool]]] = set()
        self._started = False
        self._closing: asyncio.Task[None] | None = None
        self.closed = False

    def start(self) -> None:
        """:raises HubClosed: it was closed."""
        if self.closed:
            raise HubClosed
        if self._started:
            return
        self._started = True
        self.writer = Writer(self.store, self.config.linger)
        self.leases = Leases(self.store, self.config.lease)
        self.watcher = Watcher(self.store, self.config)
        self._services = [
            asyncio.create_task(run, name=f"streamhub {name}")
            for name, run in (
                ("writer", self.writer.run()),
                ("leases", self.leases.run()),
                ("watcher", self.watcher.run()),
            )
        ]
        for service in self._services:
            service.add_done_callback(self._on_service_done)

    async def claim(
        self, claiming: Coroutine[Any, Any, tuple[LiveStream, bool]]
    ) -> tuple[LiveStream, bool]:
        """Carry a claim out to its end, whatever becomes of the caller: a session that was claimed
        for nobody is released."""
        task = asyncio.create_task(claiming, name="streamhub claim")
        self._claims.add(task)
        task.add_done_callback(self._claims.discard)
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            if self.closed and task.cancelled():
                raise HubClosed from None
            self.spawn(self._give_up(task), "give up a claim")
            raise
        if self.closed:
            await self._give_up(task)
            raise HubClosed
        return answer

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something that ends with the hub at the latest; its error is logged."""
        task = asyncio.create_task(work, name=f"streamhub {name}")
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def spawn_body(self, work: Coroutine[Any, Any, None], production: Production) -> None:
        """Run a source; closing the hub cancels it and then lets its lease go."""
        task = self.spawn(work, f"run {production.producer.claim.session_id}")
        self._bodies[task] = production
        task.add_done_callback(lambda task: self._bodies.pop(task, None))

    async def aclose(self) -> None:
        """End everything. What was published is stored, as far as the store can be reached in
        a few seconds, and every lease is released. Idempotent."""
        self.closed = True
        if not self._started:
            await self.store.aclose()
            return
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="streamhub close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._claims:
            await asyncio.wait(self._claims, timeout=_CLEAN_UP)
        for production in self.productions:
            production.releasing = True
        bodies = list(self._bodies)
        for body in bodies:
            body.cancel("the hub is closing")
        if bodies:
            await asyncio.wait(bodies, timeout=_CLEAN_UP)
        releases = [
            asyncio.create_task(production.release()) for production in list(self.productions)
        ]
        if releases:
            _, late = await asyncio.wait(releases, timeout=_LAST_WRITES)
            for production in list(self.productions):
                claim = production.producer.claim
                logger.warning("closing: could not store the rest of session %r", claim.session_id)
                production.producer.abandon()
            if late:
                await asyncio.wait(late)
        await self.watcher.aclose()
        tasks = [*self._services, *self._tasks, *self._claims]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.store.aclose()

    async def _give_up(self, claiming: asyncio.Task[tuple[LiveStream, bool]]) -> None:
        """Release what was claimed, if it was."""
        with suppress(Exception):
            stream, _ = await claiming
            for production in list(self.productions):
                if production.producer.claim.generation == stream.generation:
                    await production.release()

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s failed", task.get_name(), exc_info=error)

    def _on_service_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # A bug: say so and fail loudly rather than leave everybody waiting.
            logger.critical("%s ended: closing the hub", task.get_name(), exc_info=error)
            self._closing = self._closing or asyncio.create_task(self._close())
            self.closed = True
