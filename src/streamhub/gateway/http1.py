"""One connection to the upstream, over HTTP/1.1."""

from __future__ import annotations

import asyncio
import select
from typing import TypeAlias, cast

import httptools
import httpx

__all__ = ["Http1Connection", "Origin"]

# In bytes: of a body, what is read ahead of who takes it; and how long a head may be.
_AHEAD = 256 * 1024
_LONGEST_HEAD = 256 * 1024
# Up to so many bytes a body goes along with its head.
_SHORT = 64 * 1024

#: Scheme, host and port.
Origin: TypeAlias = tuple[str, str, int]


class Http1Connection(asyncio.Protocol):
    """Carries one request and its answer at a time."""

    def __init__(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        self.origin: Origin = origin
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._polled = select.poll() if hasattr(select, "poll") else None
        #: Why nothing more comes; None while it may.
        self._lost: httpx.TransportError | None = None
        self._writes = True
        self._begin("")

    def _begin(self, method: str) -> None:
        #: Since when it has waited for a request, or has been waited for.
        self.since: float = self._loop.time()
        self.status: int = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._method = method
        self._parser = httptools.HttpResponseParser(self)
        self._read = 0
        #: Whether the head of the answer is there, and all of it; and whether that is said by it,
        #: or by the end of the connection.
        self._has_head = self._whole = self._framed = False
        #: Whether another request can follow, and whether this one was sent to its end.
        self._stays = self._sent = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._timeout: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether the server has neither closed it nor said what nobody has asked for."""
        # What the event loop has not come to yet.
        return self._lost is None and not (self._polled is not None and self._polled.poll(0))

    async def ask(self, request: httpx.Request, *, read: float | None, write: float | None) -> None:
        """Send the request, and wait for the head of its answer."""
        assert self._transport is not None
        self._begin(request.method)
        self._timeout = read
        head = _head(request)
        if isinstance(request.stream, httpx.ByteStream):
            body = b"".join(request.stream)
            if len(body) <= _SHORT:
                self._transport.write(head + body)
            else:
                self._transport.write(head)
                self._transport.write(body)
            self._sent = True
        else:
            self._transport.write(head)
            await self._send(request, write)
        while not self._has_head:
            await self._news()

    async def take(self) -> bytes:
        """What has come of the body; nothing at its end."""
        while not self._pieces:
            if self._whole:
                return b""
            await self._news()
        pieces, self._pieces, self._size = self._pieces, [], 0
        if self._paused and self._transport is not None and self._lost is None:
            self._paused = False
            self._transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def end(self) -> bool:
        """Nobody waits for more; whether another request can follow."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._waiter = None
        self.since = self._loop.time()
        stays = self._whole and self._stays and self._sent and not self._paused
        return stays and self._lost is None

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _send(self, request: httpx.Request, timeout: float | None) -> None:
        """Send a body that comes piece by piece; no more of it once there is an answer."""
        assert self._transport is not None
        assert isinstance(request.stream, httpx.AsyncByteStream)
        chunked = "transfer-encoding" in request.headers
        async for piece in request.stream:
            if not piece:
                continue
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            while not self._writes and not self._has_head and self._lost is None:
                try:
                    async with asyncio.timeout(timeout):
                        await self._wait()
                except TimeoutError as error:
                    raise httpx.WriteTimeout("the server takes nothing in") from error
            if self._has_head or self._lost is not None:
                return
        if chunked:
            self._transport.write(b"0\r\n\r\n")
        self._sent = True

    async def _news(self) -> None:
        """Wait until more has come.

        :raises httpx.TransportError: nothing does.
        """
        if self._lost is not None:
            raise self._lost
        self.since = self._loop.time()
        if self._timer is None and self._timeout is not None:
            self._timer = self._loop.call_later(self._timeout, self._look)
        await self._wait()

    async def _wait(self) -> None:
        self._waiter = waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _look(self) -> None:
        """One timer for all waits of a request: a timer for each would cost as much as the rest."""
        self._timer = None
        if self._waiter is None or self._timeout is None:
            return
        due = self.since + self._timeout
        if due > self._loop.time():
            self._timer = self._loop.call_at(due, self._look)
            return
        self._lost = httpx.ReadTimeout("the server says nothing")
        self._wake()
        self.abort()

    # What asyncio says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # One of another loop is none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        if self._polled is not None:
            self._polled.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if self._whole:
            self._lost = httpx.RemoteProtocolError("the server says what nobody has asked for")
            self.abort()
            return
        try:
            self._parser.feed_data(data)
            self._read += 0 if self._has_head else len(data)
            if self._read > _LONGEST_HEAD:
                raise httptools.HttpParserError(f"a head of more than {_LONGEST_HEAD:,} bytes")
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._stays = False
            if not self._whole:
                self._lost = httpx.RemoteProtocolError(f"this is no HTTP: {error!r}")
            self.abort()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        if self._has_head and not self._framed:
            self._whole = True
        if self._lost is None:
            if error is not None:
                self._lost = httpx.ReadError(str(error))
            elif self._has_head:
                self._lost = httpx.RemoteProtocolError("the server hung up within its answer")
            else:
                self._lost = httpx.RemoteProtocolError("the server hung up without an answer")
        self._wake()

    def pause_writing(self) -> None:
        self._writes = False

    def resume_writing(self) -> None:
        self._writes = True
        self._wake()

    # What the parser says.

    def on_message_begin(self) -> None:
        if self._whole:
            # Another answer, to nothing.
            self._stays = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._has_head:
            return
        if status < 200:
            # The answer follows.
            self.headers.clear()
            return
        self.status, self._has_head = status, True
        names = {name.lower() for name, _ in self.headers}
        self._framed = bool(names & {b"content-length", b"transfer-encoding"})
        if self._method == "HEAD":
            self._whole = True

    def on_body(self, body: bytes) -> None:
        if self._whole:
            return
        self._pieces.append(body)
        self._size += len(body)
        if self._size > _AHEAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._has_head and not self._whole:
            self._whole = self._framed = True
            self._stays = self._parser.should_keep_alive()


def _head(request: httpx.Request) -> bytes:
    """
    :raises httpx.LocalProtocolError: a header has more than one line.
    """
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%b: %b" % pair for pair in request.headers.raw]
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
        raise httpx.LocalProtocolError("a header must be one line")
    return head + b"\r\n\r\n"
