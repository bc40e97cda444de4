"""A worker of a feed: takes one end after the other, and gives back what was not done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import TracebackType

from ..chunks import Item
from ..config import HubConfig
from ..engine import Engine
from ..errors import HubClosed, SessionCorrupted, StoreUnavailable, StoreUnsupported
from ..ids import new_generation
from ..reading.stored import whole_log
from ..reasons import describe
from ..stores.base import Store, Watch
from ..stores.feeds import Due, Feeds, Taken, check_feed
from .dead import DeadEnd, dead_ends
from .hold import Conditions, Hold
from .taken import TakenEnd, check_seconds, taken_end

__all__ = ["Ends", "feeds_of"]

logger: logging.Logger = logging.getLogger("streamhub")

# How often a feed is made known again, in seconds: a store that has lost its data has lost that.
_OPEN_EVERY = 60.0
# How many that are due are asked for at once: most of them, of running streams, are for later.
_MOST_AT_ONCE = 64
# However soon a dead producer is to be found: who has nothing to do looks no more often.
_SHORTEST_REST = 1.0
# How long one is put off that cannot be read, and the waits for a store that is away.
_DAMAGED = 300.0
_SHORTEST_WAIT = 0.05
_LONGEST_WAIT = 2.0


def feeds_of(store: Store) -> Feeds:
    """:raises StoreUnsupported: the store keeps no feeds."""
    feeds: Feeds | None = getattr(store, "feeds", None)
    if feeds is None:
        raise StoreUnsupported(repr(store), "keeps no feeds of ends, as the stores of streamhub do")
    return feeds


class Ends(AsyncIterator[TakenEnd]):
    """A worker of one feed: an async context manager, and in it an async iterator of ends.

    Each end comes to one worker at a time, whichever of all that use the name is free. One task
    iterates; open another for each that is to work beside it.
    """

    def __init__(
        self,
        started: Callable[[], Engine],
        store: Store,
        name: str,
        *,
        lease: float,
        lost_after: float,
        max_attempts: int,
        max_unsaved: float,
        timeout: float,
        config: HubConfig,
    ) -> None:
        check_feed(name)
        if isinstance(max_attempts, bool) or not isinstance(max_attempts, int) or max_attempts < 1:
            raise ValueError(f"max_attempts must be a number of at least 1, not {max_attempts!r}")
        check_seconds("lease", lease, least=0.05)
        check_seconds("lost_after", lost_after, least=0.0)
        check_seconds("max_unsaved", max_unsaved, least=1.0)
        check_seconds("timeout", timeout, least=0.05)
        self._started, self._store, self._name = started, store, name
        self._feeds = feeds_of(store)
        self._lost_after, self._max_unsaved = lost_after, max_unsaved
        # A stream that is claimed makes no news, nor does the death of its producer.
        self._longest_rest = max(lost_after + config.lease, _SHORTEST_REST)
        self._conditions = Conditions(
            lease=lease,
            timeout=timeout,
            max_attempts=max_attempts,
            give_up_after=config.give_up_after,
        )
        self._engine: Engine | None = None
        self._watch: Watch | None = None
        self._news = asyncio.Event()
        self._asking = False
        self._looking: asyncio.Task[float | Exception] | None = None
        #: What was taken and not handed out yet, with its chunks; and what was handed out last.
        self._ready: tuple[Hold, list[Item]] | None = None
        self._current: Hold | None = None
        self._open_again = 0.0
        self._at_once = 1

    def __repr__(self) -> str:
        return f"<Ends {self._name!r} of {self._store!r}>"

    async def __aenter__(self) -> Ends:
        if self._engine is not None:
            raise RuntimeError("these ends were entered before: ask hub.ends(…) for others")
        self._engine = self._started()
        self._watch = self._feeds.watch(self._news.set)
        self._engine.leavers.add(self._leave)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._engine is not None
        # A task of its own: whatever becomes of this one, nothing is left to its lease.
        await asyncio.shield(self._engine.spawn(self._close(error), f"leave feed {self._name}"))

    def __aiter__(self) -> Ends:
        return self

    async def __anext__(self) -> TakenEnd:
        """The next end, as soon as there is one. The one before, if it was not done, comes again.

        :raises StoreUnavailable: the store was away for ``give_up_after``. One may ask again.
        :raises HubClosed: the hub is closed.
        """
        if self._watch is None or self._engine is None:
            raise RuntimeError("ends come within a block: async with hub.ends(…) as ends")
        if self._asking:
            raise RuntimeError(
                "another task waits for these ends: open hub.ends(…) once for each worker"
            )
        self._asking = True
        try:
            if self._current is not None:
                await self._current.not_done("it was not done when the next was asked for")
                self._current = None
            return await self._next(self._engine)
        finally:
            self._asking = False

    def dead(self) -> AsyncIterator[DeadEnd]:
        """The ends that were given up after ``max_attempts``, or by ``fail``, and are still
        stored. Needs no block.

        :raises StoreUnavailable: the store cannot be reached.
        :raises HubClosed: the hub is closed.
        """
        self._started()
        return dead_ends(self._feeds, self._name)

    async def _next(self, engine: Engine) -> TakenEnd:
        loop = asyncio.get_running_loop()
        away_until, away = 0.0, _SHORTEST_WAIT
        while True:
            engine.check()
            self._news.clear()
            if self._looking is None:
                self._looking = loop.create_task(self._look(), name=f"streamhub feed {self._name}")
            # Who is cancelled leaves it to its end: what it takes is there for the next who asks.
            wait = await asyncio.shield(self._looking)
            self._looking = None
            if self._ready is not None:
                (hold, items), self._ready = self._ready, None
                self._current = hold
                end = taken_end(hold, items)
                hold.give()
                return end
            if not isinstance(wait, StoreUnavailable):
                away_until, away = 0.0, _SHORTEST_WAIT
            elif away_until and loop.time() > away_until:
                raise wait
            else:
                away_until = away_until or loop.time() + self._conditions.give_up_after
                wait, away = away, min(2 * away, _LONGEST_WAIT)
            if isinstance(wait, Exception):
                raise wait
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait, self._longest_rest)):
                    await self._news.wait()

    async def _look(self) -> float | Exception:
        """Take an end, if there is one; in how many seconds to look again, or what went wrong."""
        try:
            return await self._take()
        except Exception as error:
            return error

    async def _take(self) -> float:
        loop = asyncio.get_running_loop()
        if loop.time() >= self._open_again:
            await self._feeds.open(self._name, unsaved=self._max_unsaved)
            self._open_again = loop.time() + _OPEN_EVERY
        found, wait = await self._feeds.due(self._name, self._at_once, hold=self._conditions.lease)
        later: dict[Due, float | None] = {}
        for number, due in enumerate(found):
            await self._try(due, later)
            if self._ready is not None:
                # Others may be free for these, and this worker is not any more.
                later.update(dict.fromkeys(found[number + 1 :], 0.0))
                break
        if self._ready is not None:
            self._at_once = max(1, self._at_once // 2)
        else:
            self._at_once = min(2 * self._at_once, _MOST_AT_ONCE)
        if later:
            try:
                await self._feeds.put_off(self._name, later)
            except StoreUnavailable:
                if self._ready is None:
                    raise
        return min([wait, *(one for one in later.values() if one is not None)])

    async def _try(self, due: Due, later: dict[Due, float | None]) -> None:
        """Take this end and have it ready, or say when to try it again, None for never; one that
        was settled here says that itself."""
        assert self._engine is not None
        hold = Hold(
            self._feeds, self._name, new_generation(), self._conditions, tell=self._engine.tell
        )
        try:
            answer = await hold.take(due, lost_after=self._lost_after)
        except SessionCorrupted as error:
            logger.warning("feed %r: an end cannot be read: %s", self._name, error)
            later[due] = _DAMAGED
            return
        if not isinstance(answer, Taken):
            later[due] = None if answer is None else max(answer.seconds, _SHORTEST_WAIT)
            return
        if answer.attempt > self._conditions.max_attempts:
            # It was taken and never given back: maybe it is what has killed those who had it.
            await hold.not_done(f"its worker was lost at attempt {answer.attempt - 1}")
            return
        try:
            items = await self._items(answer)
        except SessionCorrupted as error:
            # It is no reason to keep the others waiting.
            await hold.not_done(f"its chunks could not be read: {error}")
            return
        except BaseException:
            await hold.not_done("its chunks could not be read", at_once=True)
            raise
        if items is None:
            await hold.not_done("a part of its chunks is not in the store any more")
            return
        self._engine.spawn(hold.keep(), f"keep an end of feed {self._name}")
        self._ready = hold, items

    async def _items(self, taken: Taken) -> list[Item] | None:
        chunks = await whole_log(
            lambda after, limit: self._feeds.read(taken.due, after, limit), taken.info
        )
        if chunks is None:
            return None
        return [one.data if one.event is None else (one.data, one.event) for one in chunks]

    async def _close(self, error: BaseException | None) -> None:
        """Give back what is not done, and let go of everything."""
        if self._watch is None:
            return
        self._watch.close()
        self._watch = None
        assert self._engine is not None
        self._engine.leavers.discard(self._leave)
        await self._give_back_ready()
        if self._current is not None:
            if isinstance(error, asyncio.CancelledError | KeyboardInterrupt | HubClosed):
                await self._current.not_done("its worker was stopped", at_once=True)
            else:
                reason = "it was not done when its worker left"
                await self._current.not_done(reason if error is None else describe(error))

    async def _leave(self, patience: float) -> None:
        """The hub closes: wait a little for what is being worked on, and give it back."""
        self._news.set()
        await self._give_back_ready()
        if self._current is not None:
            await self._current.leave(patience)

    async def _give_back_ready(self) -> None:
        """What nobody has got is free for others at once."""
        if self._looking is not None:
            await asyncio.wait([self._looking])
        if self._ready is not None:
            (hold, _), self._ready = self._ready, None
            await hold.not_done("its worker was stopped", at_once=True)
