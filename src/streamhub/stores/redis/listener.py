"""The one Pub/Sub connection of a hub: live events and cancels of all its sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import hiredis
import msgspec
from redis.exceptions import RedisError

from ...errors import StreamHubError
from ..base import LiveEvent, Synced, Unsynced
from .connection import Server

__all__ = ["Listener"]

logger = logging.getLogger("streamhub")

Decode = Callable[[bytes], LiveEvent | None]

# A silent connection is asked for a sign of life, and given up without one.
_PING_AFTER = 5.0
_GIVE_UP_AFTER = 10.0
_FIRST_BACKOFF = 0.05
_LAST_BACKOFF = 1.0
_CHANNELS_PER_COMMAND = 1000


class _Channel:
    """Who listens to one channel of the server, and whether it sends yet."""

    __slots__ = ("decode", "name", "sinks", "synced")

    def __init__(self, name: bytes, decode: Decode) -> None:
        self.name = name
        self.decode = decode
        self.sinks: dict[_Watch, None] = {}
        self.synced = False

    def send(self, event: LiveEvent) -> None:
        for watch in list(self.sinks):
            watch.send(event)


class _Watch:
    __slots__ = ("_channel", "_listener", "_sink")

    def __init__(
        self, listener: Listener, channel: _Channel, sink: Callable[[LiveEvent], None]
    ) -> None:
        self._listener = listener
        self._channel = channel
        self._sink: Callable[[LiveEvent], None] | None = sink

    def send(self, event: LiveEvent) -> None:
        if self._sink is not None:
            self._sink(event)

    def close(self) -> None:
        if self._sink is not None:
            self._sink = None
            self._channel.sinks.pop(self, None)
            if not self._channel.sinks:
                self._listener.drop(self._channel)


class Listener:
    """Connects when the first watch begins, and again whenever the connection breaks."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._channels: dict[bytes, _Channel] = {}
        self._wanted: dict[bytes, None] = {}
        self._unwanted: dict[bytes, None] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._heard = 0.0
        #: Whether this connection has answered anything yet.
        self._hearing = False

    def watch(self, name: str, decode: Decode, sink: Callable[[LiveEvent], None]) -> _Watch:
        key = name.encode()
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = _Channel(key, decode)
            self._unwanted.pop(key, None)
            self._wanted[key] = None
            self._changed.set()
        watch = _Watch(self, channel, sink)
        channel.sinks[watch] = None
        if channel.synced:
            asyncio.get_running_loop().call_soon(watch.send, Synced())
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="streamhub listener")
        return watch

    def drop(self, channel: _Channel) -> None:
        if self._channels.get(channel.name) is channel:
            del self._channels[channel.name]
            if channel.name in self._wanted:
                del self._wanted[channel.name]
            else:
                self._unwanted[channel.name] = None
            self._changed.set()

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        backoff = _FIRST_BACKOFF
        while True:
            connection = self._server.connection()
            try:
                async with asyncio.timeout(self._server.timeout):
                    await connection.connect()
                await self._listen(connection)
            except (RedisError, OSError, TimeoutError) as error:
                if self._hearing:
                    backoff = _FIRST_BACKOFF
                if backoff == _FIRST_BACKOFF:
                    mapped: StreamHubError = self._server.error(error)
                    logger.warning("live channel: %s; connecting again", mapped)
            except Exception:
                # A listener that died would leave every subscriber of the hub behind.
                logger.exception("live channel: connecting again")
            finally:
                self._hearing = False
                self._unsync()
                with suppress(RedisError, OSError):
                    await connection.disconnect(nowait=True)
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _LAST_BACKOFF)

    async def _listen(self, connection: Any) -> None:
        self._unwanted.clear()
        self._wanted = dict.fromkeys(self._channels)
        self._changed.set()
        self._heard = asyncio.get_running_loop().time()
        speaking = asyncio.create_task(self._speak(connection), name="streamhub listener speaks")
        try:
            while True:
                reply = await connection.read_response(disconnect_on_error=False)
                self._heard = asyncio.get_running_loop().time()
                self._hearing = True
                self._on_reply(reply)
        except BaseException:
            if speaking.done() and not speaking.cancelled() and speaking.exception() is not None:
                speaking.result()
            raise
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)

    async def _speak(self, connection: Any) -> None:
        """Send what is to be (un)subscribed, and a sign of life into silence."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    async with asyncio.timeout(_PING_AFTER):
                        await self._changed.wait()
                except TimeoutError:
                    silence = loop.time() - self._heard
                    if silence > _GIVE_UP_AFTER:
                        raise ConnectionError(f"silent for {silence:.0f} s") from None
                    if silence > _PING_AFTER / 2:
                        await self._send(connection, [(b"PING",)])
                    continue
                self._changed.clear()
                wanted, self._wanted = list(self._wanted), {}
                unwanted, self._unwanted = list(self._unwanted), {}
                await self._send(
                    connection,
                    [
                        (verb, *names[start : start + _CHANNELS_PER_COMMAND])
                        for verb, names in ((b"UNSUBSCRIBE", unwanted), (b"SUBSCRIBE", wanted))
                        for start in range(0, len(names), _CHANNELS_PER_COMMAND)
                    ],
                )
        except BaseException:
            # The reader must wake up to this.
            with suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)
            raise

    async def _send(self, connection: Any, commands: list[tuple[bytes, ...]]) -> None:
        async with asyncio.timeout(self._server.timeout):
            await connection.send_packed_command(
                [hiredis.pack_command(command) for command in commands],  # type: ignore[arg-type]
                check_health=False,
            )

    def _on_reply(self, reply: Any) -> None:
        if not isinstance(reply, list):
            return
        kind, name = reply[0], reply[1]
        channel = self._channels.get(name)
        if channel is None:
            return
        if kind == b"message":
            try:
                event = channel.decode(reply[2])
            except (ValueError, msgspec.MsgspecError) as error:
                logger.warning("ignoring a message on %r: %s", name, error)
                return
            if event is not None:
                channel.send(event)
        elif kind == b"subscribe":
            channel.synced = True
            channel.send(Synced())

    def _unsync(self) -> None:
        for channel in list(self._channels.values()):
            if channel.synced:
                channel.synced = False
                channel.send(Unsynced())
