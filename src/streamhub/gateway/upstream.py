"""The API behind the gateway: asked over HTTP, and read event by event or as it comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import lru_cache
from types import TracebackType
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from ..formats.sse import Event, EventParser
from .connections import Connections
from .errors import GatewayError, UpstreamFailed, UpstreamRefused
from .limits import Limits

__all__ = ["Ahead", "Upstream", "UpstreamAnswer", "decoded", "storable"]

# Of an answer that is read as a whole, how much it may be; and of an error, how much is read.
_MOST_OF_WHOLE = 32 * 1024 * 1024
_MOST_OF_ERROR = 1024 * 1024
# Of the headers of an answer, what does not belong to the answer.
_NOT_PASSED_ON = frozenset(
    {
        "alt-svc", "connection", "content-length", "date", "keep-alive", "proxy-authenticate",
        "proxy-connection", "server", "set-cookie", "strict-transport-security", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip

Headers = Iterable[tuple[str, str]]
T = TypeVar("T")


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
    used: for those give a ``transport``.

    :param url: as SDKs take it for ``base_url``: ``https://api.example.org/v1``. One without a path
        gets ``/v1``.
    :raises ValueError: it is no URL of an API.
    """

    def __init__(
        self, url: str, limits: Limits, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"upstream must be like https://api.example.org/v1, not {url!r:.200}")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("upstream must be an address alone: no password, no query")
        path = parts.path.rstrip("/") or "/v1"
        self._base = f"{parts.scheme}://{parts.netloc}{path}"
        self._limits = limits
        self._transport = transport

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
    ) -> AsyncGenerator[UpstreamAnswer]:
        """Ask, and read the answer within; leaving it closes the upstream's request at once, be it
        by a cancel.

        :param path: below the upstream's URL, with its slash, as it is sent.
        :param query: what follows the ``?``, as it is sent.
        :raises UpstreamFailed: it cannot be reached, takes too long, redirects elsewhere, or breaks
            off while the answer is read.
        """
        if self._transport is None:
            # Verifying takes a moment to set up, and belongs to the event loop.
            self._transport = Connections()
        try:
            asked = self._request(method, path, headers, content, query)
            response = await self._transport.handle_async_request(asked)
            try:
                if response.is_redirect:
                    where = response.headers.get("location", "")
                    message = f"the upstream redirects to {where!r:.200}: is its URL right?"
                    raise UpstreamFailed(502, "upstream_redirects", message)
                yield UpstreamAnswer(response)
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise _failure(error) from error
        except httpx.InvalidURL as error:
            raise GatewayError(404, "not_found", f"there is no such path: {error}") from error

    def _request(
        self,
        method: str,
        path: str,
        headers: Headers,
        content: bytes | AsyncIterator[bytes] | None,
        query: str,
    ) -> httpx.Request:
        """:raises httpx.InvalidURL: there is no such path."""
        limits, url = self._limits, f"{self._base}{path}"
        times = dict.fromkeys(("read", "write", "pool"), limits.upstream_timeout)
        return httpx.Request(
            method,
            f"{url}?{query}" if query else _known_url(url),
            headers=[_sent(*pair) for pair in (*headers, ("accept-encoding", "identity"))],
            content=content,
            extensions={"timeout": {**times, "connect": limits.connect_timeout}},
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
        if self._transport is not None:
            await self._transport.aclose()


class UpstreamAnswer:
    """What the upstream answers to one request."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status: int = response.status_code

    @property
    def media_type(self) -> str:
        stated: str = self._response.headers.get("content-type", "")
        return stated.partition(";")[0].strip().lower()

    @property
    def headers(self) -> dict[str, str]:
        """Those that are passed on to the client, in lower case."""
        said: dict[str, str] = {}
        for raw_name, raw_value in self._response.headers.raw:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            said[name] = f"{said[name]}, {value}" if name in said else value
        gone = {one.strip().lower() for one in said.get("connection", "").split(",")}
        return {k: v for k, v in said.items() if k not in _NOT_PASSED_ON and k not in gone}

    @property
    def length(self) -> str | None:
        """How long the body is as it comes, if the upstream has said so."""
        length: str | None = self._response.headers.get("content-length")
        return length

    def pieces(self) -> AsyncGenerator[bytes]:
        """The body as it comes, byte for byte."""
        return self._response.aiter_raw()  # type: ignore[return-value]

    async def events(self) -> AsyncGenerator[Event]:
        """The body as Server-Sent Events."""
        parser = EventParser()
        async with aclosing(self._response.aiter_bytes()) as pieces:  # type: ignore[type-var]
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
        async with aclosing(self._response.aiter_bytes()) as pieces:  # type: ignore[type-var]
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


class Ahead(Generic[T]):
    """A request that is under way before it is known whether somebody reads its answer, as an async
    context manager of that. To be entered, or dropped.

    :param asking: what is entered now.
    """

    def __init__(self, asking: AbstractAsyncContextManager[T]) -> None:
        self._asking = asking
        self._entering: asyncio.Task[T] | None = asyncio.ensure_future(self._enter())

    async def __aenter__(self) -> T:
        assert self._entering is not None
        try:
            answer = await self._entering
        except BaseException:
            await self.drop()
            raise
        self._entering = None
        return answer

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._asking.__aexit__(kind, error, traceback)

    async def _enter(self) -> T:
        # What has this request asked for ahead sets out first: it takes longer to come back.
        await asyncio.sleep(0)
        return await self._asking.__aenter__()

    async def drop(self) -> None:
        """Close the request at once, unless somebody reads its answer, or has. Idempotent."""
        entering, self._entering = self._entering, None
        if entering is None:
            return
        entering.cancel()
        await asyncio.wait([entering])
        if not entering.cancelled() and entering.exception() is None:
            await self._asking.__aexit__(None, None, None)


@lru_cache(maxsize=64)
def _known_url(text: str) -> httpx.URL:
    """Of the few that are asked again and again: to take one apart takes longer than all else that
    is done to ask."""
    return httpx.URL(text)


def _sent(name: str, value: str) -> tuple[bytes, bytes]:
    # As servers decode them, whatever they hold.
    return name.encode("latin-1"), value.encode("latin-1")


def _failure(error: httpx.HTTPError) -> UpstreamFailed:
    match error:
        case httpx.ConnectTimeout():
            return UpstreamFailed(504, "upstream_timeout", "the upstream does not take connections")
        case httpx.TimeoutException():
            return UpstreamFailed(
                504, "upstream_timeout", "the upstream has said nothing for too long"
            )
        case httpx.ConnectError():
            message = f"the upstream cannot be reached: {error}"
            return UpstreamFailed(502, "upstream_unreachable", message)
    return UpstreamFailed(502, "upstream_broke_off", f"the upstream broke off: {error}")
