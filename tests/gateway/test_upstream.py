"""What is behind a gateway: asked, read event by event, and told of where it fails."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from streamhub.gateway.errors import GatewayError, UpstreamFailed, UpstreamRefused
from streamhub.gateway.limits import Limits
from streamhub.gateway.upstream import Upstream
from streamhub.testing.waiting import within

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
HTML = "Content-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"


class Wire:
    """A server that sends what it is told to, byte for byte, and hears when it is left."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.left = asyncio.Event()
        self.say: list[str | bytes] = []
        self.stays = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        for piece in self.say:
            writer.write(piece if isinstance(piece, bytes) else piece.encode())
            await writer.drain()
        if self.stays:
            await reader.read()
            self.left.set()
        writer.close()


@asynccontextmanager
async def wire(**limits: float) -> AsyncIterator[tuple[Wire, Upstream]]:
    served = Wire()
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    upstream = Upstream(f"http://127.0.0.1:{port}", Limits(**limits))  # type: ignore[arg-type]
    async with server:
        try:
            yield served, upstream
        finally:
            await upstream.aclose()


async def told(upstream: Upstream) -> list[str]:
    async with upstream.events("POST", "/responses", [("authorization", "Bearer k")]) as events:
        return [event.data async for event in events]


async def test_the_data_of_events_is_as_it_was_sent() -> None:
    """Whatever the pieces are that it comes in: one ends within a character, and none is an end of
    an event."""
    data = '{"text": "é \\u00e9  1.0", "n": 12345678901234567890}'
    said = f"event: a\r\ndata: {data}\r\n\r\n:\n\ndata: [DONE]\n\n".encode()
    cut = said.index("é".encode()) + 1
    async with wire() as (server, upstream):
        server.say = [f"{HEAD}\r\n", said[:cut], said[cut:]]

        assert [data, "[DONE]"] == await within(told(upstream))
    assert server.asked[0].startswith(b"POST /v1/responses HTTP/1.1\r\n")
    assert b"authorization: Bearer k\r\n" in server.asked[0]


Say = Callable[[Upstream], Awaitable[object]]


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ("HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", 502, "upstream_redirects"),
        (f"HTTP/1.1 200 OK\r\n{HTML}", 502, "upstream_answers_html"),
        (f"HTTP/1.1 500 No\r\n{HTML}", 502, "upstream_answers_html"),
        (f"{HEAD}Content-Length: 99\r\n\r\ndata: 1\n\n", 502, "upstream_broke_off"),
        ("", 502, "upstream_broke_off"),
        ("HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy", 503, "upstream_error"),
    ],
)
async def test_what_is_wrong_with_it_is_said(said: str, status: int, code: str) -> None:
    """In one shape, whatever it is."""
    async with wire() as (server, upstream):
        server.say = [said]
        with pytest.raises(GatewayError) as raised:
            await within(told(upstream))

    assert (status, code) == (raised.value.status, raised.value.code)
    assert code == msgspec.json.decode(raised.value.body)["error"]["code"]


async def test_an_error_of_its_own_is_passed_on() -> None:
    """As it is, with what it says of when to come again."""
    body = '{"error":{"message":"Slow down","type":"tokens","param":null,"code":"rate_limit"}}'
    head = f"HTTP/1.1 429 Many\r\nRetry-After: 7\r\nContent-Length: {len(body)}\r\n\r\n"
    async with wire() as (server, upstream):
        server.say = [head, body]
        with pytest.raises(UpstreamRefused) as raised:
            await within(told(upstream))

    error = raised.value
    assert (429, "rate_limit", "Slow down") == (error.status, error.code, error.message)
    assert (body.encode(), {"retry-after": "7"}) == (error.body, error.headers)


async def test_more_than_a_model_says_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read as a whole has an end, whether its length is stated or not."""
    monkeypatch.setattr("streamhub.gateway.upstream._MOST_OF_WHOLE", 100)
    async with wire() as (server, upstream):
        server.say = ["HTTP/1.1 200 OK\r\n\r\n", "x" * 200]
        server.stays = True
        with pytest.raises(UpstreamFailed) as raised:
            await within(upstream.json("GET", "/responses/a", []))
        await within(server.left.wait())

    assert "answer_too_large" == raised.value.code


async def test_one_that_is_away_or_slow_is_told_of() -> None:
    """There is an end to waiting."""
    async with wire(upstream_timeout=0.2) as (server, upstream):
        server.stays = True
        with pytest.raises(UpstreamFailed) as slow:
            await within(told(upstream))
        await within(server.left.wait())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nobody = Upstream(f"http://127.0.0.1:{port}", Limits())
    with pytest.raises(UpstreamFailed) as away:
        await within(told(nobody))
    await nobody.aclose()

    assert (504, "upstream_timeout") == (slow.value.status, slow.value.code)
    assert (502, "upstream_unreachable") == (away.value.status, away.value.code)


async def test_a_cancel_closes_its_request() -> None:
    """At once: what nobody reads is not to be paid for."""
    async with wire() as (server, upstream):
        server.say, server.stays = [f"{HEAD}\r\ndata: 1\n\n"], True
        begun = asyncio.Event()

        async def read() -> None:
            async with upstream.events("POST", "/responses", []) as events:
                async for _ in events:
                    begun.set()

        reading = asyncio.create_task(read())
        await within(begun.wait())
        reading.cancel()

        await within(server.left.wait())
        with pytest.raises(asyncio.CancelledError):
            await reading


@pytest.mark.parametrize(
    "url", ["example.org/v1", "ftp://a/v1", "http://", "http://u:p@a/v1", "http://a?x=1"]
)
def test_it_is_an_address_of_an_api(url: str) -> None:
    """What is none is refused before anything is asked."""
    with pytest.raises(ValueError, match="upstream must be"):
        Upstream(url, Limits())
