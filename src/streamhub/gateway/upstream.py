"""The API behind the gateway: asked over HTTP, and read event by event or as it comes."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from ..formats.sse import Event, EventParser
from .errors import UpstreamFailed, UpstreamRefused
from .limits import Limits
from .sending import PIECE, Connector, Upload, in_pieces, sent

__all__ = ["Upstream", "UpstreamAnswer", "decoded", "storable"]

# Of an answer that is read as a whole, how much it may be; and of an error, how much is read.
_MOST_OF_WHOLE = 32 * 1024 * 1024
_MOST_OF_ERROR = 1024 * 1024
# In bytes: how long a header may be.
_LONGEST_HEADER = 256 * 1024
# For how many seconds a connection waits for the next request: servers close theirs, too.
_IDLE = 5.0
# Every so many seconds who waits for more of a body looks whether aiohttp has given up on it.
_LOOK = 5.0
# What aiohttp would say by itself.
_NOT_SAID = ("accept", "accept-encoding", "content-type", "user-agent")
# All of a URL that needs no escape.
_ASCII = "".join(map(chr, range(0x21, 0x7F)))
_REDIRECTS = (301, 302, 303, 307, 308)
# Of the headers of an answer, what does not belong to the answer.
_NOT_PASSED_ON = frozenset(
    {
        "alt-svc", "connection", "content-length", "date", "keep-alive", "proxy-authenticate",
        "proxy-connection", "server", "set-cookie", "strict-transport-security", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip

Headers = Iterable[tuple[str, str]]


def decoded(data: str | bytes) -> Any:
    """JSON as upstreams send it, and their clients read it: half a character, escaped, where a
    model's tokens part it, and numbers that are too large for most.

    :raises ValueError: it is no JSON.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def storable(text: str) -> str:
    """``text`` as UTF-8 can hold it: halves of a character that meet in it are one."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Upstream:
    """Keeps connections to one API. Belongs to the event loop of its first use.

    Nothing is shared by those in whose name it is asked, cookies included; redirects are not
    followed, which would send keys elsewhere; and proxies and passwords of the environment are not
    used. A POST is sent once, whatever becomes of it.

    :param url: as SDKs take it for ``base_url``: ``https://api.example.org/v1``. One without a path
        gets ``/v1``.
    :param proxy: see ``create_gateway``.
    :param tls: see ``create_gateway``.
    :raises ValueError: it is no URL of an API.
    """

    def __init__(
        self,
        url: str,
        limits: Limits,
        *,
        proxy: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"upstream must be like https://api.example.org/v1, not {url!r:.200}")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("upstream must be an address alone: no password, no query")
        if proxy is not None and urlsplit(proxy).scheme not in ("http", "https"):
            raise ValueError("proxy must be like http://name:password@proxy.example.org:3128")
        origin = str(URL(f"{parts.scheme}://{parts.netloc}")).rstrip("/")
        self._base = f"{origin}{parts.path.rstrip('/') or '/v1'}"
        self._limits = limits
        self._proxy = proxy
        self._tls = tls
        self._times = aiohttp.ClientTimeout(
            total=None, connect=limits.connect_timeout, sock_read=limits.upstream_timeout
        )
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<Upstream {self._base}>"

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        headers: Headers,
        *,
        content: bytes | AsyncIterator[bytes] | None = None,
        query: str = "",
        raw: bool = False,
    ) -> AsyncGenerator[UpstreamAnswer]:
        """Ask, and read the answer within; leaving it closes the upstream's request at once, be it
        by a cancel.

        :param path: below the upstream's URL, with its slash, as it is sent.
        :param content: piece by piece it is sent as it comes, and what it raises is raised here.
        :param query: what follows the ``?``, as it is sent.
        :param raw: whether the body is given as it comes, even if the upstream compresses it.
        :raises UpstreamFailed: it cannot be reached, takes too long, redirects elsewhere, or breaks
            off while the answer is read.
        """
        try:
            response = await self._ask(method, path, headers, content, query, raw)
            try:
                if response.status in _REDIRECTS:
                    where = response.headers.get("location", "")
                    message = f"the upstream redirects to {where!r:.200}: is its URL right?"
                    raise UpstreamFailed(502, "upstream_redirects", message)
                if response.status == 101:
                    message = "the upstream broke off: it goes on with another protocol"
                    raise UpstreamFailed(502, "upstream_broke_off", message)
                yield UpstreamAnswer(response)
            finally:
                response.close()
        except (aiohttp.ClientError, HttpProcessingError) as error:
            raise _failure(error) from error

    async def _ask(
        self,
        method: str,
        path: str,
        headers: Headers,
        content: bytes | AsyncIterator[bytes] | None,
        query: str,
        raw: bool,
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = self._connected()
        target = f"{self._base}{path}?{query}" if query else f"{self._base}{path}"
        if not target.isascii():
            target = quote(target.encode("latin-1"), safe=_ASCII)
        told = [sent(*pair) for pair in (*headers, ("accept-encoding", "identity"))]
        if isinstance(content, bytes) and len(content) > PIECE:
            told.append(("content-length", str(len(content))))
            content = in_pieces(content)
        # In two turns the event loop hears which of the connections that wait have been closed by
        # the server: none of them is used, as no request that was sent can be sent again.
        for _ in range(2):
            await asyncio.sleep(0)
        upload = None
        try:
            async with asyncio.timeout(None) as clock:
                if content is not None and not isinstance(content, bytes):
                    upload = Upload(content, clock, self._limits.upstream_timeout)
                return await self._session.request(
                    method,
                    URL(target, encoded=True),
                    headers=told,
                    data=content if upload is None else upload,
                    allow_redirects=False,
                    auto_decompress=not raw,
                    proxy=self._proxy,
                )
        except TimeoutError as error:
            raise _failure(error) from error
        except aiohttp.ClientError:
            if upload is not None and upload.failure is not None:
                raise upload.failure from None
            raise
        finally:
            if upload is not None:
                upload.clock = None

    def _connected(self) -> aiohttp.ClientSession:
        tls = self._tls
        if tls is None and self._base.startswith("https"):
            # Read now, and once: aiohttp's own is as the environment was when it was imported.
            tls = ssl.create_default_context()
            tls.set_alpn_protocols(["http/1.1"])
        return aiohttp.ClientSession(
            connector=Connector(limit=0, keepalive_timeout=_IDLE, ssl=tls or True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._times,
            skip_auto_headers=_NOT_SAID,
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )

    @asynccontextmanager
    async def events(
        self,
        method: str,
        path: str,
        headers: Headers,
        *,
        content: bytes | None = None,
        query: str = "",
    ) -> AsyncGenerator[AsyncIterator[Event]]:
        """The events of an answer, each with its data as the upstream sent it.

        :raises UpstreamRefused: the upstream answers with an error.
        :raises UpstreamFailed: as for ``open``, and where the answer is no stream of events.
        """
        told = [*headers, ("accept", "text/event-stream")]
        async with self.open(method, path, told, content=content, query=query) as answer:
            await answer.check()
            if answer.media_type != "text/event-stream":
                raise await answer.unexpected("a stream of events")
            async with aclosing(answer.events()) as events:
                yield events

    async def json(
        self,
        method: str,
        path: str,
        headers: Headers,
        *,
        content: bytes | None = None,
        query: str = "",
    ) -> bytes:
        """The body of an answer that is JSON.

        :raises: as ``events``.
        """
        async with self.open(method, path, headers, content=content, query=query) as answer:
            await answer.check()
            if answer.media_type == "text/html":
                raise await answer.unexpected("JSON")
            return await answer.read()

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            # In its next turn the event loop closes them.
            await asyncio.sleep(0)


class UpstreamAnswer:
    """What the upstream answers to one request."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status: int = response.status
        self._looking: asyncio.TimerHandle | None = None

    @cached_property
    def _said(self) -> dict[str, str]:
        said: dict[str, str] = {}
        for raw_name, raw_value in self._response.raw_headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            said[name] = f"{said[name]}, {value}" if name in said else value
        return said

    @property
    def media_type(self) -> str:
        return self._said.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def headers(self) -> dict[str, str]:
        """Those that are passed on to the client, in lower case."""
        gone = {one.strip().lower() for one in self._said.get("connection", "").split(",")}
        return {k: v for k, v in self._said.items() if k not in _NOT_PASSED_ON and k not in gone}

    @property
    def length(self) -> str | None:
        """How long the body is as it comes, if the upstream has said so."""
        return self._said.get("content-length")

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The body as it comes."""
        self._look()
        try:
            while piece := await self._response.content.readany():
                yield piece
        finally:
            if self._looking is not None:
                self._looking.cancel()

    def _look(self) -> None:
        """Tell who waits for more that what has come is no HTTP, of which aiohttp tells nobody once
        the body has begun."""
        self._looking = None
        connection, content = self._response.connection, self._response.content
        if connection is None or connection.protocol is None:
            return
        if (error := connection.protocol.exception()) and content.exception() is None:
            content.set_exception(error)
        else:
            self._looking = asyncio.get_running_loop().call_later(_LOOK, self._look)

    async def events(self) -> AsyncGenerator[Event]:
        """The body as Server-Sent Events."""
        parser = EventParser()
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                try:
                    found = parser.feed(piece)
                except ValueError as error:
                    message = f"the upstream's stream cannot be read: {error}"
                    raise UpstreamFailed(502, "upstream_event_too_large", message) from None
                for event in found:
                    yield event

    async def read(self, most: int | None = None) -> bytes:
        """The first so many bytes of the body, or all of it.

        :raises UpstreamFailed: all of it is more than a model says.
        """
        body = bytearray()
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                body += piece
                if most is not None and len(body) >= most:
                    break
                if most is None and len(body) > _MOST_OF_WHOLE:
                    message = f"the upstream's answer is larger than {_MOST_OF_WHOLE:,} bytes"
                    raise UpstreamFailed(502, "answer_too_large", message)
        return bytes(body)

    async def check(self) -> None:
        """:raises UpstreamRefused: it is an error."""
        if self.status < 400:
            return
        if self.media_type == "text/html":
            raise await self.unexpected("JSON")
        body = await self.read(_MOST_OF_ERROR)
        told = {
            k: v for k, v in self.headers.items() if k not in ("content-type", "content-encoding")
        }
        raise UpstreamRefused(self.status, body, told)

    async def unexpected(self, wanted: str) -> UpstreamFailed:
        """What is raised where the answer is something else than what was asked for."""
        kind = self.media_type or "nothing"
        answered = f"the upstream answered {self.status} with {kind} instead of {wanted}"
        message = f"{answered}: is its URL right?"
        code = "upstream_answers_html" if kind == "text/html" else "upstream_unexpected"
        return UpstreamFailed(502, code, message)


def _failure(error: BaseException) -> UpstreamFailed:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return UpstreamFailed(504, "upstream_timeout", "the upstream does not take connections")
        case TimeoutError():
            return UpstreamFailed(
                504, "upstream_timeout", "the upstream has said nothing for too long"
            )
        case aiohttp.ClientConnectorCertificateError():
            message = f"the upstream cannot be reached: {error.certificate_error}"
            return UpstreamFailed(502, "upstream_unreachable", message)
        case aiohttp.ClientConnectorError():
            message = f"the upstream cannot be reached: {error.os_error}"
            return UpstreamFailed(502, "upstream_unreachable", message)
        case aiohttp.ClientHttpProxyError():
            message = f"the upstream cannot be reached: the proxy answers {error.status}"
            return UpstreamFailed(502, "upstream_unreachable", message)
        case aiohttp.ClientResponseError() | HttpProcessingError():
            what = f"this is no HTTP: {error.message.partition(chr(10))[0]}"
            return UpstreamFailed(502, "upstream_broke_off", f"the upstream broke off: {what}")
    return UpstreamFailed(502, "upstream_broke_off", f"the upstream broke off: {error}")
