"""What a list of sessions costs: as much memory for many as for a few, whatever their metadata."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import httpx
import pytest
import redis.asyncio

from streamhub import Hub, SessionInfo, Status
from streamhub.http import create_app, owned_by
from streamhub.testing.waiting import bounded, patience

from ..conftest import RunPython
from ..http.serving import served
from ..support.redis_stage import meta

pytestmark = pytest.mark.slow

MiB = 1024 * 1024
SESSIONS = 40
#: A few of the sessions at once, as text, decoded and encoded again; all of them are 40 MiB.
BOUND = 12 * MiB


@pytest.fixture
async def hub(redis_url: str, redis_client: redis.asyncio.Redis) -> AsyncIterator[Hub]:
    """On sessions with a MiB of metadata each, and as many small ones."""
    client: Any = redis_client
    async with bounded(120), Hub.from_url(redis_url) as hub:
        for n in range(SESSIONS):
            large, _ = await hub.register(f"large:{n}", owner=f"user:{n}")
            await client.hset(meta(f"large:{n}"), "metadata", json.dumps("x" * (MiB - 2)))
            await large.close()
            await hub.register(f"small:{n}", metadata={"n": n})
        yield hub


async def peak(work: Callable[[], Awaitable[Any]]) -> int:
    """How much more memory than before it takes, at the most."""
    await work()
    gc.collect()
    tracemalloc.start()
    try:
        await work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def read_from(client: redis.asyncio.Redis, work: Callable[[], Awaitable[Any]]) -> int:
    """How many bytes the server sends for it."""
    before = (await client.info("stats"))["total_net_output_bytes"]
    await work()
    return int((await client.info("stats"))["total_net_output_bytes"] - before)


async def test_g10_all_sessions_take_no_more_memory_than_a_few(hub: Hub) -> None:
    """hub.sessions() holds what it hands out, and little that follows."""

    async def count() -> None:
        sizes = [len(info.metadata) async for info in hub.sessions()]
        assert (2 * SESSIONS, SESSIONS) == (len(sizes), sizes.count(MiB - 2))

    assert BOUND > await peak(count)


async def test_metadata_is_read_of_what_is_taken_only(
    hub: Hub, redis_client: redis.asyncio.Redis
) -> None:
    """Who stops after the first, or wants those of one owner or status, pays for them."""

    async def first() -> None:
        async with aclosing(hub.sessions()) as infos:  # type: ignore[type-var]
            assert isinstance(await anext(infos), SessionInfo)

    async def of(**wanted: Any) -> list[str]:
        return [info.session_id async for info in hub.sessions(**wanted)]

    async def of_one_owner() -> None:
        assert ["large:7"] == await of(owner="user:7")

    async def of_one_status() -> None:
        assert {f"small:{n}" for n in range(SESSIONS)} == {*await of(status=Status.ACTIVE)}

    for work in (first, of_one_owner, of_one_status):
        assert 3 * MiB > await read_from(redis_client, work)


@pytest.mark.parametrize("limit", [1, 1000])
async def test_g10_a_list_over_http_takes_no_more_memory_than_a_few(hub: Hub, limit: int) -> None:
    """It is written as the sessions are found."""
    async with (
        served(create_app(hub)) as url,
        httpx.AsyncClient(base_url=url, timeout=patience(60)) as client,
    ):

        async def count() -> None:
            length = 0
            async with client.stream("GET", f"/sessions?limit={limit}") as response:
                async for piece in response.aiter_raw():
                    length += len(piece)
            assert 200 == response.status_code
            assert limit == 1 or length > SESSIONS * MiB

        assert BOUND > await peak(count)


async def test_a_list_over_http_is_one_document(hub: Hub) -> None:
    """With every session that may be seen, and no other."""
    app = create_app(hub, authorize=owned_by(hub, lambda request: request.headers["x-user"]))
    async with (
        served(create_app(hub)) as all_url,
        served(app) as url,
        httpx.AsyncClient(timeout=patience(60)) as client,
    ):
        everything = (await client.get(f"{all_url}/sessions?limit=1000")).json()
        two = (await client.get(f"{all_url}/sessions?limit=2")).json()
        own = (await client.get(f"{url}/sessions", headers={"x-user": "user:7"})).json()
        nothing = (await client.get(f"{url}/sessions", headers={"x-user": "nobody"})).json()

    names = [one["session_id"] for one in everything["sessions"]]
    assert sorted(f"{kind}:{n}" for n in range(SESSIONS) for kind in ("large", "small")) == sorted(
        names
    )
    assert 2 == len(two["sessions"])
    assert ["large:7"] == [one["session_id"] for one in own["sessions"]]
    assert {"sessions": []} == nothing


async def test_a_client_that_leaves_ends_the_reading(
    hub: Hub, redis_client: redis.asyncio.Redis
) -> None:
    """Whoever goes away in the middle of a list costs no more reading."""
    async with served(create_app(hub)) as url:

        async def leave() -> None:
            async with (
                httpx.AsyncClient(base_url=url, timeout=patience(60)) as client,
                client.stream("GET", "/sessions?limit=1000") as response,
            ):
                await anext(response.aiter_raw())
            await redis_client.ping()

        read = await read_from(redis_client, leave)
    await hub.active([])

    assert SESSIONS * MiB / 2 > read


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["table", "json"])
async def test_g10_ls_takes_no_more_memory_than_a_few(
    hub: Hub, redis_url: str, run_python: RunPython, options: tuple[str, ...]
) -> None:
    """The same on the command line, sorted or not."""
    source = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "streamhub", *sys.argv[1:]], check=True, stdout=-3)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, flush=True)
"""

    async def most(*command: str) -> int:
        process = await run_python(source, *command)
        return 1024 * int(await process.line())

    alone = await most("show", "--redis", redis_url, "small:1")

    assert 2 * BOUND > await most("ls", "--redis", redis_url, *options) - alone
