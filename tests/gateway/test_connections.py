"""Connections to an upstream: as many as are needed, few for few requests, and none that is used
again for what it is not good for."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from streamhub.gateway.connections import Connections
from streamhub.testing.waiting import until, within

from ..support.certificates import Certificates

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

Serve = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


class Server:
    """Answers each request as ``serve`` does, which says whether the connection stays."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.opened = 0
        self.left = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        try:
            while await self._serve(await reader.readuntil(b"\r\n\r\n"), reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            self.left.set()
        writer.close()


@asynccontextmanager
async def serving(
    serve: Serve, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Server, Connections, httpx.AsyncClient]]:
    server, connections = Server(serve), Connections()
    async with await asyncio.start_server(server, "127.0.0.1", 0, ssl=tls) as listening:
        port = listening.sockets[0].getsockname()[1]
        url = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
        async with httpx.AsyncClient(transport=connections, base_url=url) as client:
            yield server, connections, client


def saying(*said: bytes, stays: bool = True) -> Serve:
    async def serve(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        for piece in said:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return stays

    return serve


async def test_many_at_once_and_few_after_them() -> None:
    """A hundred answers have a connection each; those of the next requests are used again, and what
    a request that is left has taken is given back."""
    asked, go = 0, asyncio.Event()

    async def serve(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        nonlocal asked
        asked += 1
        writer.write(OK[:-1])
        await go.wait()
        writer.write(OK[-1:])
        return True

    async with serving(serve) as (server, connections, client):
        asking = [asyncio.create_task(client.get("/")) for _ in range(100)]

        async def all_wait() -> bool:
            return asked == 100

        await until(all_wait)
        at_once = connections.busy
        asking.pop().cancel()
        go.set()
        answers = await within(asyncio.gather(*asking))
        idle = connections.idle
        for _ in range(5):
            answers.append(await client.get("/"))

        assert {"ok"} == {answer.text for answer in answers}
        assert (100, 100, 32) == (at_once, server.opened, idle)
        assert (0, 32) == (connections.busy, connections.idle)


@pytest.mark.parametrize(
    ("said", "body"),
    [
        ([OK], b"ok"),
        ([CHUNKED, b"2\r\nok\r\n", b"0\r\n\r\n"], b"ok"),
        ([CHUNKED + b"2\r\nok\r\n0\r\nX-Trailer: a\r\n\r\n"], b"ok"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + OK], b"ok"),
        ([b"HTTP/1.1 204 No\r\n\r\n"], b""),
        ([bytes([one]) for one in OK], b"ok"),
    ],
)
async def test_one_is_used_again(said: list[bytes], body: bytes) -> None:
    """In whatever pieces its answer came, interim ones before it left out."""
    async with serving(saying(*said)) as (server, _, client):
        answers = [await within(client.get("/")) for _ in range(3)]

    assert [body] * 3 == [answer.content for answer in answers]
    assert ["link" in answer.headers for answer in answers] == [False] * 3
    assert 1 == server.opened


async def test_one_that_is_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is used again, and closed where its answer is not read; a server that nobody vouches for is
    asked nothing."""
    made = Certificates.write(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(made.certificate, made.key)
    async with serving(saying(OK), tls) as (server, connections, client):
        with pytest.raises(httpx.ConnectError):
            await within(client.get("/"))
        assert (0, 0) == (connections.busy, connections.idle)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    async with serving(saying(OK), tls) as (server, _, client):
        answers = [await within(client.get("/")) for _ in range(3)]

        assert [b"ok"] * 3 == [answer.content for answer in answers]
        assert 1 == server.opened
    async with serving(saying(CHUNKED), tls) as (server, connections, client):
        async with client.stream("GET", "/"):
            pass
        await within(server.left.wait())
        assert (0, 0) == (connections.busy, connections.idle)


@pytest.mark.parametrize(
    ("said", "stays"),
    [
        (OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), True),
        (OK.replace(b"1.1", b"1.0"), True),
        (OK + b"more", True),
        (OK + OK, True),
        (OK, False),
        (b"HTTP/1.1 200 OK\r\n\r\nok", False),
    ],
)
async def test_one_that_is_good_for_no_more(said: bytes, stays: bool) -> None:
    """Is not used again, be it that the server says so, that it says more than was asked, or that
    it hangs up meanwhile."""
    async with serving(saying(said, stays=stays)) as (server, _, client):
        answers = []
        for _ in range(3):
            answers.append(await within(client.get("/")))
            await asyncio.sleep(0.01)

    assert [b"ok"] * 3 == [answer.content for answer in answers]
    assert 3 == server.opened


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200", httpx.RemoteProtocolError),
        (b"SSH-2.0-OpenSSH_9.6\r\n", httpx.RemoteProtocolError),
        (OK[:-1], httpx.RemoteProtocolError),
        (CHUNKED + b"5\r\nok", httpx.RemoteProtocolError),
        (CHUNKED + b"2\r\nok\r\n", httpx.RemoteProtocolError),
        (CHUNKED + b"no\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 101 Yes\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", httpx.ReadError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 600_000, httpx.RemoteProtocolError),
    ],
)
async def test_what_is_no_whole_answer(said: bytes, error: type[httpx.TransportError]) -> None:
    """Is told as that, and not as its end."""
    async with serving(saying(said, stays=False)) as (_, connections, client):
        with pytest.raises(httpx.TransportError) as raised:
            await within(client.get("/"))

        assert (0, 0) == (connections.busy, connections.idle)
    assert isinstance(raised.value, httpx.RemoteProtocolError | error)


async def test_who_leaves_in_the_middle_hangs_up() -> None:
    """At once, so that nothing goes on for nobody."""
    async with serving(saying(CHUNKED, b"2\r\nok\r\n")) as (server, connections, client):
        async with client.stream("GET", "/"):
            pass
        await within(server.left.wait())

        assert (0, 0) == (connections.busy, connections.idle)


async def test_no_more_is_read_than_is_taken() -> None:
    """An answer that nobody takes waits at its server."""
    sent, size = 0, 64 * 1024

    async def serve(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1024 * size))
        for _ in range(1024):
            writer.write(bytes(size))
            await writer.drain()
            sent += size
        return False

    async with serving(serve) as (_, _, client), client.stream("GET", "/") as answer:
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.2)
        waited = sent
        taken = sum([len(piece) async for piece in answer.aiter_raw()])

    assert waited < 512 * size
    assert 1024 * size == taken


@pytest.mark.parametrize("stated", [True, False])
async def test_an_upload_is_sent_as_it_comes(stated: bool) -> None:
    """With its length or without one; and no more of it where the answer is there before its end,
    after which the connection is good for nothing."""
    read = b""

    async def serve(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        nonlocal read
        if head.startswith(b"POST /early"):
            writer.write(OK.replace(b"200", b"413"))
            await reader.read()
            return False
        read = await reader.readuntil(b"c" if stated else b"c\r\n0\r\n\r\n")
        writer.write(OK)
        return True

    async def upload(*, endless: bool = False) -> AsyncIterator[bytes]:
        for piece in (b"a", b"", b"b" * 100, b"c"):
            yield piece
        while endless:
            yield b"d" * 100_000
            await asyncio.sleep(0)

    async with serving(serve) as (_, connections, client):
        headers = {"content-length": "102"} if stated else {}
        whole = await within(client.post("/", content=upload(), headers=headers))
        kept = connections.idle
        headers = {"content-length": str(10**12)} if stated else {}
        early = await within(client.post("/early", content=upload(endless=True), headers=headers))

        assert (1, 0) == (kept, connections.idle)
    assert [200, 413] == [whole.status_code, early.status_code]
    said = b"b" * 100
    chunked = b"1\r\na\r\n64\r\n%b\r\n1\r\nc\r\n0\r\n\r\n" % said
    assert (b"a%bc" % said if stated else chunked) == read


async def test_a_header_is_one_line() -> None:
    """What would be another one is not sent."""
    async with serving(saying(OK)) as (_, _, client):
        for value in (b"a\r\nx: b", b"a\nb", b"a\0b"):
            with pytest.raises(httpx.LocalProtocolError):
                await client.get("/", headers=[(b"x-a", value)])


async def test_waiting_has_an_end() -> None:
    """For an answer, and for each piece of it."""
    for said in ([], [CHUNKED, b"2\r\nok\r\n"]):
        async with serving(saying(*said)) as (server, connections, client):
            with pytest.raises(httpx.ReadTimeout):
                await within(client.get("/", timeout=0.2))
            await within(server.left.wait())

            assert (0, 0) == (connections.busy, connections.idle)
