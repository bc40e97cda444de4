"""The index in Redis: which sessions there are, and what each feed is to look after.

On one server it has one shard, whose keys are at hand wherever a session's are. In a cluster it has
several, on slots of their own: nothing about a session and its entry is one step there. So an entry
is made before its session can be claimed, and made again as long as that may live.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import Any

from ...errors import StreamHubError
from ..base import Claim
from ..feeds import Due
from .layout.index import (
    LEASES_BETWEEN,
    SLACK,
    Entry,
    KnownFeeds,
    batches,
    enlist,
    known,
    shard_of,
)
from .layout.keys import IndexKeys
from .layout.record import ms
from .layout.scripts import Call, Script
from .topology.topology import Commands, Topology

__all__ = ["Index", "entry_of"]

logger: logging.Logger = logging.getLogger("streamhub")

_SHARDS_OF_A_CLUSTER = 16
_SCAN_COUNT = 500
# Of so many sessions it is remembered when they are to be put into the index again.
_MOST_LISTED = 100_000
# How long closing waits for what is still to be told.
_LAST_WORDS = 1.0


class Index:
    """Which sessions there are, and which feeds.

    :param error: what an error of redis-py is to a user.
    """

    def __init__(
        self,
        topology: Topology,
        commands: Commands,
        scripts: Mapping[str, Script],
        error: Callable[[Exception], StreamHubError],
    ) -> None:
        self._commands = commands
        self.scripts = scripts
        self._error = error
        self.prefix = ""
        self.shards = 1 if topology.single else _SHARDS_OF_A_CLUSTER
        #: Whether a script may use its keys together with those of a session.
        self.at_hand: bool = topology.single
        #: What each shard was last heard to know.
        self._known: dict[int, KnownFeeds] = {}
        #: When each session that is produced here is to be put into the index again.
        self._due: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def shard(self, session_id: str) -> int:
        return shard_of(session_id, self.shards)

    def keys(self, shard: int) -> IndexKeys:
        return IndexKeys.of(self.prefix, shard)

    @property
    def every(self) -> list[IndexKeys]:
        return [self.keys(shard) for shard in range(self.shards)]

    def known(self, session_id: str) -> KnownFeeds:
        """The feeds that the session's shard was last heard to know."""
        return self._known.get(self.shard(session_id), KnownFeeds())

    def shelf(self, entry: Entry) -> IndexKeys:
        """Where the index has it."""
        return self.keys(self.shard(entry.session_id))

    def learn(self, shard: int, answer: Any) -> KnownFeeds:
        """Remember which feeds a shard has said to know."""
        self._known[shard] = heard = known(answer)
        return heard

    def entering(self, entry: Entry, feeds: Sequence[str]) -> Call:
        """What puts a session into the index, and on these schedules, that is about to be
        claimed."""
        return enlist(self.scripts["enlist"], self.shelf(entry), feeds, [entry])

    async def enlist(
        self,
        entries: Sequence[Entry],
        feeds: Iterable[str] = (),
        *,
        hasten: bool = False,
        if_missing: bool = False,
        patient: bool = True,
    ) -> None:
        """Put sessions into the index, and on the schedules of all feeds that are known, and of
        ``feeds``.

        :raises StoreUnavailable: a shard cannot be reached.
        """
        todo = list(batches(entries, self.shards))
        feeds = set(feeds)
        while todo:
            named = [
                sorted(feeds.union(self.known(few[0].session_id).suiting(few[0].owner)))
                for _, few in todo
            ]
            answers = await self.ask(
                [
                    enlist(
                        self.scripts["enlist"], self.keys(shard), names, few,
                        hasten=hasten, if_missing=if_missing,
                    )
                    for (shard, few), names in zip(todo, named, strict=True)
                ],
                patient=patient,
            )  # fmt: skip
            todo = [
                (shard, few)
                for (shard, few), names, answer in zip(todo, named, answers, strict=True)
                if not set(self.learn(shard, answer).suiting(few[0].owner)) <= set(names)
            ]

    async def put_back(self, claim: Claim) -> None:
        """Put a session into the index whose claim is about to be put back.

        :raises StoreUnavailable: its shard cannot be reached, and there are feeds.
        """
        # What the claim had set aside may have been lost with it, and be set aside again.
        aside = claim.generation if claim.replaced else ""
        entry = entry_of(claim)._replace(aside=aside)
        entering = self.enlist([entry], claim.feeds, patient=False)
        if claim.feeds or self.known(claim.session_id).text:
            await entering
        else:
            self.say(entering)

    # What is said of a session in passing: nobody waits for it, and its entry lasts without.

    def tell_ended(self, claims: Sequence[Claim]) -> None:
        """These have ended or were released: there may be something to do now."""
        for claim in claims:
            self._due.pop(claim.session_id, None)
            if claim.feeds or self.known(claim.session_id).text:
                self.say(self.enlist([entry_of(claim)], claim.feeds, hasten=True))

    def tell_alive(self, claims: Sequence[Claim]) -> None:
        """These were renewed: their entries are made again now and then."""
        now = asyncio.get_running_loop().time()
        old = [claim for claim in claims if now >= self._due.get(claim.session_id, -inf)]
        if not old:
            return
        groups: dict[tuple[str, ...], list[Entry]] = {}
        for claim in old:
            self._due[claim.session_id] = now + LEASES_BETWEEN * claim.lease - 1.0
            groups.setdefault(claim.feeds, []).append(entry_of(claim))
        for feeds, entries in groups.items():
            self.say(self.enlist(entries, feeds, if_missing=True))

    def tell_over(self, session_id: str, lease: float) -> None:
        """A cancel has found or made an end."""
        if self.known(session_id).text:
            self.say(self.enlist([Entry(session_id, None, lease, 0.0)], hasten=True))

    def claimed(self, claim: Claim, *, set_aside: bool) -> None:
        """A session was claimed, and something of it may have been set aside for the feeds."""
        if len(self._due) >= _MOST_LISTED:
            self._due = {}
        now = asyncio.get_running_loop().time()
        # On a server of its own the index may lose its newest writes, and not the claim: once more
        # with the first of its regular renewals. Another one follows the claim at once.
        wait = LEASES_BETWEEN * claim.lease - 1.0 if self.at_hand else claim.lease / 8
        self._due[claim.session_id] = now + wait
        if set_aside:
            self.tell_aside(claim)

    def tell_aside(self, claim: Claim) -> None:
        """What the claim has set aside is due now, if there is anything."""
        entry = entry_of(claim)._replace(aside=claim.generation)
        self.say(self.enlist([entry], claim.feeds, hasten=True))

    def shorten(self, session_id: str, owner: bytes, gone: int) -> None:
        """All feeds are done with a session: it is gone sooner than it was put in for.

        :param owner: whose it is, after a ``=``; empty for nobody's.
        :param gone: when, in ms of the server's clock.
        """
        shelf = self.keys(self.shard(session_id))
        sets = [shelf.sessions]
        if owner:
            sets.append(shelf.of_owner(owner[1:].decode(errors="replace")))
        until = gone + ms(SLACK)
        # Whoever has claimed it meanwhile puts it on again, with the first renewal or the end.
        self.say(self._shorten([(b"ZADD", key, b"XX", b"LT", until, session_id) for key in sets]))

    async def _shorten(self, requests: Sequence[Any]) -> None:
        await self.ask(requests, patient=False)

    async def drop(self, session_id: str) -> None:
        """A session is about to be removed. It stays on schedules: somebody may be about to claim
        it."""
        keys = self.keys(self.shard(session_id))
        self._due.pop(session_id, None)
        with suppress(StreamHubError):
            await self.ask([(b"ZREM", keys.sessions, session_id)])

    async def hasten(self, due: Due, feed: str) -> None:
        """A stream is due in one feed, now."""
        keys = self.keys(self.shard(due.session_id))
        entry = Entry(due.session_id, None, 0.0, 0.0, due.aside or "")
        await self.ask([enlist(self.scripts["enlist"], keys, [feed], [entry], hasten=True)])

    def say(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._say(work), name="streamhub index")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _say(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except StreamHubError as error:
            logger.debug("index: %s", error)

    # What is asked of it.

    async def sessions(self, owner: str | None) -> AsyncIterator[str]:
        """All that it has; some may be gone."""
        # While the set grows, it may name one twice.
        seen: set[bytes] = set()
        for keys in self.every:
            position = b"0"
            while True:
                request = (b"ZSCAN", keys.of_owner(owner), position, b"COUNT", _SCAN_COUNT)
                [(position, found)] = await self.ask([request])
                for member in found[::2]:
                    # No session is called nothing: somebody else has written that.
                    if member and member not in seen:
                        seen.add(member)
                        yield member.decode(errors="replace")
                if position == b"0":
                    break

    async def ask(self, requests: Sequence[Any], *, patient: bool = True) -> list[Any]:
        """The answers, none of which may be an error."""
        answers = await self._commands.ask(requests, patient=patient)
        for answer in answers:
            if isinstance(answer, Exception):
                raise self._error(answer)
        return answers

    async def aclose(self) -> None:
        tasks = list(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_LAST_WORDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def entry_of(claim: Claim) -> Entry:
    return Entry(claim.session_id, claim.owner, claim.lease, claim.kept)
