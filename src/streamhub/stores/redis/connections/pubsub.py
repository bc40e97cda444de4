"""One Pub/Sub connection: the live events and cancels of the sessions that one server has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from math import inf
from typing import Any, Protocol

import msgspec
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
    MovedError,
    RedisError,
    ResponseError,
)

from ....errors import StreamHubError
from ...base import LiveEvent, Synced, Unsynced
from ..layout.scripts import Command
from .dialer import MOVED_AWAY, Server, disconnect
from .protocol import RawConnection

__all__ = ["Channel", "Decode", "PubSub"]

logger: logging.Logger = logging.getLogger("streamhub")

_PURPOSE = "live"

Decode = Callable[[bytes], LiveEvent | None]
Sink = Callable[[LiveEvent], None]

# A silent connection is asked for a sign of life, and given up without one.
_PING_AFTER = 5.0
_GIVE_UP_AFTER = 10.0
_FIRST_BACKOFF = 0.05
_LAST_BACKOFF = 1.0
_CHANNELS_PER_COMMAND = 1000
_MESSAGES = (b"message", b"smessage")
_SUBSCRIBED = (b"subscribe", b"ssubscribe")


class Watching(Protocol):
    """A watch on a channel."""

    sink: Sink


class Channel:
    """One channel: the watches on it, and whether the server sends its messages yet."""

    # What each message needs comes first.
    __slots__ = (  # noqa: RUF023
        "decode", "watches", "name", "synced", "pubsub", "slot", "left", "left_at",
    )  # fmt: skip

    def __init__(self, name: bytes, slot: int, decode: Decode) -> None:
        self.name: bytes = name
        self.slot: int = slot
        self.decode: Decode = decode
        #: Built anew where it changes, for it may while it is gone through.
        self.watches: tuple[Watching, ...] = ()
        self.synced: bool = False
        #: Where it is listened to; None until that is known.
        self.pubsub: PubSub | None = None
        #: The server that gave it away last, and when that was.
        self.left: Server | None = None
        self.left_at: float = -inf

    def send(self, event: LiveEvent) -> None:
        for watch in self.watches:
            watch.sink(event)

    def unsync(self) -> None:
        if self.synced:
            self.synced = False
            self.send(Unsynced())


class _NothingLeft(Exception):
    """All channels are listened to elsewhere now."""


class PubSub:
    """Listens to its channels, and connects again whenever the connection breaks.

    :param sharded: subscribe to sharded channels, which messages of one slot stay on.
    :param on_break: awaited when the connection has been lost: channels may be taken elsewhere.
    :param on_move: told of channels that another server has now, and of its address if known.
        Each of the two answers whether the pubsub goes on.
    """

    def __init__(
        self,
        server: Server,
        *,
        sharded: bool,
        on_break: Callable[[PubSub], Awaitable[bool]],
        on_move: Callable[[PubSub, list[Channel], MovedError | None], bool],
    ) -> None:
        self.server = server
        self.channels: dict[bytes, Channel] = {}
        self._sharded = sharded
        self._on_break = on_break
        self._on_move = on_move
        self._wanted: dict[bytes, None] = {}
        self._unwanted: dict[bytes, None] = {}
        self._changed = asyncio.Event()
        #: Whether this connection has answered anything yet.
        self.hearing: bool = False
        self._connection: RawConnection | None = None
        server.on_move(self._leave_server)
        self._task = asyncio.create_task(self._run(), name="streamhub pubsub")
        self._task.add_done_callback(lambda _: server.discard_on_move(self._leave_server))

    def add(self, channel: Channel) -> None:
        channel.pubsub = self
        self.channels[channel.name] = channel
        self._unwanted.pop(channel.name, None)
        self._wanted[channel.name] = None
        self._changed.set()

    def drop(self, channel: Channel) -> None:
        """Nobody listens to it any more."""
        if channel.name not in self._wanted:
            self._unwanted[channel.name] = None
            self._changed.set()
        self.forget(channel)

    def forget(self, channel: Channel) -> None:
        """The server does not send it any more."""
        channel.pubsub = None
        del self.channels[channel.name]
        self._wanted.pop(channel.name, None)

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _leave_server(self) -> None:
        if self._connection is not None:
            self._connection.break_off(RedisConnectionError(MOVED_AWAY))

    async def _run(self) -> None:
        backoff = _FIRST_BACKOFF
        loop = asyncio.get_running_loop()
        while True:
            connection: RawConnection | None = None
            began = loop.time()
            try:
                async with asyncio.timeout(self.server.timeout):
                    connection = RawConnection(await self.server.connect())
                self._connection = connection
                self.server.connected(_PURPOSE, loop.time() - began)
                await self._listen(connection)
            except (RedisError, OSError, TimeoutError) as error:
                if connection is not None:
                    self.server.disconnected(_PURPOSE, error)
                if self.hearing:
                    backoff = _FIRST_BACKOFF
                if self._sharded and isinstance(error, ResponseError) and _is_unknown(error):
                    # Redis learned it with 7.0; the scripts tell plain channels there, too.
                    self._sharded = False
                    continue
                if backoff == _FIRST_BACKOFF:
                    mapped: StreamHubError = self.server.error(error)
                    logger.warning("live channel: %s; connecting again", mapped)
            except _NothingLeft:
                return
            except Exception:
                # A pubsub that died would leave every subscriber of the hub behind.
                logger.exception("live channel: connecting again")
            finally:
                self.hearing = False
                self._connection = None
                for channel in list(self.channels.values()):
                    channel.unsync()
                if connection is not None:
                    await disconnect(connection)
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _LAST_BACKOFF)
            if not await self._on_break(self):
                return

    async def _listen(self, connection: RawConnection) -> None:
        self._unwanted.clear()
        self._wanted = dict.fromkeys(self.channels)
        self._changed.set()
        speaking = asyncio.create_task(self._speak(connection), name="streamhub pubsub speaks")
        try:
            await connection.listen(self._on_replies)
        except Exception:
            if speaking.done() and not speaking.cancelled() and speaking.exception() is not None:
                speaking.result()
            raise
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)

    async def _speak(self, connection: RawConnection) -> None:
        """Send what is to be (un)subscribed, and a sign of life into silence."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    async with asyncio.timeout(_PING_AFTER):
                        await self._changed.wait()
                except TimeoutError:
                    silence = loop.time() - connection.heard
                    if silence > _GIVE_UP_AFTER:
                        raise ConnectionError(f"silent for {silence:.0f} s") from None
                    if silence > _PING_AFTER / 2:
                        connection.send([(b"PING",)])
                    continue
                self._changed.clear()
                wanted, self._wanted = list(self._wanted), {}
                unwanted, self._unwanted = list(self._unwanted), {}
                connection.send(self._commands(unwanted, wanted))
        except BaseException:
            # The reader must wake up to this.
            await disconnect(connection)
            raise

    def _commands(self, unwanted: Iterable[bytes], wanted: Iterable[bytes]) -> list[Command]:
        if self._sharded:
            # The channels of one command would have to be of one slot.
            return [
                *((b"SUNSUBSCRIBE", name) for name in unwanted),
                *((b"SSUBSCRIBE", name) for name in wanted),
            ]
        return [
            (verb, *names[start : start + _CHANNELS_PER_COMMAND])
            for verb, names in ((b"UNSUBSCRIBE", list(unwanted)), (b"SUBSCRIBE", list(wanted)))
            for start in range(0, len(names), _CHANNELS_PER_COMMAND)
        ]

    def _on_replies(self, replies: Sequence[Any]) -> None:
        """Take in what one read has brought, in its order. Of messages all are decoded before the
        first is sent on: each of the two takes more code than a processor keeps at hand."""
        messages: list[tuple[Channel, LiveEvent]] = []
        for reply in replies:
            if isinstance(reply, list) and reply[0] in _MESSAGES:
                channel = self.channels.get(reply[1])
                if channel is None:
                    continue
                try:
                    event = channel.decode(reply[2])
                except (ValueError, msgspec.MsgspecError) as error:
                    logger.warning("ignoring a message on %r: %s", channel.name, error)
                    continue
                if event is not None:
                    messages.append((channel, event))
            else:
                _send_on(messages)
                messages.clear()
                self._on_answer(reply)
        _send_on(messages)

    def _on_answer(self, reply: Any) -> None:
        if isinstance(reply, Exception):
            if isinstance(reply, MovedError):
                self._move(self._unheard(reply.slot_id), reply)
                return
            raise reply
        self.hearing = True
        channel = self.channels.get(reply[1]) if isinstance(reply, list) else None
        if channel is None:
            return
        if reply[0] in _SUBSCRIBED:
            channel.synced = True
            channel.send(Synced())
        elif reply[0] == b"sunsubscribe":
            # The server says so, too, when it gives the slot away.
            self._move([channel], None)

    def _unheard(self, slot: int) -> list[Channel]:
        return [one for one in self.channels.values() if one.slot == slot and not one.synced]

    def _move(self, channels: list[Channel], moved: MovedError | None) -> None:
        for channel in channels:
            channel.unsync()
        if channels and not self._on_move(self, channels, moved):
            raise _NothingLeft


def _send_on(messages: Iterable[tuple[Channel, LiveEvent]]) -> None:
    for channel, event in messages:
        for watch in channel.watches:
            watch.sink(event)


def _is_unknown(error: ResponseError) -> bool:
    return "unknown command" in str(error).lower()
