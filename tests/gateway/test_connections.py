"""Connections to an upstream: as many as are needed, few for few requests, and none that is used
again for what it is not good for."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streamhub.gateway.errors import UpstreamFailed
from streamhub.gateway.limits import Limits
from streamhub.gateway.upstream import Upstream
from streamhub.testing.waiting import patience, until, within

from ..support.certificates import Certificates

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LATE = b"HTTP/1.1 408 Late\r\nContent-Length: 0\r\n\r\n"

Serve = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


class Server:
    """Answers each request as ``serve`` does, which says whether the connection stays."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.opened = 0
        self.asked: list[bytes] = []
        self.left = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        try:
            while True:
                self.asked.append(await reader.readuntil(b"\r\n\r\n"))
                if not await self._serve(self.asked[-1], reader, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            self.left.set()
        writer.close()


@asynccontextmanager
async def serving(
    serve: Serve, tls: ssl.SSLContext | None = None, **limits: Any
) -> AsyncIterator[tuple[Server, Upstream]]:
    server = Server(serve)
    async with await asyncio.start_server(server, "127.0.0.1", 0, ssl=tls) as listening:
        port = listening.sockets[0].getsockname()[1]
        scheme = "http" if tls is None else "https"
        upstream = Upstream(f"{scheme}://127.0.0.1:{port}", Limits(**limits))
        try:
            yield server, upstream
        finally:
            await upstream.aclose()


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


async def ask(upstream: Upstream, path: str = "/a", **asked: Any) -> tuple[int, bytes]:
    async with upstream.open("POST", path, [], **asked) as answer:
        return answer.status, await answer.read()


async def test_many_at_once_and_few_after_them() -> None:
    """A hundred answers have a connection each, and those of the next requests are used again."""
    go = asyncio.Event()

    async def serve(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        writer.write(OK[:-1])
        await go.wait()
        writer.write(OK[-1:])
        return True

    async with serving(serve) as (server, upstream):
        asking = [asyncio.create_task(ask(upstream)) for _ in range(100)]

        async def all_wait() -> bool:
            return len(server.asked) == 100

        await until(all_wait)
        asking.pop().cancel()
        go.set()
        answers = await within(asyncio.gather(*asking))
        for _ in range(5):
            answers.append(await within(ask(upstream)))

        assert {(200, b"ok")} == set(answers)
        assert (100, 105) == (server.opened, len(server.asked))


@pytest.mark.parametrize(
    ("said", "body"),
    [
        ([OK], b"ok"),
        ([CHUNKED, b"2\r\nok\r\n", b"0\r\n\r\n"], b"ok"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + OK], b"ok"),
        ([b"HTTP/1.1 204 No\r\n\r\n"], b""),
        ([bytes([one]) for one in OK], b"ok"),
    ],
)
async def test_one_is_used_again(said: list[bytes], body: bytes) -> None:
    """In whatever pieces its answer came, interim ones before it left out."""
    async with serving(saying(*said)) as (server, upstream):
        for _ in range(3):
            async with upstream.open("POST", "/a", []) as answer:
                assert body == await within(answer.read())
                assert "link" not in answer.headers

    assert 1 == server.opened


async def test_one_that_is_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is used again, and closed where its answer is not read; a server that nobody vouches for is
    asked nothing."""
    made = Certificates.write(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(made.certificate, made.key)
    async with serving(saying(OK), tls) as (server, upstream):
        with pytest.raises(UpstreamFailed, match=r"cannot be reached.*certificate"):
            await within(ask(upstream))
        assert [] == server.asked
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    async with serving(saying(OK), tls) as (server, upstream):
        assert [(200, b"ok")] * 3 == [await within(ask(upstream)) for _ in range(3)]
        assert 1 == server.opened
    async with serving(saying(CHUNKED), tls) as (server, upstream):
        async with upstream.open("POST", "/a", []):
            pass
        await within(server.left.wait())


@pytest.mark.parametrize(
    "said",
    [
        OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        OK.replace(b"1.1", b"1.0"),
        OK + OK,
    ],
)
async def test_one_that_is_good_for_no_more(said: bytes) -> None:
    """Is not used again, be it that the server says so, or that it says more than was asked."""
    async with serving(saying(said)) as (server, upstream):
        assert [(200, b"ok")] * 3 == [await within(ask(upstream)) for _ in range(3)]
    assert 3 == server.opened


@pytest.mark.parametrize(("last", "closes"), [(b"", True), (LATE, True), (LATE, False)])
async def test_one_that_the_server_has_just_closed(last: bytes, closes: bool) -> None:
    """Loses no request, though nothing has been heard of it yet: it is not used again. Nor is one
    on which the server has said what nobody asked for."""
    go, closed, asked = threading.Event(), threading.Event(), 0
    listening = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def serve() -> None:
        nonlocal asked
        for number in range(2):
            connection, _ = listening.accept()
            while not connection.recv(65536).endswith(b"\r\n\r\n"):
                pass
            asked += 1
            connection.sendall(OK)
            if number == 0:
                go.wait()
                connection.sendall(last)
            if closes:
                connection.close()
            kept.append(connection)
            closed.set()

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    upstream = Upstream(f"http://127.0.0.1:{listening.getsockname()[1]}", Limits())
    first = await within(ask(upstream))
    go.set()
    # The event loop stands still meanwhile.
    assert closed.wait(patience())
    second = await within(ask(upstream))
    await upstream.aclose()
    serving.join(patience())
    for one in (listening, *kept):
        one.close()

    assert [(200, b"ok")] * 2 == [first, second]
    assert 2 == asked


async def test_nothing_is_sent_twice() -> None:
    """Where the server hangs up on a request, it may have begun with what was asked."""

    async def serve(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if b"/v1/hangup" in head:
            return False
        writer.write(OK)
        return True

    async with serving(serve) as (server, upstream):
        await within(ask(upstream))
        with pytest.raises(UpstreamFailed, match="broke off"):
            await within(ask(upstream, "/hangup", content=b"{}"))

        assert (1, 2) == (server.opened, len(server.asked))


@pytest.mark.parametrize(
    "said",
    [
        [b""],
        [b"HTTP/1.1 200"],
        [b"SSH-2.0-OpenSSH_9.6\r\n"],
        [OK[:-1]],
        [CHUNKED + b"5\r\nok"],
        [CHUNKED + b"2\r\nok\r\n"],
        [CHUNKED + b"no\r\n"],
        [b"HTTP/1.1 101 Yes\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nX: " + b"x" * 600_000],
    ],
)
async def test_what_is_no_whole_answer(said: list[bytes]) -> None:
    """Is told as that, and not as its end."""
    async with serving(saying(*said, stays=False)) as (server, upstream):
        with pytest.raises(UpstreamFailed) as raised:
            await within(ask(upstream))

    assert (502, "upstream_broke_off") == (raised.value.status, raised.value.code)
    assert 1 == len(server.asked)


async def test_what_becomes_no_http_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within its answer, too, where the server then waits."""
    monkeypatch.setattr("streamhub.gateway.upstream._LOOK", 0.05)
    begun = asyncio.Event()

    async def serve(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        writer.write(CHUNKED + b"2\r\nok\r\n")
        await begun.wait()
        writer.write(b"no\r\n")
        await reader.read()
        return False

    async with serving(serve) as (_, upstream):
        with pytest.raises(UpstreamFailed, match="this is no HTTP"):
            async with upstream.open("POST", "/a", []) as answer:
                async for piece in answer.pieces():
                    assert b"ok" == piece
                    begun.set()


async def test_who_leaves_in_the_middle_hangs_up() -> None:
    """At once, so that nothing goes on for nobody."""
    async with serving(saying(CHUNKED, b"2\r\nok\r\n")) as (server, upstream):
        async with upstream.open("POST", "/a", []):
            pass
        await within(server.left.wait())


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

    async with serving(serve) as (_, upstream), upstream.open("POST", "/a", []) as answer:
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.2)
        waited = sent
        taken = sum([len(piece) async for piece in answer.pieces()])

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
        if b"/v1/early" in head:
            writer.write(OK.replace(b"200", b"413"))
            await reader.read()
            return False
        read = await reader.readuntil(b"c" if stated else b"c\r\n0\r\n\r\n")
        writer.write(OK)
        return True

    async def upload(*, endless: bool = False) -> AsyncIterator[bytes]:
        for piece in (b"a", b"b" * 100, b"c"):
            yield piece
        while endless:
            yield b"d" * 100_000
            await asyncio.sleep(0)

    async def send(upstream: Upstream, path: str, length: int, body: AsyncIterator[bytes]) -> int:
        headers = [("content-length", str(length))] if stated else []
        async with upstream.open("POST", path, headers, content=body) as answer:
            await answer.read()
            return answer.status

    async with serving(serve) as (server, upstream):
        whole = await within(send(upstream, "/whole", 102, upload()))
        early = await within(send(upstream, "/early", 10**12, upload(endless=True)))
        again = await within(send(upstream, "/whole", 102, upload()))

        assert [200, 413, 200] == [whole, early, again]
        assert 2 == server.opened
    said = b"b" * 100
    chunked = b"1\r\na\r\n64\r\n%b\r\n1\r\nc\r\n0\r\n\r\n" % said
    assert (b"a%bc" % said if stated else chunked) == read


async def test_waiting_has_an_end() -> None:
    """For an answer, for each piece of it, and for a server to take in what it is sent."""

    async def takes_nothing(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        await asyncio.Event().wait()
        return False

    large = b"x" * 20_000_000
    for serve, content in (
        (saying(), b""),
        (saying(CHUNKED, b"2\r\nok\r\n"), b""),
        (takes_nothing, large),
    ):
        async with serving(serve, upstream_timeout=0.2) as (server, upstream):
            with pytest.raises(UpstreamFailed) as raised:
                await within(ask(upstream, content=content))
            if not content:
                await within(server.left.wait())

        assert (504, "upstream_timeout") == (raised.value.status, raised.value.code)


async def test_a_proxy_is_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was given, by its name and password, and none that the environment names."""
    async with serving(saying(OK)) as (server, upstream):
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        straight = await within(ask(upstream))
        address = repr(upstream).partition("//")[2].partition("/")[0]
        proxied = Upstream("http://api.invalid/v1", Limits(), proxy=f"http://u:p@{address}")
        through = await within(ask(proxied))
        await proxied.aclose()

    assert [(200, b"ok")] * 2 == [straight, through]
    assert server.asked[0].startswith(b"POST /v1/a HTTP/1.1\r\n")
    assert server.asked[1].startswith(b"POST http://api.invalid/v1/a HTTP/1.1\r\n")
    assert b"proxy-authorization: basic dtpw\r\n" in server.asked[1].lower()
