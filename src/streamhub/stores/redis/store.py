"""The store in Redis: four connections to each server, every operation one script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, TypeVar
from uuid import uuid4

from redis.asyncio import Redis, RedisCluster

from ...chunks import Chunk, Cursor, SessionInfo, Status
from ...config import HubConfig
from ...errors import SessionCorrupted, SessionNotFound, StoreUnavailable, StreamHubError
from ...instruments.events import Tell
from ..base import (
    BaseStore,
    Claim,
    Granted,
    InboxPage,
    LiveEvent,
    Refused,
    Renew,
    StoreTakeover,
    Watch,
    WriteOp,
    WriteResult,
)
from .connections.errors import explained, is_cross_slot
from .feeds import RedisFeeds
from .index import Index
from .layout.claim_call import ClaimCall
from .layout.inbox import page_of_inbox, refused_message, written_message
from .layout.index import Entry, KnownFeeds
from .layout.keys import Keys, meta_pattern, session_of
from .layout.live import cancel_event, inbox_event, live_event
from .layout.record import outcome_status
from .layout.script_calls import Calls
from .layout.scripts import Call, Command, load_scripts
from .logs import Logs
from .records import Records
from .topology.channels import ChannelMap
from .topology.client import of_client
from .topology.topology import Commands, Topology
from .topology.url import of_url
from .writes import Writes

__all__ = ["RedisStore"]

_SCAN_COUNT = 500
# How much of an inbox one call reads.
_MESSAGES, _MESSAGE_BYTES = 64, 256 * 1024
# Of how many sessions one call stores chunks. In a cluster its keys would have to be of one slot.
_TOGETHER = 16
# Within so many seconds of the last time it is believed where the name leads; a lease may be too
# short for that.
_RECENTLY = 1.0
_load_scripts = cache(load_scripts)
_Answer = TypeVar("_Answer")


class RedisStore(BaseStore):
    """Keeps sessions in Redis or Valkey, of version 6.2 or later: in one server, in the master
    that Sentinel names, or in a cluster.

    See :class:`streamhub.stores.base.Store` for what it promises. A store belongs to one hub.

    :param client: whose servers, credentials and TLS settings are used: a ``redis.asyncio.Redis``,
        one of ``Sentinel.master_for(…)``, or a ``redis.asyncio.RedisCluster``. Its own connections
        are not: the store opens four of its own (in a cluster, to each primary), and leaves the
        client open.
    :raises TypeError: the client is none of these.
    """

    def __init__(self, client: Redis | RedisCluster) -> None:
        self._set_up(of_client(client))

    @classmethod
    def from_url(cls, url: str) -> RedisStore:
        """:raises InvalidStoreUrl: see :meth:`streamhub.Hub.from_url`."""
        store = cls.__new__(cls)
        store._set_up(of_url(url))
        return store

    def _set_up(self, topology: Topology) -> None:
        self._topology = topology
        self._prefix = HubConfig().key_prefix
        self._lease = HubConfig().lease
        self._scripts = _load_scripts(sharded=not topology.single)
        # Claims and renewals are not kept waiting by chunks, nor chunks by replays.
        scripts = self._scripts.values()
        self._calls = Calls(
            self._scripts, prefix=self._prefix, together=_TOGETHER if topology.single else 1
        )
        self._writes = topology.commands(retries=False, scripts=scripts)
        self._claims = topology.commands(retries=True, scripts=scripts)
        self._reads = topology.commands(retries=True)
        self._logs = Logs(self._reads, self._check)
        self._channels = ChannelMap(topology)
        self._index = Index(topology, self._claims, self._scripts, self._error)
        self._index.prefix = self._prefix
        self._feeds = RedisFeeds(self._index, self._claims, self._channels, self._error)
        self._records = Records(
            topology, self._reads, self._claims, self._scripts, self._keys, self._error
        )
        self._written = Writes(self._calls, self._writes, self._claims, self._index, self._error)

    def __repr__(self) -> str:
        return self._topology.name

    def configure(self, config: HubConfig) -> None:
        self._prefix = self._calls.prefix = self._index.prefix = config.key_prefix
        self._calls.host = config.host
        self._lease = config.lease

    def instrument(self, tell: Tell) -> None:
        self._topology.instrument(tell)

    @property
    def feeds(self) -> RedisFeeds:
        return self._feeds

    async def claim(
        self,
        session_id: str,
        generation: str,
        *,
        takeover: StoreTakeover,
        lease: float,
        retention: float,
        owner: str | None = None,
        metadata: str | None = None,
        request: str | None = None,
        same_owner: bool = False,
        replaces: str | None = None,
        traceparent: str | None = None,
    ) -> Granted | Refused:
        entry = Entry(session_id, owner, lease, retention, generation)
        claim = ClaimCall(
            entry, takeover, metadata=metadata, request=request, same_owner=same_owner,
            replaces=replaces, traceparent=traceparent, host=self._calls.host,
        )  # fmt: skip
        while True:
            answer, known = await self._change(lambda: self._claim(claim))
            if answer[0] == b"granted":
                break
            if answer[0] == b"unknown":
                raise SessionNotFound(session_id)
            (info,) = await self.look([session_id])
            if isinstance(info, SessionCorrupted | StoreUnavailable):
                raise info
            if info is not None:
                return Refused(info)
            # It went away in between: claim what is free now.
        self._writes.expect(self._keys(session_id).meta)
        granted, set_aside = claim.granted(answer, known)
        self._index.claimed(granted.claim, set_aside=set_aside)
        return granted

    async def _claim(self, claim: ClaimCall) -> tuple[Any, KnownFeeds]:
        """Put the session into the index, and claim it: what the claim is answered, and the feeds
        that it was made under."""
        index, entry = self._index, claim.entry
        while index.at_hand:
            known = index.known(entry.session_id)
            call = claim.call(self._scripts["claim"], self._prefix, known, index.shelf(entry))
            [answer] = await self._claims.ask([call], patient=True)
            if is_cross_slot(answer):
                # Behind one address there is a cluster after all.
                index.at_hand = False
                break
            self._check([answer], entry.session_id)
            if answer[0] != b"other feeds":
                return answer, known
            index.learn(index.shard(entry.session_id), answer[1])
        while True:
            began = asyncio.get_running_loop().time()
            known = index.known(entry.session_id)
            entering = index.entering(claim.listed(known), claim.feeds(known))
            # Where no feed is known, no claim waits for a node that is silent: with its first
            # renewal the session is put into the index all the same.
            needed = bool(known.text)
            [heard] = await self._claims.ask([entering], patient=needed)
            if needed or not isinstance(heard, StoreUnavailable):
                self._check([heard], entry.session_id)
                if index.learn(index.shard(entry.session_id), heard) != known:
                    continue
            call = claim.call(self._scripts["claim"], self._prefix, known)
            answer = await self._ask(self._claims, entry.session_id, call)
            if asyncio.get_running_loop().time() - began > entry.lease / 2:
                # Whoever looks after it may have been there before the claim was.
                await self._ask(self._claims, entry.session_id, entering)
            return answer, known

    def write(self, ops: Sequence[WriteOp]) -> Awaitable[list[WriteResult | Exception]]:
        return self._written.write(ops)

    async def renew(self, ops: Sequence[Renew]) -> list[WriteResult | Exception]:
        self._topology.confirm_soon(self._lease)
        return await self._written.renew(ops)

    async def cancel(
        self, session_id: str, *, generation: str, epoch: int | None, reason: str | None = None
    ) -> Status | None:
        keys = self._keys(session_id)
        call = Call(
            self._scripts["cancel"],
            (keys.meta, keys.chunks),
            "" if epoch is None else epoch,
            generation,
            reason or "",
            keys.live,
            keys.cancel,
        )
        answer = await self._change(lambda: self._ask(self._claims, session_id, call))
        match answer:
            case [b"over", outcome]:
                self._index.tell_over(session_id, self._lease)
                return outcome_status(session_id, outcome)
            case [b"active"]:
                return Status.ACTIVE
        return None

    async def remove(self, session_id: str) -> bool:
        keys, removal = self._keys(session_id), uuid4().hex
        # Afterwards it would take out who claims the session as soon as it is free.
        await self._index.drop(session_id)
        asides = b""
        while True:
            others = [key for gen in asides.split() for key in keys.of_stream(gen.decode())]
            call = Call(
                self._scripts["remove"],
                (keys.meta, keys.chunks, keys.removed, keys.ends, *others),
                removal,
                keys.live,
                keys.cancel,
                asides,
            )
            asked = partial(self._ask, self._claims, session_id, call)
            answer = await self._change(asked)
            if not isinstance(answer, bytes):
                return bool(answer)
            # More was set aside of it, and goes, too.
            asides = answer

    async def look(
        self, session_ids: Sequence[str], *, metadata: bool = False
    ) -> Sequence[SessionInfo | SessionCorrupted | StoreUnavailable | None]:
        if not session_ids:
            return []
        self._topology.confirm_soon(self._lease)
        return await self._records.look(session_ids, metadata=metadata, recently=self._recently)

    async def announce(self, followers: Mapping[str, int], *, hub: str, lasts: float) -> None:
        await self._records.announce(followers, hub=hub, lasts=lasts)

    async def metadata_sizes(self, session_ids: Sequence[str]) -> list[int]:
        return await self._records.metadata_sizes(session_ids)

    async def memory(self, session_ids: Sequence[str]) -> list[int | None]:
        return await self._records.memory(session_ids)

    async def read(
        self, session_id: str, after: Cursor, limit: int, *, generation: str | None = None
    ) -> list[Chunk]:
        keys = self._keys(session_id)
        return await self._logs.read(session_id, keys, after, limit, generation)

    async def read_joined(self, session_id: str, after: Cursor, limit: int) -> list[Chunk]:
        return await self._logs.read_joined(session_id, self._keys(session_id), after, limit)

    async def sessions(
        self, *, owner: str | None = None, foreign: bool = False
    ) -> AsyncIterator[str]:
        if not foreign:
            async for session_id in self._index.sessions(owner):
                yield session_id
            return
        # The index does not have them: all keys there are have to be gone through.
        seen: set[str] = set()
        for pipeline in await self._claims.each():
            async for key in self._scan(pipeline):
                found = session_of(self._prefix, key.decode(errors="replace"))
                if found is not None and found not in seen:
                    seen.add(found)
                    yield found

    async def _scan(self, pipeline: Commands) -> AsyncIterator[bytes]:
        pattern, position = meta_pattern(self._prefix), b"0"
        while True:
            request = (b"SCAN", position, b"MATCH", pattern, b"COUNT", _SCAN_COUNT)
            position, keys = self._checked(await pipeline.ask([request]))[0]
            for key in keys:
                yield key
            if position == b"0":
                return

    def watch(
        self, session_id: str, sink: Callable[[LiveEvent], None], *, cancels: bool = False
    ) -> Watch:
        keys = self._keys(session_id)
        if cancels:
            return self._channels.watch(keys.cancel, cancel_event, sink)
        return self._channels.watch(keys.live, live_event, sink)

    async def send(
        self,
        session_id: str,
        data: str,
        event: str | None,
        *,
        epoch: int | None,
        token: str,
        max_messages: int,
        max_bytes: int,
    ) -> str:
        keys = self._keys(session_id)
        call = Call(
            self._scripts["send"],
            (keys.meta,),
            "" if epoch is None else epoch,
            token,
            written_message(data, event),
            max_messages,
            max_bytes,
            keys.inbox,
        )
        answer = await self._ask(self._claims, session_id, call)
        if answer[0] != b"sent":
            raise refused_message(session_id, epoch, answer, max_messages, max_bytes)
        return str(answer[1].decode())

    async def read_inbox(self, claim: Claim, held: Sequence[str]) -> InboxPage:
        call = Call(
            self._scripts["read_inbox"],
            (self._keys(claim.session_id).meta,),
            claim.generation,
            _MESSAGES,
            _MESSAGE_BYTES,
            *held,
        )
        return page_of_inbox(await self._ask(self._claims, claim.session_id, call))

    def watch_inbox(self, session_id: str, sink: Callable[[LiveEvent], None]) -> Watch:
        return self._channels.watch(self._keys(session_id).inbox, inbox_event, sink)

    def connections(self) -> int:
        commands = (self._writes, self._claims, self._reads)
        return sum(each.connections for each in commands) + self._channels.connections

    async def aclose(self) -> None:
        """Close the store's own connections. A client that was handed in stays open."""
        pipelines = (self._writes, self._claims, self._reads)
        await self._index.aclose()
        await self._topology.aclose()
        await asyncio.gather(self._channels.aclose(), *(each.aclose() for each in pipelines))

    def _keys(self, session_id: str) -> Keys:
        return Keys.of(self._prefix, session_id)

    async def _ask(self, pipelines: Commands, session_id: str, request: Command | Call) -> Any:
        answers = await pipelines.ask([request], patient=True)
        self._check(answers, session_id)
        return answers[0]

    async def _change(self, act: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """What the server answers that the name means. One that it meant before may live on, and
        take what nobody would see: where it leads is seen to at the same time."""
        while True:
            moves = self._topology.moves
            self._topology.confirm_soon(self._recently)
            answer = await act()
            await self._topology.confirm(self._recently, patience=_RECENTLY)
            if self._topology.moves == moves:
                return answer

    @property
    def _recently(self) -> float:
        return min(_RECENTLY, self._lease / 4)

    def _check(self, answers: Sequence[Any], session_id: str) -> None:
        """None of the answers must be an error."""
        for answer in answers:
            if isinstance(answer, Exception):
                raise self._error(answer, session_id)

    def _error(self, error: Exception, session_id: str | None = None) -> StreamHubError:
        return explained(error, self._topology.name, self._topology.timeout, session_id)

    def _checked(self, answers: list[Any]) -> list[Any]:
        """The answers, the first of which must not be an error."""
        if isinstance(answers[0], Exception):
            raise self._error(answers[0])
        return answers
