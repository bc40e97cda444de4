"""What sessions, producers and readers take of memory: the figures of docs/production.md.

    python -m tests.support.memory_figures

Starts a Redis of its own, and a process for each kind of figure.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import redis.asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from streamhub import Hub, LiveStream, Subscription
from streamhub.http import SSEResponse

from ..http.serving import served
from .redis_server import RedisServer

_SESSIONS = 200
_CLIENTS = 500
#: Chunks of an answer, bytes of each.
_SHAPES = [
    (0, 0),
    (100, 5),
    (1000, 5),
    (4000, 5),
    (1000, 20),
    (1000, 100),
    (100, 1000),
    (20, 10000),
]


def _resident() -> int:
    gc.collect()
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


async def _fill(stream: LiveStream, chunks: int, size: int) -> None:
    for n in range(chunks):
        await stream.publish(f"{n:x}".ljust(size, "x")[:size])
    await stream.flush()


async def _used(client: redis.asyncio.Redis) -> int:
    """Of data alone: buffers of clients and of the server come and go."""
    told = await client.memory_stats()
    used: int = told["dataset.bytes"] + sum(
        one for db in told.values() if isinstance(db, dict) for one in db.values()
    )
    return used


async def _redis(url: str) -> None:
    print("\nRedis, bytes for a session   chunks  bytes   active    ended   record      log")
    async with redis.asyncio.Redis.from_url(url) as client, Hub.from_url(url) as hub:
        for chunks, size in [(1, 1), *_SHAPES]:
            await client.flushall(asynchronous=False)
            before = await _used(client)
            streams = []
            for n in range(_SESSIONS):
                stream, _ = await hub.register(
                    f"chat:{n:08}", owner="user:7", metadata={"model": "a model", "user": 7}
                )
                await _fill(stream, chunks, size)
                streams.append(stream)
            active = (await _used(client) - before) / _SESSIONS
            for stream in streams:
                await stream.close()
            ended = (await _used(client) - before) / _SESSIONS
            tag = "streamhub:{chat:00000000}"
            record, log = [
                await client.memory_usage(f"{tag}:{kind}", samples=0) or 0
                for kind in ("meta", "chunks")
            ]
            print(f"{'':28} {chunks:6} {size:6} {active:8.0f} {ended:8.0f} {record:8} {log:8}")
        keys = sorted([key async for key in client.scan_iter() if b"chat:00000000" in key])
        print(f"keys of an ended session: {[key.decode() for key in keys]}")
        await hub.remove("chat:00000000")
        left = [key async for key in client.scan_iter() if b"chat:00000000" in key]
        print(f"… once it was removed: {left}")


async def _producers(url: str) -> None:
    async with Hub.from_url(url) as hub:
        await (await hub.run("warm", ["1"])).wait()
        for chunks, size in [(0, 0), (1000, 5), (1000, 100)]:
            before = _resident()
            streams = [(await hub.register(f"p:{chunks}:{size}:{n}"))[0] for n in range(_CLIENTS)]
            for stream in streams:
                await _fill(stream, chunks, size)
            each = (_resident() - before) / _CLIENTS
            print(f"producer of {chunks} chunks of {size} bytes: {each:,.0f} bytes")


async def _readers(url: str) -> None:
    async with Hub.from_url(url) as hub:
        await (await hub.run("warm", ["1"])).wait()
        producer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.memory_figures", "produce", url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert producer.stdout is not None
        assert producer.stdin is not None
        await producer.stdout.readline()
        before = _resident()
        reading = [asyncio.create_task(_read(hub, f"r:{n}")) for n in range(_CLIENTS)]
        await asyncio.sleep(1)
        producer.stdin.write(b"\n")
        await producer.stdout.readline()
        subscriptions = await asyncio.gather(*reading)
        each = (_resident() - before) / _CLIENTS
        print(f"a session with one reader, 1000 chunks of 5 bytes read: {each:,.0f} bytes")
        before = _resident()
        more = [asyncio.create_task(_wait(hub, "r:0")) for _ in range(_CLIENTS)]
        await asyncio.sleep(1)
        print(f"one more reader of it: {(_resident() - before) / _CLIENTS:,.0f} bytes")
        for one in more:
            one.cancel()
        await asyncio.wait(more)
        for subscription in subscriptions:
            await subscription.aclose()
        producer.kill()
        await producer.wait()


async def _read(hub: Hub, session_id: str) -> Subscription:
    """A subscription that has read all, and stays."""
    found = await hub.get(session_id)
    assert found is not None
    subscription = found.subscribe()
    for _ in range(1000):
        await anext(subscription)
    return subscription


async def _wait(hub: Hub, session_id: str) -> None:
    found = await hub.get(session_id)
    assert found is not None
    await anext(found.subscribe(after="now"))


async def _produce(url: str) -> None:
    """What the readers read, when they are there."""
    async with Hub.from_url(url) as hub:
        streams = [(await hub.register(f"r:{n}"))[0] for n in range(_CLIENTS)]
        print("claimed", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for stream in streams:
            await _fill(stream, 1000, 5)
        print("published", flush=True)
        await asyncio.sleep(60)


async def _clients(url: str) -> None:
    async with Hub.from_url(url) as hub:
        stream, _ = await hub.register("c")
        await _fill(stream, 1000, 5)

        async def events(request: Request) -> SSEResponse:
            return SSEResponse(hub.get("c"))

        app = Starlette(routes=[Route("/", events)])
        async with served(app) as address:
            client = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _OPEN, address.rpartition(":")[2], str(_CLIENTS)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert client.stdout is not None
            assert client.stdin is not None
            await client.stdout.readline()
            before = _resident()
            client.stdin.write(b"\n")
            await client.stdout.readline()
            each = (_resident() - before) / _CLIENTS
            print(f"a client over HTTP (SSE, uvicorn): {each:,.0f} bytes")
            client.kill()
            await client.wait()


#: The first client warms the server up.
_OPEN = """
import socket, sys
def opened():
    one = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    one.sendall(b"GET / HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n")
    text = b""
    while b"data: 3e7" not in text:
        text += one.recv(65536)
    return one
first = opened()
print("one", flush=True)
input()
all_of_them = [opened() for _ in range(int(sys.argv[2]))]
print("all", flush=True)
input()
"""

_PARTS: dict[str, Callable[[str], Awaitable[None]]] = {
    "redis": _redis,
    "producers": _producers,
    "readers": _readers,
    "clients": _clients,
}
_PRODUCE = "produce"


async def _main() -> None:
    with RedisServer() as server:
        for name in _PARTS:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.support.memory_figures", name, server.url)
            )
            if await child.wait():
                raise SystemExit(f"{name} failed")


async def _part(name: str, url: str) -> None:
    if name == "redis":
        print(f"an interpreter with a hub: {_resident():,} bytes")
    await (_produce if name == _PRODUCE else _PARTS[name])(url)


if __name__ == "__main__":
    asyncio.run(_part(*sys.argv[1:]) if len(sys.argv) > 1 else _main())
