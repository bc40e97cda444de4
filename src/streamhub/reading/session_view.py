"""What this process has of one session: how it stands, its newest chunks, its log in pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from typing import Any

from ..chunks import Chunk, SessionInfo
from ..config import HubConfig
from ..errors import SessionCorrupted, SessionNotFound, StreamHubError
from ..signals import Signal
from ..stores.base import Appended, LiveEvent, Store
from .foreign_log import ForeignLog
from .logs import CountedLog, Log
from .page_cache import Spawn
from .recent_chunks import RecentChunks
from .standing import Standing

__all__ = ["SessionView"]


class SessionView:
    """One session as its subscribers in this process see it. They share it; the watcher owns it.

    It tells its ``Standing`` what happens, does what follows, and wakes those who wait for news.
    """

    # What each live message needs comes first: of a thousand views little is in a processor's
    # cache.
    __slots__ = (  # noqa: RUF023
        "standing", "recent", "news", "_time", "log", "_counted", "_schedule", "_spawn", "_store",
        "_watch", "_config", "session_id", "shared", "is_closing",
    )  # fmt: skip

    def __init__(
        self,
        session_id: str,
        store: Store,
        config: HubConfig,
        *,
        spawn: Spawn,
        schedule: Callable[[SessionView], None],
        is_closing: Callable[[], bool],
    ) -> None:
        self.session_id: str = session_id
        #: Whether the hub is closing: what it gives up itself is no loss to its own readers.
        self.is_closing: Callable[[], bool] = is_closing
        self._time = asyncio.get_running_loop().time
        self.standing: Standing = Standing(config.lease, self._time())
        self.recent: RecentChunks = RecentChunks(1, config.max_pending_bytes)
        #: What its subscribers keep for each other, by a key of theirs.
        self.shared: dict[Hashable, Any] = {}
        #: Gives readers that are up to date the next chunks; None has each look around by itself.
        self.news: Signal[list[Chunk]] = Signal[list[Chunk]]()
        self._store = store
        self._config = config
        self._spawn = spawn
        self._schedule = schedule
        self._counted = CountedLog(
            partial(store.read, session_id), partial(store.read_joined, session_id), config, spawn
        )
        self.log: Log = self._counted
        self._watch = store.watch(session_id, self._on_event)

    # For subscribers.

    def info_now(self, *, patient: bool = False) -> SessionInfo | None:
        """How the session stands, as far as that is known now.

        :param patient: the caller knows that the session was there, and waits for its producer to
            put it back.
        :raises SessionNotFound: it is gone.
        """
        standing = self.standing
        if standing.failure is not None:
            # Many raise it: each with a traceback of its own.
            raise standing.failure.with_traceback(None)
        if standing.is_missing(patient=patient):
            raise SessionNotFound(self.session_id)
        return standing.info

    async def wait_info(self, *, patient: bool = False) -> SessionInfo:
        """How the session stands, waiting until that is known.

        :raises SessionNotFound: it is gone.
        """
        while (info := self.info_now(patient=patient)) is None:
            await self.wait_news()
        return info

    async def wait_look(self) -> None:
        """Wait for what a look finds that begins from now on."""
        look = self.look_soon()
        while not self.standing.has_answered(look):
            await self.wait_news()

    async def wait_news(self) -> None:
        """Wait for news: chunks, an end, the result of a look."""
        await self.news.wait()

    def look_soon(self, delay: float = 0.0) -> int:
        """Have the store looked at within ``delay`` seconds; the number of that look."""
        look = self.standing.ask(self._time() + delay)
        self._schedule(self)
        return look

    def wake(self) -> None:
        """Let those who wait look around, though there is no news."""
        self.standing.turn += 1
        self.news.fire()

    # For the watcher.

    @property
    def references(self) -> int:
        """How many use it."""
        return self._counted.readers

    @references.setter
    def references(self, count: int) -> None:
        self._counted.readers = count

    def learn(self, generation: str) -> None:
        """Somebody else has claimed the session, or found it under this generation."""
        self.standing.learn(generation, self._time())
        self._schedule(self)

    def end_look(self, found: SessionInfo | SessionCorrupted | None) -> None:
        """Take in what a look found."""
        standing = self.standing
        if standing.answer(found, self._time(), heard=self.recent.last):
            self._forget()
        self._follow(standing.info)
        if self._config.count_subscribers and isinstance(found, SessionInfo):
            # With each look it is announced how many follow: chunks alone would make none.
            self.look_soon(self._config.lease)
        to_end, standing.to_end = standing.to_end, None
        if to_end is not None:
            self._spawn(self._end_cancelled(to_end))
        self._schedule(self)
        self.news.fire()

    def fail(self, failure: StreamHubError) -> None:
        self.standing.fail(failure)
        self.news.fire()

    def distrust(self) -> None:
        self.standing.distrust(self._time())

    def close(self) -> None:
        self._watch.close()

    # What the store says.

    def _on_event(self, event: LiveEvent) -> None:
        # Chunks are nearly all that comes.
        if isinstance(event, Appended):
            end = self.recent.extend(event.term, event.base, event.chunks, event.bytes)
            follows = self.standing.append(event, end, self._time())
            if follows is not None:
                self.news.fire(event.chunks if follows else None)
                return
        elif self.standing.change(event, self._time()):
            self._forget()
        self._schedule(self)
        self.news.fire()

    def _follow(self, info: SessionInfo | None) -> None:
        """Have readers read the log that the session has now."""
        if info is None:
            return
        if info.terms is not None:
            self._counted.stands(info, info.terms)
            self.log = self._counted
        elif not (isinstance(self.log, ForeignLog) and self.log.generation == info.generation):
            read = partial(self._store.read, self.session_id)
            self.log = ForeignLog(info.generation, read, self._config)

    def _forget(self) -> None:
        """Drop all chunks that are held: they may be those of another generation."""
        self.recent.clear()
        self._counted.forget()

    async def _end_cancelled(self, info: SessionInfo) -> None:
        """A session whose producer died before it could stop is ended for it."""
        with suppress(StreamHubError):
            await self._store.cancel(self.session_id, generation=info.generation, epoch=info.epoch)
