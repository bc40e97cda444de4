"""Continuing what has lost its producer: one of all supervisors claims it and has it resumed."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import Any, TypeAlias

from . import metadata_json
from .chunks import Chunk, Item, SessionInfo, Status
from .engine import Engine
from .errors import (
    HubClosed,
    SessionCorrupted,
    SessionNotFound,
    StoreUnavailable,
    StoreUnsupported,
)
from .parts.spoken import spoken_text
from .producing import sources
from .producing.closing import comes_of_closing
from .producing.ending import OnEnd
from .producing.production import Production
from .stores.base import Refused
from .stores.feeds import SUPERVISE, Due, Feeds
from .stream import LiveStream

__all__ = ["LostSession", "Resume", "Supervisor"]

logger: logging.Logger = logging.getLogger("streamhub")

#: What ``supervise`` takes.
Resume: TypeAlias = "Callable[[LostSession], Awaitable[sources.Source[LiveStream] | None]]"

# How often the name is made known again, in seconds: a store that has lost its data has lost that.
_OPEN_EVERY = 60.0
# How many sessions are asked for at once, and how long they are kept from other supervisors while
# it is found out how they stand.
_AT_ONCE = 64
_HOLD = 5.0
_MOST_MISSED = 10_000
# A lease that was to lapse is looked at so much later.
_MARGIN = 0.05
# News come in swarms, as when a hub closes: they are taken together.
_GATHER = 0.02
# After so many seconds a store that was away is asked again.
_FIRST_PAUSE = 0.1
_LAST_PAUSE = 2.0
# How long a resume that raised is waited for, first and at last: parts of a lease.
_FIRST_BACKOFF = 1 / 15
_LAST_BACKOFF = 2


class LostSession:
    """A session that has lost its producer, as ``resume`` is given it: claimed for who resumes it,
    and as it was left."""

    __slots__ = ("_items", "info")

    def __init__(self, info: SessionInfo, items: Sequence[Item]) -> None:
        #: How it stands, with its metadata; its status is ``LOST``.
        self.info: SessionInfo = info
        self._items = items

    def __repr__(self) -> str:
        return f"<LostSession {self.session_id!r} after {len(self._items)} chunks>"

    @property
    def session_id(self) -> str:
        """The name that clients resume."""
        return self.info.session_id

    @property
    def owner(self) -> str | None:
        """What ``register(owner=…)`` was given."""
        return self.info.owner

    @property
    def metadata(self) -> Any:
        """The metadata, decoded from JSON; None if never set."""
        return self.info.metadata

    @property
    def resumes(self) -> int:
        """How often it was resumed, this time included."""
        return self.info.resumes

    @property
    def text(self) -> str:
        """What is stored, joined: chunks without an event type, and deltas of text among the
        parts."""
        return spoken_text(self._items)

    @property
    def parts(self) -> list[Chunk]:
        """The chunks with an event type, in order: of a message that is made of parts, its parts
        so far."""
        return [chunk for chunk in self.chunks if chunk.event is not None]

    @property
    def chunks(self) -> list[Chunk]:
        """All that is stored."""
        terms = self.info.terms
        assert terms is not None
        return [
            Chunk(item, terms.cursor(offset))
            if isinstance(item, str)
            else Chunk(item[0], terms.cursor(offset), item[1])
            for offset, item in enumerate(self._items, 1)
        ]


class Supervisor:
    """Runs from ``Hub.supervise`` on until ``aclose``, or until the hub closes."""

    def __init__(
        self,
        engine: Engine,
        resume: Resume,
        *,
        on_end: OnEnd | None,
        owner: str | None,
        max_resumes: int,
    ) -> None:
        if not callable(resume):
            raise TypeError(
                f"resume must be an async function of the lost session, not {resume!r:.100}"
            )
        if on_end is not None and not callable(on_end):
            raise TypeError(f"on_end must be a function of the end, not {type(on_end).__name__}")
        if isinstance(max_resumes, bool) or not isinstance(max_resumes, int) or max_resumes < 1:
            raise ValueError(f"max_resumes must be a number of at least 1, not {max_resumes!r}")
        feeds: Feeds | None = getattr(engine.store, "feeds", None)
        if feeds is None:
            raise StoreUnsupported(
                repr(engine.store), "keeps no index of its sessions, which a supervisor needs"
            )
        self._engine = engine
        self._feeds = feeds
        self._name = SUPERVISE if owner is None else f"{SUPERVISE}:{owner}"
        self._resume = resume
        self._on_end = on_end
        self._owner = owner
        self._max_resumes = max_resumes
        self._lease = engine.config.lease
        self._hold = min(self._lease, _HOLD)
        self._news = asyncio.Event()
        self._open_again = -inf
        #: Those that were not there when they were due: their claim may be under way.
        self._missed: set[Due] = set()
        self._stopping = False
        self._task = engine.spawn(self._run(), f"supervisor of {engine.store!r}")

    def __repr__(self) -> str:
        return f"<Supervisor {self._name!r} of {self._engine.store!r}>"

    async def aclose(self) -> None:
        """Take over nothing more. What was resumed goes on: it belongs to the hub. Idempotent."""
        self._stopping = True
        self._news.set()
        # What it has begun to claim is not broken off.
        await asyncio.wait({self._task})

    async def __aenter__(self) -> Supervisor:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # Looking after sessions.

    @property
    def _leaves(self) -> bool:
        return self._stopping or self._engine.leaving

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        watch = self._feeds.watch(self._news.set)
        away = 0.0
        try:
            while not self._leaves:
                self._news.clear()
                try:
                    if loop.time() >= self._open_again:
                        await self._feeds.open(self._name, unsaved=0.0)
                        self._open_again = loop.time() + _OPEN_EVERY
                    rest, away = await self._look_after_due(), 0.0
                except HubClosed:
                    return
                except Exception as error:  # whatever the store does, it is asked again
                    known = isinstance(error, StoreUnavailable)
                    if not (known and away):
                        logger.warning("%r: %s", self, error, exc_info=None if known else error)
                    rest = away = min(2 * away or _FIRST_PAUSE, _LAST_PAUSE)
                # What is claimed meanwhile makes no news, and may be lost a lease later.
                until = min(loop.time() + min(rest, self._lease), self._open_again)
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(until):
                        await self._news.wait()
                        await asyncio.sleep(_GATHER)
        finally:
            watch.close()

    async def _look_after_due(self) -> float:
        """Look after all that is due; in how many seconds more may be."""
        found, rest = await self._feeds.due(self._name, _AT_ONCE, hold=self._hold)
        if not found:
            return rest
        when: dict[Due, float | None] = {due: None for due in found if due.aside is not None}
        current = [due for due in found if due.aside is None]
        infos = await self._engine.store.look([due.session_id for due in current])
        lost: list[Due] = []
        for due, info in zip(current, infos, strict=True):
            if isinstance(info, SessionInfo) and self._is_lost(info):
                lost.append(due)
            else:
                when[due] = self._look_again(due, info)
        # They are resumed first: whoever reads them waits.
        taken_over = await asyncio.gather(*map(self._take_over, lost))
        when |= {due: again for due, again in taken_over if again != inf}
        await self._feeds.put_off(self._name, when)
        return min([rest, *(again for again in when.values() if again is not None)])

    def _is_lost(self, info: SessionInfo) -> bool:
        return info.status is Status.LOST and (self._owner is None or info.owner == self._owner)

    def _look_again(
        self, due: Due, info: SessionInfo | SessionCorrupted | StoreUnavailable | None
    ) -> float | None:
        """In how many seconds the session is to be looked at again; None: before that it will have
        been put on the schedule once more, if ever."""
        match info:
            case StoreUnavailable():
                return _LAST_PAUSE
            case None if due not in self._missed:
                # It is put on the schedule before it is claimed.
                if len(self._missed) >= _MOST_MISSED:
                    self._missed.clear()
                self._missed.add(due)
                return self._lease
            case SessionInfo(status=Status.ACTIVE, lease=float(lease)):
                self._missed.discard(due)
                return lease + _MARGIN
        self._missed.discard(due)
        return None

    async def _take_over(self, due: Due) -> tuple[Due, float | None]:
        """Claim a lost session and have it resumed; when it is to be looked at again, as above, and
        ``inf`` where the claim has seen to that."""
        session_id = due.session_id
        try:
            answer = await self._engine.claim(
                session_id,
                None,
                self._on_end,
                takeover="resume",
                owner=self._owner,
                metadata=None,
                request=None,
                same_owner=self._owner is not None,
            )
        except SessionNotFound:
            return due, None
        except SessionCorrupted as error:
            logger.warning("a lost session cannot be resumed: %s", error)
            return due, None
        except StoreUnavailable as error:
            logger.warning("session %r cannot be resumed yet: %s", session_id, error)
            return due, _LAST_PAUSE
        except HubClosed:
            # Others need not wait for it.
            return due, 0.0
        if isinstance(answer, Refused):
            return due, self._look_again(due, answer.info)
        self._begin(answer)
        return due, inf

    # Resuming one.

    def _begin(self, production: Production) -> None:
        producer, engine = production.producer, self._engine
        claim, outbox = producer.claim, producer.outbox
        metadata = producer.metadata.value
        info = SessionInfo(
            session_id=claim.session_id,
            status=Status.LOST,
            generation=claim.replaced or claim.generation,
            terms=claim.terms,
            last=claim.terms.cursor(claim.base),
            bytes=outbox.sizes[claim.base],
            owner=claim.owner,
            request=claim.request,
            traceparent=claim.traceparent,
            created=claim.created_ms / 1000 or None,
            resumes=claim.resumes,
            handovers=claim.handovers,
            feeds=claim.feeds,
            metadata=None if metadata is None else metadata_json.decode(metadata),
        )
        stream = LiveStream(
            engine,
            claim.session_id,
            owner_generation=claim.generation,
            epoch=claim.epoch,
            production=production,
        )
        lost = LostSession(info, outbox.items[: claim.base])
        engine.run_source(self._produce(production, stream, lost), production)

    async def _produce(self, production: Production, stream: LiveStream, lost: LostSession) -> None:
        attempts = lost.info.resumes - lost.info.handovers
        if attempts > self._max_resumes:
            reason = f"its producer was lost {attempts} times (max_resumes={self._max_resumes})"
            logger.warning("session %r is given up: %s", lost.session_id, reason)
            await production.fail(reason)
            return
        production.enter()
        try:
            source = await self._source(lost)
        except _NotNow:
            await production.put_back()
        except BaseException as error:
            if not await production.exit(error):
                raise
        else:
            if source is not None:
                await sources.produce(source, stream)
                return
            await production.give_up("its producer was lost, and it was not to be resumed")

    async def _source(self, lost: LostSession) -> sources.Source[LiveStream] | None:
        """:raises _NotNow: ``resume`` has raised, and some time has passed since."""
        try:
            source: Any = self._resume(lost)
            if inspect.isawaitable(source) and not isinstance(source, AsyncIterable):
                source = await source
            if source is not None:
                sources.check(source)
        except Exception as error:
            if self._engine.leaving and comes_of_closing(error):
                raise
            logger.exception("resume of session %r failed", lost.session_id)
            # The claim is kept meanwhile, so that nobody else tries, and readers wait.
            again = min(_FIRST_BACKOFF * 2 ** (lost.resumes - 1), _LAST_BACKOFF)
            await asyncio.sleep(again * self._lease)
            raise _NotNow from None
        return source  # type: ignore[no-any-return]


class _NotNow(Exception):
    """The session is to be left to whoever tries next."""
