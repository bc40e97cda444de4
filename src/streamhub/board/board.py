"""All sessions of a store, read by one task for all who look at them, as long as somebody does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import msgspec

from ..chunks import SessionInfo, Status
from ..errors import HubClosed, SessionCorrupted, StoreUnavailable, StreamHubError
from ..signals import Signal
from ..stores.base import Store
from .history import Happening, appeared, happened
from .query import Page, Query, owners_of, page_of
from .row import Row, Seen, damaged, drawn, model_of

__all__ = ["Board", "Look"]

logger: logging.Logger = logging.getLogger("streamhub")

# In seconds: how often sessions are looked at. A pass that takes long makes the next one later, by
# so many times what it has had of the processor, so that it never takes more than a part of that.
_EVERY = 1.0
_REST = 5.0
# Ended sessions are looked at in one of so many passes, unless somebody sees them.
_TURNS = 4
_AT_ONCE = 256
#: Of more sessions than this the rest is only counted.
MOST_ROWS = 20_000
# Bytes: only metadata that is no longer is read for the model that it may name, so much at once.
_METADATA_BYTES = 16 * 1024
_METADATA_AT_ONCE = 256 * 1024
# When the metadata is read again of what runs and has named no model, in seconds.
_NAMED_LATER = 10.0
# For how long rows are kept that nobody looks at: somebody may only have loaded a page again.
_KEPT = 30.0
# How many questions are remembered with their answers: as long as nothing changes, these hold.
_MOST_PAGES = 64
# How much is remembered of what was seen to happen: to one session, and to how many.
_MOST_HAPPENINGS = 50
_MOST_HISTORIES = 5_000


class Board:
    """All sessions as somebody on call sees them.

    Of a session it knows what its record says, and what looking at it again and again tells: how
    fast chunks come, and since when none has. What somebody looks at is about a second old, with
    thousands of sessions a few seconds. While nobody looks nothing is read.

    From ``Hub.board``: one for all who look in a process. It holds up to 20,000 rows.
    """

    def __init__(
        self,
        store: Store,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        *,
        most_rows: int = MOST_ROWS,
    ) -> None:
        self._store = store
        self._spawn = spawn
        self._most_rows = most_rows
        self._rows: dict[str, Row] = {}
        self._seen: dict[str, Seen] = {}
        #: Of what generation a model was last looked for, and when that is to be done again.
        self._named: dict[str, tuple[str, float]] = {}
        self._histories: dict[str, tuple[Happening, ...]] = {}
        self._version = 0
        self._left_out = 0
        self._away: str | None = None
        self._complete = False
        self._turn = 0
        self._looks: set[Look] = set()
        self._news: Signal[None] = Signal()
        #: What was asked of this version, and what all of that is made of.
        self._pages: dict[Query, Page] = {}
        self._in_order: list[Row] | None = None
        self._owners: Mapping[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._forgetting: asyncio.TimerHandle | None = None

    def look(self) -> Look:
        """Somebody who looks, in ``async with``."""
        return Look(self)

    @property
    def version(self) -> int:
        """Grows with every pass that has changed something."""
        return self._version

    @property
    def complete(self) -> bool:
        """Whether every session that there is has been looked at."""
        return self._complete

    def row(self, session_id: str) -> Row | None:
        return self._rows.get(session_id)

    def info(self, session_id: str) -> SessionInfo | None:
        """The session as the last look found it, without its metadata; None where it is not there,
        or damaged."""
        seen = self._seen.get(session_id)
        return None if seen is None else seen.info

    def history(self, session_id: str) -> Sequence[Happening]:
        """What was seen to happen to the session while somebody looked."""
        return self._histories.get(session_id, ())

    async def memory(self, session_id: str) -> int | None:
        """About how many bytes the store needs for the session; None where it cannot tell now."""
        try:
            return (await self._store.memory([session_id]))[0]
        except StreamHubError:
            return None

    def page(self, query: Query) -> Page:
        """What the query finds now. Who asks the same in the same moment shares the answer."""
        page = self._pages.get(query)
        if page is None:
            if self._in_order is None:
                self._in_order = [self._rows[name] for name in sorted(self._rows)]
                self._owners = owners_of(self._in_order)
            if len(self._pages) == _MOST_PAGES:
                del self._pages[next(iter(self._pages))]
            page = self._pages[query] = page_of(
                self._in_order,
                query,
                version=self._version,
                owners=self._owners,
                left_out=self._left_out,
                away=self._away,
                complete=self._complete,
            )
        return page

    # Who looks.

    def enter(self, look: Look) -> None:
        self._looks.add(look)
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forgetting = None
        if self._task is None or self._task.done():
            self._task = self._spawn(self._run(), "board")

    def leave(self, look: Look) -> None:
        self._looks.discard(look)
        if not self._looks and self._task is not None:
            self._task.cancel()
            self._task = None
            self._forgetting = asyncio.get_running_loop().call_later(_KEPT, self._forget)

    def _forget(self) -> None:
        if not self._looks:
            self._rows, self._seen, self._named, self._pages = {}, {}, {}, {}
            self._in_order = None
            self._histories = {}
            self._complete = False

    async def wait_news(self, version: int) -> None:
        """:raises HubClosed: nothing is read any more."""
        task = self._task
        while self._version <= version:
            if task is None or task.done():
                raise HubClosed
            await self._news.wait()

    # What reads.

    async def _run(self) -> None:
        try:
            while True:
                began, worked = time.monotonic(), time.thread_time()
                await self._pass()
                took, worked = time.monotonic() - began, time.thread_time() - worked
                await asyncio.sleep(max(_EVERY, took, _REST * worked))
        finally:
            self._news.fire()

    async def _pass(self) -> None:
        """Look at all that is due. Where the store is away, the rows stay as they are."""
        changes = _Changes(self._version + 1)
        try:
            names = await self._list(changes)
            for at in range(0, len(names), _AT_ONCE):
                await self._look_at(names[at : at + _AT_ONCE], changes)
                if not self._complete:
                    # Who has just come need not wait for all.
                    self._publish(changes)
            self._publish(changes)
            await self._name_models(changes)
        except StoreUnavailable as error:
            self._say(str(error), changes)
        except Exception as error:  # whatever the store does, it is asked again
            if str(error) != self._away:
                logger.warning("the board cannot be read: %s", error, exc_info=error)
            self._say(str(error), changes)
        else:
            self._say(None, changes)
            if not self._complete:
                self._complete = changes.any = True
        self._publish(changes)

    def _publish(self, changes: _Changes) -> None:
        """Show what has changed so far."""
        if changes.any:
            self._version, self._pages, self._in_order = changes.version, {}, None
            changes.version, changes.any = changes.version + 1, False
            self._news.fire()

    def _say(self, away: str | None, changes: _Changes) -> None:
        if away != self._away:
            self._away, changes.any = away, True

    async def _list(self, changes: _Changes) -> list[str]:
        """The sessions that are due to be looked at; forgets those that are not there any more."""
        watched = {name for look in self._looks for name in look.seeing}
        there: set[str] = set()
        due: list[str] = []
        left_out = 0
        self._turn += 1
        async for name in self._store.sessions():
            known = name in self._rows or name in watched
            if len(there) >= self._most_rows and not known:
                left_out += 1
                continue
            there.add(name)
            row = self._rows.get(name)
            turn = hash(name) % _TURNS == self._turn % _TURNS
            if row is None or not row.has_ended or turn or name in watched:
                due.append(name)
        for name in self._rows.keys() - there:
            self._drop(name, changes)
        if left_out != self._left_out:
            self._left_out, changes.any = left_out, True
        return due

    async def _look_at(self, names: Sequence[str], changes: _Changes) -> None:
        away: StoreUnavailable | None = None
        now = time.time()
        for name, info in zip(names, await self._store.look(names), strict=True):
            row = self._rows.get(name)
            if isinstance(info, SessionInfo):
                seen, model = self._seen.get(name), None if row is None else row.model
                if seen is None:
                    self._remember(name, appeared(self.history(name), info, now))
                else:
                    self._remember(name, happened(seen.info, info, now))
                drawn_row, self._seen[name] = drawn(info, model, row, seen, now=now)
                self._put(drawn_row, row, changes)
            elif isinstance(info, SessionCorrupted):
                if self._seen.pop(name, None) is not None:
                    self._remember(name, [Happening("damaged", now, True, reason=info.reason)])
                self._put(damaged(info, row, now=now), row, changes)
            elif isinstance(info, StoreUnavailable):
                away = info
            else:
                self._drop(name, changes)
        if away is not None:
            raise away

    async def _name_models(self, changes: _Changes) -> None:
        """Read the metadata of what has not been asked for its model, a little at a time."""
        now = time.monotonic()
        due = [
            name for name, seen in self._seen.items() if self._is_to_be_named(name, seen.info, now)
        ]
        for at in range(0, len(due), _AT_ONCE):
            names = due[at : at + _AT_ONCE]
            sizes = await self._store.metadata_sizes(names)
            for name in names:
                self._named[name] = (self._seen[name].info.generation, now + _NAMED_LATER)
            short = [
                (name, size)
                for name, size in zip(names, sizes, strict=True)
                if 0 < size <= _METADATA_BYTES
            ]
            for few in _parted(short):
                for info in await self._store.look(few, metadata=True):
                    # Metadata that is damaged names none; the record is told of without it.
                    if isinstance(info, SessionInfo) and info.session_id in self._rows:
                        self._put_model(info.session_id, model_of(info.metadata), changes)

    def _is_to_be_named(self, name: str, info: SessionInfo, now: float) -> bool:
        generation, again = self._named.get(name, ("", 0.0))
        if generation != info.generation:
            return True
        runs = info.status is Status.ACTIVE
        return runs and now >= again and self._rows[name].model is None

    def _put_model(self, name: str, model: str | None, changes: _Changes) -> None:
        row = self._rows[name]
        if model != row.model:
            self._rows[name] = _replaced(row, model=model, version=changes.version)
            changes.any = True

    def _put(self, row: Row, before: Row | None, changes: _Changes) -> None:
        if row != before:
            self._rows[row.session_id] = _replaced(row, version=changes.version)
            changes.any = True

    def _drop(self, name: str, changes: _Changes) -> None:
        if (seen := self._seen.pop(name, None)) is not None:
            self._remember(name, happened(seen.info, None, time.time()))
        self._named.pop(name, None)
        if self._rows.pop(name, None) is not None:
            changes.any = True

    def _remember(self, name: str, happenings: Sequence[Happening]) -> None:
        if not happenings:
            return
        # The one that something happened to last is forgotten last.
        before = self._histories.pop(name, ())
        self._histories[name] = (*before, *happenings)[-_MOST_HAPPENINGS:]
        if len(self._histories) > _MOST_HISTORIES:
            del self._histories[next(iter(self._histories))]


def _parted(names: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
    """As many at a time as are no more than may be read at once."""
    few: list[str] = []
    weight = 0
    for name, size in names:
        if few and weight + size > _METADATA_AT_ONCE:
            yield few
            few, weight = [], 0
        few.append(name)
        weight += size
    if few:
        yield few


class _Changes:
    """What a pass has changed so far."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.any = False


class Look:
    """One who looks at the board, as long as ``async with`` lasts."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._version = -1
        #: The ids of what is seen: these are looked at in every pass.
        self.seeing: frozenset[str] = frozenset()

    def page(self, query: Query) -> Page:
        """What the query finds now."""
        page = self._board.page(query)
        self._version = page.version
        self.seeing = frozenset(row.session_id for row in page.rows)
        return page

    def row(self, session_id: str) -> Row | None:
        """One session; None where it is not there, or has not been looked at yet."""
        self._version = self._board.version
        self.seeing = frozenset({session_id})
        return self._board.row(session_id)

    async def wait_news(self) -> None:
        """Wait until the board has changed since it was asked last.

        :raises HubClosed: the hub is closed.
        """
        await self._board.wait_news(self._version)

    async def __aenter__(self) -> Look:
        self._board.enter(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._board.leave(self)


def _replaced(row: Row, **changes: Any) -> Row:
    changed: Row = msgspec.structs.replace(row, **changes)
    return changed
