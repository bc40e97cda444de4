"""The bytes of a connection: commands out, replies in, with nothing in between.

redis-py opens the connection, with all that its options ask for. Its stream reader and its parser,
which cost a switch of tasks per read and much time per reply, are left out from there on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from hiredis import Reader, pack_command
from redis._parsers import BaseParser
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError as RedisConnectionError,
    InvalidResponse,
    MovedError,
    ResponseError,
    TryAgainError,
)

from ..layout.scripts import Command
from .errors import is_last, is_read_only

__all__ = ["Listing", "RawConnection"]


# Its own type is that of a tuple of one.
_packed: Callable[[Command], bytes] = pack_command  # type: ignore[assignment]

# What the nodes of a cluster say, which redis-py before 5.1 knows on connections of its own alone.
_OF_CLUSTERS: dict[str, type[ResponseError]] = {
    "ASK": AskError,
    "CLUSTERDOWN": ClusterDownError,
    "MOVED": MovedError,
    "TRYAGAIN": TryAgainError,
}

_INCOMPLETE = object()
# So many listings are sent together, and twice as many are under way: the server is at work on some
# while this process takes in those before. Asked for all at once, it would send none before it had
# all; asked for one by one, it would be woken up for each.
_LISTINGS = 4
# To a server that has nothing to do fewer go first: it begins to answer when those are done.
_FIRST_LISTINGS = 2
# What is read from the socket at once. A protocol that is handed bytes gets a new object each time,
# for which asyncio has 256 KiB allocated.
_BUFFER = 64 * 1024


class Listing(Command):
    """A command with a long reply, of which something shorter is kept."""

    @staticmethod
    def shorten(reply: Any) -> Any:
        """What is kept of a reply that is no error, as soon as it is there. It does not raise."""
        raise NotImplementedError


class _Asked:
    """What was asked for together: the replies as they come, and what is not sent yet."""

    __slots__ = ("answered", "expected", "replies", "shorten", "unsent")

    def __init__(self, answered: asyncio.Future[list[Any]], expected: int) -> None:
        self.answered = answered
        self.expected = expected
        self.replies: list[Any] = []
        self.shorten: Callable[[Any], Any] | None = None
        #: The last one first.
        self.unsent: list[bytes] = []


class RawConnection(asyncio.BufferedProtocol):
    """Takes over a connection that redis-py has opened and logged in.

    Its replies either answer commands (``exchange``) or come by themselves (``listen``). Once it
    is lost, both raise.
    """

    def __init__(self, connection: Any, *, timeout: float | None = None) -> None:
        """:param timeout: how long the server may be silent, in seconds, while replies are due."""
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(
            protocolError=InvalidResponse,
            replyError=self._error,
            notEnoughData=_INCOMPLETE,
        )
        #: Whether the server has said, be it within an answer, that it is good for no more.
        self.unfit: bool = False
        self._buffer = memoryview(bytearray(_BUFFER))
        self._on_replies: Callable[[list[Any]], None] | None = None
        #: Who has asked for each reply that is due, in the order in which they will come.
        self._asked: deque[_Asked] = deque()
        #: Who has asked for listings that are not sent yet, and how many are under way.
        self._unlisted: deque[_Asked] = deque()
        self._listings = 0
        self._outgoing: list[bytes] = []
        self._timeout = timeout
        #: When the server was last heard of, by the loop's clock, or was expected to be.
        self.heard: float = self._loop.time()
        #: One timer for all that is under way.
        self._watch: asyncio.TimerHandle | None = None
        self._ended: Exception | None = None
        #: Called once when it is lost.
        self.on_lost: Callable[[Exception], None] | None = None
        self._listening: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport = connection._writer.transport
        self._transport.set_protocol(self)

    @property
    def lost(self) -> bool:
        return self._ended is not None

    def exchange(
        self, commands: Sequence[Command], *, at_once: bool = False
    ) -> asyncio.Future[list[Any]]:
        """Send the commands, for as many replies to be awaited; an error reply is one of them.

        Several may do so at the same time: nobody waits for the answers of others. Whoever is
        cancelled does not get the replies.

        Of listings, which are not mixed with others, a few are under way at a time. Those who ask
        for many take turns, and what others ask for comes in between.

        :param at_once: do not wait, until the end of this turn of the loop, for others to send
            along with.
        :raises RedisError, OSError, TimeoutError: here or when awaited: the connection is lost, or
            not usable.
        """
        if self._ended is not None:
            raise self._ended
        answered: asyncio.Future[list[Any]] = self._loop.create_future()
        if not commands:
            answered.set_result([])
            return answered
        asked = _Asked(answered, len(commands))
        packed = [_packed(command) for command in commands]
        if isinstance(commands[0], Listing):
            asked.shorten = commands[0].shorten
            asked.unsent = packed[::-1]
            self._unlisted.append(asked)
            self._list()
        else:
            self._send(packed, at_once=at_once)
            self._expect([asked] * len(packed))
        return answered

    async def listen(self, on_replies: Callable[[list[Any]], None]) -> None:
        """Call ``on_replies`` with the replies that each read brings, until the connection is lost
        or it raises."""
        self._on_replies = on_replies
        if self._ended is not None:
            raise self._ended
        self._listening = self._loop.create_future()
        await self._listening

    def send(self, commands: Sequence[Command]) -> None:
        """Send the commands; what cannot be sent at once is kept and sent later.

        :raises RedisError, OSError: the connection is lost.
        """
        if self._ended is not None:
            raise self._ended
        self._transport.write(b"".join(map(_packed, commands)))

    async def disconnect(self, *, nowait: bool = True) -> None:
        await self._connection.disconnect(nowait=nowait)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            self.heard = self._loop.time()
            self._reader.feed(self._buffer, 0, nbytes)  # type: ignore[arg-type]
            gets = self._reader.gets
            if self._on_replies is not None:
                self._on_replies([*iter(gets, _INCOMPLETE)])
                return
            while (reply := gets()) is not _INCOMPLETE:
                self._on_answer(reply)
        except Exception as error:
            self.break_off(error)

    def connection_lost(self, error: Exception | None) -> None:
        lost = RedisConnectionError(f"the connection was lost: {error or 'closed by the server'}")
        lost.__cause__ = error
        self._end(lost)

    def _expect(self, asked: Sequence[_Asked]) -> None:
        """Have the next replies be for these."""
        if not self._asked:
            self.heard = self._loop.time()
            if self._watch is None and self._timeout is not None:
                self._watch = self._loop.call_later(self._timeout, self._check)
        self._asked.extend(asked)

    def _send(self, packed: list[bytes], *, at_once: bool) -> None:
        if at_once and not self._outgoing:
            self._transport.write(b"".join(packed))
        else:
            if not self._outgoing:
                self._loop.call_soon(self._flush)
            self._outgoing += packed

    def _list(self) -> None:
        """Send the next listings, unless enough are under way."""
        if self._listings > _LISTINGS:
            return
        packed: list[bytes] = []
        expected: list[_Asked] = []
        most = _LISTINGS if self._listings else _FIRST_LISTINGS
        while self._unlisted and len(packed) < most:
            asked = self._unlisted.popleft()
            if asked.answered.done():
                # Whoever asked was cancelled.
                continue
            while asked.unsent and len(packed) < most:
                packed.append(asked.unsent.pop())
                expected.append(asked)
            if asked.unsent:
                # Others have their turn before the rest of these is sent.
                self._unlisted.append(asked)
        if packed:
            self._listings += len(packed)
            self._expect(expected)
            self._send(packed, at_once=True)
            self._loop.call_soon(self._list)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if self._ended is None:
            self._transport.write(b"".join(outgoing))

    def _error(self, text: str) -> Exception:
        error = _parsed(text)
        # It was demoted: a new connection may lead to the server that took its place. Or it closes
        # this one, which is not for whoever comes next to find out.
        self.unfit = self.unfit or is_read_only(error) or is_last(error)
        return error

    def _on_answer(self, reply: Any) -> None:
        if isinstance(reply, RedisConnectionError):
            raise reply
        if not self._asked:
            return
        asked = self._asked.popleft()
        if asked.shorten is not None:
            self._listings -= 1
            self._list()
        if asked.answered.done():
            # Whoever asked was cancelled.
            return
        if asked.shorten is not None and not isinstance(reply, Exception):
            reply = asked.shorten(reply)
        asked.replies.append(reply)
        if len(asked.replies) == asked.expected:
            asked.answered.set_result(asked.replies)

    def _check(self) -> None:
        """Give the connection up if it has been silent for too long."""
        self._watch = None
        if not self._asked or self._timeout is None:
            return
        due = self.heard + self._timeout
        if due <= self._loop.time():
            self.break_off(TimeoutError())
        else:
            self._watch = self._loop.call_at(due, self._check)

    def break_off(self, error: Exception) -> None:
        """Close the connection at once; who waits for an answer gets the error."""
        self._end(error)
        self._transport.abort()

    def _end(self, error: Exception) -> None:
        if self._ended is not None:
            return
        self._ended = error
        if self._watch is not None:
            self._watch.cancel()
        for asked in (*self._asked, *self._unlisted):
            if not asked.answered.done():
                asked.answered.set_exception(error)
                # Who does not wait any more need not hear of it.
                asked.answered.exception()
        self._asked.clear()
        self._unlisted.clear()
        if self._listening is not None and not self._listening.done():
            self._listening.set_exception(error)
        if self.on_lost is not None:
            self.on_lost(error)


def _parsed(text: str) -> Exception:
    code, _, rest = text.partition(" ")
    if code in _OF_CLUSTERS:
        return _OF_CLUSTERS[code](rest)
    error: Exception = BaseParser.parse_error(text)  # type: ignore[no-untyped-call]
    return error
