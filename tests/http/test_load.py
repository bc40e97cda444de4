"""Many clients of one server process, clients that do not read, and clients that leave: what it
costs, counted."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from streamhub import Hub, LiveStream
from streamhub.formats.sse import Event, EventParser
from streamhub.testing.waiting import bounded, patience

from ..conftest import Serve
from ..support.http_apps import COUNTING_BYTES, SESSIONS
from ..support.http_server import ServerProcess

pytestmark = pytest.mark.slow

BOUND = 100.0
MANY = 1000
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """Room for a thousand connections, here and in the servers that are started."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * MANY if before[1] == resource.RLIM_INFINITY else min(4 * MANY, before[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, before[0]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
async def hub(redis_url: str) -> AsyncIterator[Hub]:
    async with bounded(BOUND), Hub.from_url(redis_url) as hub:
        yield hub


@pytest.fixture
async def stream(hub: Hub, session_id: str) -> LiveStream:
    stream, _ = await hub.register(session_id)
    return stream


@pytest.fixture
async def server(serve: Serve, redis_url: str) -> ServerProcess:
    return await serve(SESSIONS, redis_url)


class Client:
    """One connection with nothing between it and the socket, so that it can be left unread."""

    def __init__(self, server: ServerProcess, *, receive_buffer: int | None = None) -> None:
        self._port = server.port
        self._socket = socket.socket()
        self._socket.setblocking(False)
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._pending = b""
        self._has_headers = False
        self._complete = 0
        #: What it has received so far, out of the chunks of HTTP.
        self.body = bytearray()

    @property
    def events(self) -> list[Event]:
        return EventParser().feed(bytes(self.body))

    async def connect(self) -> None:
        await asyncio.get_running_loop().sock_connect(self._socket, ("127.0.0.1", self._port))

    async def send(self, text: str) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, text.encode())

    async def ask(self, path: str) -> None:
        await self.connect()
        await self.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    async def read(self, count: int | None = None) -> None:
        """Read until there are so many events, or to the end of the response."""
        loop = asyncio.get_running_loop()
        while count is None or self._complete < count:
            piece = await loop.sock_recv(self._socket, 64 * 1024)
            if not piece:
                assert count is None, "the response has ended"
                break
            body = self._body(piece)
            # No event here holds a blank line; the one at its end may come in two pieces.
            seen = max(0, len(self.body) - 1)
            self.body += body
            self._complete += self.body.count(b"\n\n", seen)

    def reset(self) -> None:
        """Leave without a goodbye."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def _body(self, piece: bytes) -> bytes:
        """What the pieces of a chunked body hold."""
        data = self._pending + piece
        if not self._has_headers:
            headers, separator, data = data.partition(b"\r\n\r\n")
            if not separator:
                self._pending = headers
                return b""
            assert b" 200 " in headers.partition(b"\r\n")[0], headers
            self._has_headers = True
        body = b""
        while True:
            size, separator, rest = data.partition(b"\r\n")
            length = int(size, 16) if separator else 0
            if not separator or len(rest) < length + 2:
                self._pending = data
                return body
            body, data = body + rest[:length], rest[length + 2 :]


async def publish(stream: LiveStream, texts: list[str]) -> None:
    for text in texts:
        await stream.publish(text)
    await stream.flush()


def path_of(session_id: str) -> str:
    return f"/sessions/{session_id}/stream"


async def test_g3_a_thousand_clients_get_every_chunk(
    server: ServerProcess, stream: LiveStream, session_id: str
) -> None:
    """All follow one stream of 20 chunks a second in one process; none misses, doubles or
    reorders anything."""
    texts = [f"<{number}>" for number in range(100)]
    await publish(stream, texts[:1])
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(server)) for _ in range(MANY)]
        for client in clients:
            await client.ask(path_of(session_id))
        await asyncio.gather(*(client.read(1) for client in clients))
        reading = asyncio.gather(*(client.read() for client in clients))
        for text in texts[1:]:
            await publish(stream, [text])
            await asyncio.sleep(0.05)
        await stream.close()
        await reading
        received = Counter(bytes(client.body) for client in clients)

    assert [MANY] == list(received.values())
    events = clients[0].events
    assert [*texts, "end"] == [event.data for event in events[:-1]] + [events[-1].event]


async def test_g10_clients_that_do_not_read_cost_little_and_slow_nobody(
    server: ServerProcess, stream: LiveStream, session_id: str
) -> None:
    """Thirty stop reading while a long answer is written: the server does not keep it for each of
    them, another client reads it to its end meanwhile, and when they read on nothing is
    missing."""
    texts = [f"{number:04}" + 8 * 1024 * "x" for number in range(1500)]
    await publish(stream, texts[:1])
    async with AsyncExitStack() as stack:
        slow = [
            await stack.enter_async_context(Client(server, receive_buffer=4096)) for _ in range(30)
        ]
        for client in slow:
            await client.ask(path_of(session_id))
            await client.read(1)
        fast = await stack.enter_async_context(Client(server))
        await fast.ask(path_of(session_id))
        before = server.resident_bytes
        reading = asyncio.create_task(fast.read())
        await publish(stream, texts[1:])
        await stream.close()
        await reading
        assert texts == [event.data for event in fast.events[:-1]]
        grown = server.resident_bytes - before
        print(f"30 clients that do not read: the server has grown by {grown / MIB:.1f} MiB")
        await slow[0].read()

    assert texts == [event.data for event in slow[0].events[:-1]]
    # One whole copy for each of them would be 360.
    assert grown < 64 * MIB


@pytest.mark.parametrize(("size", "query"), [(2048, ""), (MIB // 2, "?batch=true")])
async def test_g10_a_client_that_does_not_read_holds_so_much_and_leaves_nothing(
    serve: Serve, redis_url: str, hub: Hub, session_id: str, size: int, query: str
) -> None:
    """Whatever the size of the chunks: what may wait for it (``max_pending_bytes``), and what its
    socket has not taken, counted in bytes of objects. Once the clients have gone, it is as before
    they came."""
    server = await serve(COUNTING_BYTES + SESSIONS, redis_url)
    names = [f"{session_id}:{number}" for number in range(7)]
    for name in names:
        stream, _ = await hub.register(name)
        await publish(stream, [size * "x"] * (8 * MIB // size))
        await stream.close()
    async with httpx.AsyncClient(timeout=patience(BOUND)) as web:

        async def count() -> int:
            return int((await web.get(f"{server.url}/held")).json()["bytes"])

        async with Client(server) as warm:
            await warm.ask(path_of(names.pop()) + query)
            await warm.read()
        before, resident = await count(), server.resident_bytes
        clients = [Client(server, receive_buffer=4096) for _ in names]
        for name, client in zip(names, clients, strict=True):
            await client.ask(path_of(name) + query)
            # To the middle, where pages are kept that it has been through.
            await client.read(4 * MIB // max(size, 64 * 1024 if query else 0))
        # What is still being read for them is there in one of these rounds.
        most = max([await count() for _ in range(50)])
        each = (most - before) / len(names)
        print(f"{size} {query}: {each / MIB:.2f} MiB each", end="; ")
        print(f"resident: {(server.resident_bytes - resident) / len(names) / MIB:.2f} MiB each")
        await _leave_all(clients)
        # What was being read for them comes to its end.
        await until(server, lambda held: held["bytes"] - before < 64 * 1024)
        print(f"left: {(server.resident_bytes - resident) / MIB:.2f} MiB resident in all")

    assert each <= MIB + 128 * 1024


Leaves = Callable[[ServerProcess, LiveStream, int], Awaitable[None]]


async def _leave_all(clients: list[Client]) -> None:
    """Every other one with a reset."""
    for number, client in enumerate(clients):
        if number % 2:
            client.reset()
        else:
            await client.__aexit__(None, None, None)


async def _before_asking(server: ServerProcess, stream: LiveStream, count: int) -> None:
    clients = [Client(server) for _ in range(count)]
    for client in clients:
        await client.connect()
    await _leave_all(clients)


async def _in_the_request(server: ServerProcess, stream: LiveStream, count: int) -> None:
    clients = [Client(server) for _ in range(count)]
    for client in clients:
        await client.connect()
        await client.send(f"GET {path_of(stream.session_id)} HTTP/1.1\r\nHost: lo")
    await _leave_all(clients)


async def _before_the_answer(server: ServerProcess, stream: LiveStream, count: int) -> None:
    clients = [Client(server) for _ in range(count)]
    for client in clients:
        await client.ask(path_of(stream.session_id))
    await _leave_all(clients)


async def _while_waiting(server: ServerProcess, stream: LiveStream, count: int) -> None:
    """For a session that never comes."""
    clients = [Client(server) for _ in range(count)]
    for number, client in enumerate(clients):
        await client.ask(f"{path_of(f'never:{number}')}?wait=30")
    await until(server, lambda held: held["sessions followed"] >= count)
    await _leave_all(clients)


async def _while_idle(server: ServerProcess, stream: LiveStream, count: int) -> None:
    clients = [Client(server) for _ in range(count)]
    for client in clients:
        await client.ask(path_of(stream.session_id))
    await asyncio.gather(*(client.read(1) for client in clients))
    await _leave_all(clients)


async def _in_the_stream(server: ServerProcess, stream: LiveStream, count: int) -> None:
    """While chunks flow, some of which are still on their way."""
    clients = [Client(server) for _ in range(count)]
    for client in clients:
        await client.ask(path_of(stream.session_id))
    await asyncio.gather(*(client.read(1) for client in clients))
    for number in range(0, count, 10):
        await publish(stream, [f"<{number}>"])
        await _leave_all(clients[number : number + 10])


async def until(
    server: ServerProcess, condition: Callable[[dict[str, int]], bool], *, times: int = 1
) -> None:
    """Ask what the process holds until it is so, so many times in a row."""
    async with httpx.AsyncClient(timeout=patience(BOUND)) as client:
        met = 0
        while met < times:
            held = (await client.get(f"{server.url}/held")).json()
            met = met + 1 if condition(held) else 0


@pytest.mark.parametrize(
    "leave",
    [
        _before_asking,
        _in_the_request,
        _before_the_answer,
        _while_waiting,
        _while_idle,
        _in_the_stream,
    ],
)
async def test_g12_nothing_is_left_of_clients_that_leave(
    server: ServerProcess, stream: LiveStream, redis_client: Any, leave: Leaves
) -> None:
    """A thousand come and go at one moment of the response: tasks, followed sessions, open files
    and connections to Redis are what they were."""
    await publish(stream, ["first"])
    async with Client(server) as client:
        await client.ask(path_of(stream.session_id))
        await client.read(1)
    await until(server, lambda held: held["sessions followed"] == 0)
    connections = len(await redis_client.client_list())
    async with httpx.AsyncClient(timeout=patience(BOUND)) as web:
        before = (await web.get(f"{server.url}/held")).json()
    await leave(server, stream, MANY)

    # What is still on its way to the server shows up in one of these rounds.
    await until(server, lambda held: all(held[name] <= before[name] for name in held), times=20)
    assert connections == len(await redis_client.client_list())
