"""Connections to an upstream: as many as are needed, and few for few requests."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from streamhub.gateway.pools import Pools
from streamhub.testing.waiting import until, within


async def test_many_at_once_and_few_after_them() -> None:
    """A hundred answers have a connection each; those of the next requests are used again, and what
    a request that fails, or is left, has taken is given back."""
    opened, go = 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok")
                if head.startswith(b"GET /wait"):
                    await go.wait()
                writer.write(b"ay" if not head.startswith(b"GET /break") else b"a")
                if head.startswith(b"GET /break"):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        writer.close()

    pools = Pools()
    async with (
        await asyncio.start_server(serve, "127.0.0.1", 0) as server,
        httpx.AsyncClient(transport=pools) as client,
    ):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        asking = [asyncio.create_task(client.get(f"{url}/wait")) for _ in range(100)]

        async def all_wait() -> bool:
            return opened == 100

        await until(all_wait)
        at_once = len(pools)
        asking.pop().cancel()
        go.set()
        answers = await within(asyncio.gather(*asking))
        for _ in range(5):
            answers.append(await client.get(url))
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"{url}/break")
        async with client.stream("GET", f"{url}/wait"):
            pass

        assert {"okay"} == {answer.text for answer in answers}
        assert (4, 1, 0) == (at_once, len(pools), pools.busy)
        assert opened <= 102
