"""What a hub listens to: the live events and cancels of its sessions, one pubsub to each server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from redis.exceptions import MovedError

from ....errors import StoreUnavailable
from ...base import LiveEvent, Synced
from ..connections.dialer import Server
from ..connections.pubsub import Channel, Decode, PubSub
from .topology import Topology

__all__ = ["ChannelMap"]

logger: logging.Logger = logging.getLogger("streamhub")

# For so long a server that gave a slot away is not believed to have it, though others that have not
# heard of it name it still: as a replica of the new one it would take the subscription.
_GIVEN_AWAY = 2.0
_FIRST_BACKOFF = 0.05
_LAST_BACKOFF = 1.0


class _Watch:
    __slots__ = ("_channel", "_map", "sink")

    def __init__(
        self, channels: ChannelMap, channel: Channel, sink: Callable[[LiveEvent], None]
    ) -> None:
        self._map = channels
        self._channel = channel
        self.sink: Callable[[LiveEvent], None] = sink
        channel.watches = (*channel.watches, self)

    def close(self) -> None:
        if self in self._channel.watches:
            # The channel may be going through its watches right now.
            self.sink = _ignore
            self._channel.watches = tuple(one for one in self._channel.watches if one is not self)
            if not self._channel.watches:
                self._map.drop(self._channel)


def _ignore(_: LiveEvent) -> None:
    pass


def _tell_synced(watch: _Watch) -> None:
    watch.sink(Synced())


class ChannelMap:
    """Knows which pubsub listens to a channel, and moves it to another when its slot moves."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._channels: dict[bytes, Channel] = {}
        self._pubsubs: dict[Server, PubSub] = {}
        #: Channels of which it is not known who has them.
        self._stray: dict[Channel, None] = {}
        self._placing: asyncio.Task[None] | None = None

    def watch(self, name: str, decode: Decode, sink: Callable[[LiveEvent], None]) -> _Watch:
        key = name.encode()
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(key, self._topology.slot(key), decode)
            self._place(channel)
        watch = _Watch(self, channel, sink)
        if channel.synced:
            asyncio.get_running_loop().call_soon(_tell_synced, watch)
        return watch

    @property
    def connections(self) -> int:
        """How many are open."""
        return sum(pubsub.hearing for pubsub in self._pubsubs.values())

    def drop(self, channel: Channel) -> None:
        if self._channels.get(channel.name) is channel:
            del self._channels[channel.name]
            self._stray.pop(channel, None)
            if channel.pubsub is not None:
                channel.pubsub.drop(channel)

    async def aclose(self) -> None:
        placing, self._placing = self._placing, None
        if placing is not None:
            placing.cancel()
            await asyncio.gather(placing, return_exceptions=True)
        await asyncio.gather(*(pubsub.aclose() for pubsub in self._pubsubs.values()))

    def _holder(self, channel: Channel) -> Server | None:
        server = self._topology.server(channel.slot)
        now = asyncio.get_running_loop().time()
        return None if server is channel.left and now < channel.left_at + _GIVEN_AWAY else server

    def _place(self, channel: Channel) -> None:
        server = self._holder(channel)
        if server is not None:
            self._pubsub(server).add(channel)
            return
        self._stray[channel] = None
        if self._placing is None:
            self._placing = asyncio.create_task(
                self._place_strays(), name="streamhub channels places"
            )

    def _pubsub(self, server: Server) -> PubSub:
        pubsub = self._pubsubs.get(server)
        if pubsub is None:
            pubsub = self._pubsubs[server] = PubSub(
                server,
                sharded=not self._topology.single,
                on_break=self._on_break,
                on_move=self._on_move,
            )
        return pubsub

    async def _place_strays(self) -> None:
        backoff = _FIRST_BACKOFF
        while True:
            try:
                await self._topology.refresh()
            except StoreUnavailable as error:
                if backoff == _FIRST_BACKOFF:
                    logger.warning("live channel: %s; asking again", error)
            for channel in list(self._stray):
                server = self._holder(channel)
                if server is not None:
                    del self._stray[channel]
                    self._pubsub(server).add(channel)
            if not self._stray:
                self._placing = None
                return
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _LAST_BACKOFF)

    async def _on_break(self, pubsub: PubSub) -> bool:
        """Channels whose slot another server has now are listened to there; False if that leaves
        nothing to listen to here."""
        self._topology.doubt()
        with suppress(StoreUnavailable):
            await self._topology.refresh()
            for channel in list(pubsub.channels.values()):
                if self._topology.server(channel.slot) is not pubsub.server:
                    pubsub.forget(channel)
                    self._place(channel)
        return self._keeps(pubsub)

    def _on_move(self, pubsub: PubSub, channels: list[Channel], moved: MovedError | None) -> bool:
        if moved is None:
            self._topology.doubt()
        else:
            self._topology.moved(moved.slot_id, moved.host, moved.port)
        for channel in channels:
            channel.left, channel.left_at = pubsub.server, asyncio.get_running_loop().time()
            pubsub.forget(channel)
            self._place(channel)
        return self._keeps(pubsub)

    def _keeps(self, pubsub: PubSub) -> bool:
        if not pubsub.channels:
            del self._pubsubs[pubsub.server]
            return False
        return True
