"""Feeds in Redis: schedules in the index, and the state of each end beside its session's record."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec

from ...chunks import Chunk, Cursor, SessionInfo
from ...errors import SessionCorrupted, StreamHubError
from ..base import LiveEvent, Unsynced
from ..feeds import DeadEnd, Due, FeedInfo, Later, Outcome, Taken
from ..watch import Watch
from .index import Index
from .layout.index import EndState, member_of, read, stream_of, written
from .layout.keys import Keys
from .layout.live import news_event
from .layout.log import entries, of_term
from .layout.record import FIELDS, ms, read_record, time_ms
from .layout.scripts import Argument, Call
from .topology.channels import ChannelMap
from .topology.topology import Commands

__all__ = ["RedisFeeds"]

# Who has nothing to do looks again after so many seconds.
_LONGEST_REST = 60.0
# So many that were handed out are remembered; of another it is not known whether it was put on the
# schedule since, and it stays there.
_MOST_HANDED = 100_000
_MOST_MOVED = 1000
_PAGE = 100
_decode_state = msgspec.json.Decoder(EndState).decode


class _Watches:
    """The watches of the channels of all shards, as one."""

    def __init__(self, watches: list[Watch]) -> None:
        self._watches = watches

    def close(self) -> None:
        for watch in self._watches:
            watch.close()


class RedisFeeds:
    """See :class:`streamhub.stores.feeds.Feeds`.

    A schedule and a session are in different slots of a cluster: no step here is one over both.
    What is due is a hint, and ``take.lua`` and ``settle.lua`` decide.

    :param error: what an error of redis-py is to a user, of a session where one is named.
    """

    def __init__(
        self,
        index: Index,
        commands: Commands,
        channels: ChannelMap,
        error: Callable[[Exception, str | None], StreamHubError],
    ) -> None:
        self._index = index
        self._commands = commands
        self._channels = channels
        self._error = error
        #: For how long each feed that was opened here has its ends kept.
        self._opened: dict[str, float] = {}
        #: What was handed out here, and when it is to be due again.
        self._handed: dict[tuple[str, Due], int] = {}
        #: Of these the session is not there: it may be about to be claimed.
        self._gone: set[tuple[str, Due]] = set()
        #: Where ends are that were set aside since they were taken, by feed and worker.
        self._moved: dict[tuple[Due, Argument, Argument], Due] = {}

    async def open(self, feed: str, *, unsaved: float) -> None:
        self._opened[feed] = unsaved
        await self._open(feed, range(self._index.shards))

    async def _open(self, feed: str, shards: Sequence[int]) -> None:
        name, unsaved = written(feed), round(self._opened[feed] * 1000)
        *_, owner = feed.split(":", 2) if feed.count(":") > 1 else (None,)
        calls = []
        for shard in shards:
            keys = self._index.keys(shard)
            shard_keys = (keys.feeds, keys.due(name), keys.of_owner(owner))
            calls.append(Call(self._index.scripts["open_feed"], shard_keys, name, unsaved))
        for shard, answer in zip(shards, await self._index.ask(calls), strict=True):
            self._index.learn(shard, answer)

    async def due(self, feed: str, limit: int, *, hold: float) -> tuple[list[Due], float]:
        name = written(feed)
        calls, every = [], self._index.every
        # Not always the same shards first, where fewer are asked for than there are.
        first = random.randrange(len(every))
        for n, keys in enumerate(every):
            at = (n - first) % len(every)
            share = limit // len(every) + (at < limit % len(every))
            calls.append(
                Call(
                    self._index.scripts["due"], (keys.feeds, keys.due(name)), name, share, ms(hold)
                )
            )
        found: list[Due] = []
        rest, unknown = _LONGEST_REST, []
        for shard, answer in enumerate(await self._index.ask(calls)):
            is_known, left_ms, again, members = answer
            if not is_known:
                unknown.append(shard)
            if left_ms >= 0:
                rest = min(rest, left_ms / 1000)
            for due in map(stream_of, members):
                found.append(due)
                self._handed[feed, due] = int(again)
        while len(self._handed) > _MOST_HANDED:
            del self._handed[next(iter(self._handed))]
        if unknown and feed in self._opened:
            # The shard has lost its data: without this, nothing would be put on the schedule.
            await self._open(feed, unknown)
            rest = 0.0
        return found, rest

    async def put_off(self, feed: str, when: Mapping[Due, float | None]) -> None:
        name = written(feed)
        by_shard: dict[int, list[Due]] = {}
        for due in when:
            by_shard.setdefault(self._index.shard(due.session_id), []).append(due)
        calls = []
        for shard, several in by_shard.items():
            keys = self._index.keys(shard)
            call = Call(self._index.scripts["put_off"], (keys.due(name), keys.sessions))
            for due in several:
                seconds = when[due]
                after: str | int = "gone" if (feed, due) in self._gone else ""
                if seconds is not None:
                    after = round(seconds * 1000)
                call.arguments += (member_of(due), self._handed.get((feed, due), ""), after)
            calls.append(call)
        if calls:
            await self._index.ask(calls)
        for due in when:
            self._handed.pop((feed, due), None)
            self._gone.discard((feed, due))

    def watch(self, sink: Callable[[], None]) -> Watch:
        def hear(event: LiveEvent) -> None:
            if not isinstance(event, Unsynced):
                sink()

        return _Watches(
            [self._channels.watch(keys.news, news_event, hear) for keys in self._index.every]
        )

    async def take(
        self, due: Due, feed: str, worker: str, *, lease: float, lost_after: float
    ) -> Taken | Later | None:
        keys = self._keys(due)
        call = Call(
            self._index.scripts["take"],
            keys.of_stream(due.aside),
            feed,
            worker,
            ms(lease),
            round(lost_after * 1000),
            keys.live if due.aside is None else "",
            *FIELDS,
            "metadata",
        )
        match await self._ask(due, call):
            case [b"taken", attempt, now, ended, fields]:
                info = self._read(due, fields, int(now))
                return Taken(due, info, int(ended) / 1000, attempt)
            case [b"later", left]:
                return Later(int(left) / 1000)
            case [b"gone"] if due.aside is None:
                self._gone.add((feed, due))
        return None

    async def renew(self, due: Due, feed: str, worker: str, *, lease: float) -> bool:
        return await self._where_it_is(
            due,
            lambda place, keys: Call(
                self._index.scripts["renew_end"],
                (keys.of_stream(place.aside)[0], keys.of_stream(place.aside)[2]),
                feed,
                worker,
                ms(lease),
            ),
        )

    async def settle(
        self,
        due: Due,
        feed: str,
        worker: str,
        outcome: Outcome,
        *,
        after: float = 0.0,
        error: str = "",
    ) -> bool:
        def call(place: Due, keys: Keys) -> Call:
            return Call(
                self._index.scripts["settle"],
                (*keys.of_stream(place.aside), keys.meta),
                feed,
                worker,
                outcome,
                round(after * 1000),
                error,
                place.aside or "",
            )

        return await self._where_it_is(due, call, bury=feed if outcome == "dead" else None)

    async def _where_it_is(
        self, due: Due, call: Callable[[Due, Keys], Call], *, bury: str | None = None
    ) -> bool:
        """Ask where the stream was taken, and where it may have been set aside since.

        :param bury: list it among what this feed has given up, before it is.
        """
        keys = self._keys(due)
        asked = call(due, keys)
        feed, worker = asked.arguments[:2]
        held = (due, feed, worker)
        places = [due]
        if held in self._moved:
            # It is not on the list any more once all are done with it.
            places.append(self._moved[held])
        while places:
            place = places.pop()
            if bury is not None:
                await self._bury(place, bury)
            done, *more = await self._ask(due, asked if place == due else call(place, keys))
            if done:
                if place != due:
                    self._remember(held, place)
                if len(more) == 2:
                    gone, owner = more
                    self._index.shorten(due.session_id, owner, int(gone))
                return True
            if place.aside is None and more:
                # The newest is looked at first.
                places += [Due(due.session_id, gen) for gen in more[0].decode().split()]
        return False

    def _remember(self, held: tuple[Due, Argument, Argument], place: Due) -> None:
        self._moved[held] = place
        if len(self._moved) > _MOST_MOVED:
            del self._moved[next(iter(self._moved))]

    async def _bury(self, due: Due, feed: str) -> None:
        """A listing that comes to nothing is seen to be so."""
        keys = self._index.keys(self._index.shard(due.session_id))
        (ttl,) = await self._index.ask([(b"PTTL", self._keys(due).of_stream(due.aside)[0])])
        if ttl > 0:
            call = Call(
                self._index.scripts["bury"], (keys.dead(written(feed)),), member_of(due), ttl
            )
            await self._index.ask([call])

    async def read(self, due: Due, after: Cursor, limit: int) -> list[Chunk]:
        _, chunks, _ = self._keys(due).of_stream(due.aside)
        request = (b"XRANGE", chunks, f"({after}", b"+", b"COUNT", limit)
        return of_term(entries(due.session_id, await self._ask(due, request)), after.term)

    async def dead(self, feed: str) -> AsyncIterator[DeadEnd]:
        for keys in self._index.every:
            start = 0
            while True:
                stop = start + _PAGE - 1
                (members,) = await self._index.ask(
                    [(b"ZRANGE", keys.dead(written(feed)), start, stop)]
                )
                for member in members:
                    if (found := await self._dead(stream_of(member), feed)) is not None:
                        yield found
                if len(members) < _PAGE:
                    break
                start += _PAGE

    async def _dead(self, due: Due, feed: str) -> DeadEnd | None:
        meta, _, ends = self._keys(due).of_stream(due.aside)
        wanted = (*FIELDS, "metadata")
        time, fields, text = await self._index.ask(
            [(b"TIME",), (b"HMGET", meta, *wanted), (b"HGET", ends, feed)]
        )
        try:
            state = None if text is None else _decode_state(text)
        except msgspec.DecodeError:
            return None
        info = read_record(due.session_id, fields, time_ms(time))
        if (
            state is None
            or not isinstance(info, SessionInfo)
            or (state.state, state.generation) != ("dead", info.generation)
        ):
            return None
        ended = info.ended or time_ms(time) / 1000
        return DeadEnd(due, info, state.attempts, state.error, ended)

    async def revive(self, due: Due, feed: str) -> bool:
        shard = self._index.keys(self._index.shard(due.session_id))
        meta, _, ends = self._keys(due).of_stream(due.aside)
        # It is on the schedule first: too early does no harm.
        await self._index.hasten(due, feed)
        answer = await self._ask(due, Call(self._index.scripts["revive"], (meta, ends), feed))
        if answer:
            await self._index.hasten(due, feed)
            await self._index.ask([(b"ZREM", shard.dead(written(feed)), member_of(due))])
        return bool(answer)

    async def known(self) -> Sequence[FeedInfo]:
        found: dict[str, FeedInfo] = {}
        for keys in self._index.every:
            time, pairs = await self._index.ask([(b"TIME",), (b"HGETALL", keys.feeds)])
            now = time_ms(time)
            for name, times in zip(pairs[::2], pairs[1::2], strict=True):
                _, _, asked, since = map(int, times.split())
                schedule = keys.due(name.decode())
                overdue, first = await self._index.ask(
                    [
                        (b"ZCOUNT", schedule, b"-inf", f"({now}"),
                        (b"ZRANGE", schedule, 0, 0, b"WITHSCORES"),
                    ]
                )
                # What was there before the feed was known is due since then.
                oldest = now - max(float(first[1]), since) if first else 0.0
                feed = read(name.decode())
                before = found.get(feed, FeedInfo(feed, float("inf"), 0, 0.0))
                found[feed] = FeedInfo(
                    feed,
                    min(before.idle, max(0, now - asked) / 1000),
                    before.overdue + overdue,
                    max(before.oldest, oldest / 1000 if overdue else 0.0),
                )
        return list(found.values())

    def _keys(self, due: Due) -> Keys:
        return Keys.of(self._index.prefix, due.session_id)

    def _read(self, due: Due, fields: Sequence[bytes | None], now_ms: int) -> SessionInfo:
        info = read_record(due.session_id, fields, now_ms)
        if isinstance(info, SessionInfo):
            return info
        raise info or SessionCorrupted(due.session_id, "its record was taken, and is not there")

    async def _ask(self, due: Due, request: Any) -> Any:
        (answer,) = await self._commands.ask([request], patient=True)
        if isinstance(answer, Exception):
            raise self._error(answer, due.session_id)
        return answer
