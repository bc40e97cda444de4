"""assistant-stream's resumable streams on a hub, through that package's own context and routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamhub import (
    ChunkTooLarge,
    Hub,
    HubConfig,
    InvalidCursor,
    ProducerFenced,
    Status,
)
from streamhub.testing.waiting import until, within

from ..conftest import MakeHub, RunPython
from ..http.serving import served
from ..support.backends import BACKENDS, NewHub

resumable = pytest.importorskip("assistant_stream.resumable")
door = pytest.importorskip("streamhub.assistant_stream")

pytestmark = pytest.mark.integrations
CHUNKS = [b'0:"Hi"\n', b"", b"\xff\x00\xfe", "grüß\r\n".encode(), b"\x00"]


@pytest.fixture(params=["memory", "redis"])
def new_hub(request: pytest.FixtureRequest) -> NewHub:
    return BACKENDS[request.param](request)


@pytest.fixture
def store(hub: Hub) -> Any:
    return door.HubResumableStreamStore(hub)


async def _read(store: Any, stream_id: str, cursor: str = "") -> list[Any]:
    return [entry async for entry in store.read(stream_id, cursor, asyncio.Event())]


async def test_a_stream_round_trips(store: Any) -> None:
    """Binary chunks too; and each cursor is where one reads on."""
    assert "producer" == await store.acquire("s")
    assert "streaming" == await store.status("s")
    for chunk in CHUNKS:
        await store.append("s", chunk)
    await store.finalize("s", "done")
    entries = await _read(store, "s")

    assert CHUNKS == [entry.chunk for entry in entries]
    for index, entry in enumerate(entries):
        assert entries[index + 1 :] == await _read(store, "s", entry.cursor)
    assert "done" == await store.status("s")


async def test_one_of_all_acquires(make_hub: MakeHub) -> None:
    """Wherever they ask; and nobody else may append."""
    stores = [door.HubResumableStreamStore(make_hub()) for _ in range(5)]
    roles = await asyncio.gather(*[store.acquire("s") for store in stores])
    producer = roles.index("producer")

    assert ["consumer"] * 4 == sorted(roles)[:4]
    with pytest.raises(RuntimeError, match="Stream was not acquired here: s"):
        await stores[producer - 1].append("s", b"a")
    await stores[producer].finalize("s", "done")
    assert ["consumer"] * 5 == [await store.acquire("s") for store in stores]


async def test_readers_are_woken(make_hub: MakeHub) -> None:
    """In another process as well: each chunk, and then the end, without asking for it."""
    producing, reading = (door.HubResumableStreamStore(make_hub()) for _ in range(2))
    await producing.acquire("s")
    entries = reading.read("s", "", asyncio.Event())
    for chunk in (b"a", b"b"):
        coming = asyncio.create_task(anext(entries))
        await producing.append("s", chunk)
        assert chunk == (await within(coming)).chunk
    await producing.finalize("s", "done")
    with pytest.raises(StopAsyncIteration):
        await within(anext(entries))


async def test_a_signal_stops_a_reader(store: Any) -> None:
    """One that waits, at once."""
    await store.acquire("s")
    signal = asyncio.Event()
    waiting = asyncio.create_task(anext(store.read("s", "", signal)))
    await asyncio.sleep(0)
    signal.set()
    with pytest.raises(StopAsyncIteration):
        await within(waiting)


async def test_an_error_reaches_readers(store: Any) -> None:
    """After all chunks, with its message; finalizing again changes nothing."""
    await store.acquire("s")
    await store.append("s", b"a")
    await store.finalize("s", "error", "the model broke")
    await store.finalize("s", "done")
    entries = store.read("s", "", asyncio.Event())

    assert b"a" == (await anext(entries)).chunk
    with pytest.raises(RuntimeError, match=r"^the model broke$"):
        await anext(entries)
    assert "error" == await store.status("s")
    with pytest.raises(resumable.ResumableStreamError, match="already finalized") as caught:
        await store.append("s", b"b")
    assert "finalized" == caught.value.code


async def test_what_is_missing_is_told(store: Any) -> None:
    """As the package's own stores tell it."""
    assert "missing" == await store.status("s")
    await store.delete("s")
    for call in (store.append("s", b"a"), store.finalize("s", "done"), _read(store, "s")):
        with pytest.raises(RuntimeError, match="Stream not found: s"):
            await call
    for call in (store.acquire(""), store.status("a b"), store.append("ü", b""), store.delete("/")):
        with pytest.raises(resumable.ResumableStreamError) as caught:
            await call
        assert "invalid-id" == caught.value.code


async def test_what_the_hub_cannot_keep_is_refused(make_hub: MakeHub) -> None:
    """A longer time to live, a chunk that is too large, a cursor that is none."""
    store = door.HubResumableStreamStore(make_hub(HubConfig(retention=60.0, max_chunk_bytes=8)))
    with pytest.raises(ValueError, match="ttl_ms=60,001: this hub keeps streams for 60 s"):
        await store.acquire("s", ttl_ms=60_001)
    assert "producer" == await store.acquire("s", ttl_ms=60_000)
    with pytest.raises(ChunkTooLarge):
        await store.append("s", b"123456789")
    with pytest.raises(InvalidCursor):
        await _read(store, "s", "zz")
    with pytest.raises(TypeError, match=r"hub must be a streamhub\.Hub, not str"):
        door.HubResumableStreamStore("redis://")


async def test_a_deletion_ends_readers_here_quietly_and_fences_the_producer(
    make_hub: MakeHub,
) -> None:
    """Those elsewhere are told that it vanished; what is begun anew is another stream."""
    here, elsewhere = (door.HubResumableStreamStore(make_hub()) for _ in range(2))
    await elsewhere.acquire("s")
    await elsewhere.append("s", b"a")
    entries = here.read("s", "", asyncio.Event()), elsewhere.read("s", "", asyncio.Event())
    assert [b"a", b"a"] == [(await within(anext(one))).chunk for one in entries]
    await here.delete("s")
    with pytest.raises(StopAsyncIteration):
        await within(anext(entries[0]))
    with pytest.raises(resumable.ResumableStreamError, match="there is no session"):
        await within(anext(entries[1]))

    assert "producer" == await here.acquire("s")

    async def fenced() -> bool:
        try:
            await elsewhere.append("s", b"stale")
        except (ProducerFenced, RuntimeError):
            return True
        return False

    await until(fenced)
    await here.append("s", b"b")
    await here.finalize("s", "done")
    assert [b"b"] == [entry.chunk for entry in await _read(here, "s")]


async def test_a_cancel_of_the_session_stops_the_producer(hub: Hub, store: Any) -> None:
    """From anywhere: the next append raises, and readers are done."""
    await store.acquire("s")
    await store.append("s", b"a")
    stream = await hub.get("s")
    assert stream is not None

    assert Status.CANCELLED == await stream.cancel(wait=20.0)
    with pytest.raises(resumable.ResumableStreamError, match="already finalized"):
        await store.append("s", b"b")
    assert [b"a"] == [entry.chunk for entry in await _read(store, "s")]
    assert "done" == await store.status("s")


async def test_a_producer_that_was_cancelled_leaves_nobody_waiting(hub: Hub, store: Any) -> None:
    """The package's context finalizes nothing then; the next who acquires it produces anew."""
    tasks: list[asyncio.Task[None]] = []
    context = resumable.create_resumable_stream_context(store=store, wait_until=tasks.append)

    async def hangs() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.get_running_loop().create_future()

    async def answers() -> AsyncIterator[bytes]:
        yield b"b"

    reading = await context.run("s", hangs)
    assert b"a" == await within(anext(reading))
    tasks[0].cancel()
    with pytest.raises(RuntimeError, match="is lost"):
        await within(anext(reading))
    assert "error" == await context.status("s")
    assert [b"b"] == [chunk async for chunk in await context.run("s", answers)]


async def test_the_context_runs_resumes_and_reports(store: Any) -> None:
    """Two who run the same stream share one production."""
    calls: list[str] = []
    context = resumable.create_resumable_stream_context(store=store)

    async def answers() -> AsyncIterator[bytes]:
        calls.append("made")
        for word in (b"a", b"b"):
            yield word

    async def breaks() -> AsyncIterator[bytes]:
        yield b"a"
        raise ValueError("the model broke")

    runs = [await context.run("s", answers), await context.run("s", answers)]
    assert [[b"a", b"b"]] * 2 == [[chunk async for chunk in run] for run in runs]
    assert (["made"], None) == (calls, await context.resume("t"))
    assert [b"a", b"b"] == [chunk async for chunk in await context.require_resume("s")]
    with pytest.raises(RuntimeError, match="the model broke"):
        _ = [chunk async for chunk in await context.run("t", breaks)]


async def test_its_routes_serve_and_resume(hub: Hub, store: Any) -> None:
    """The response to the first request, and the one that resumes, are the same bytes."""
    context = resumable.create_resumable_stream_context(store=store)

    async def answer(controller: Any) -> None:
        controller.append_text("The ")
        controller.append_text("lamp")

    async def run(request: Request) -> Response:
        response: Response = await resumable.create_resumable_assistant_stream_response(
            context=context, stream_id=request.path_params["id"], callback=answer
        )
        return response

    async def resume(request: Request) -> Response:
        response: Response = await resumable.create_resume_assistant_stream_response(
            context=context, stream_id=request.path_params["id"]
        )
        return response

    app = Starlette(
        routes=[Route("/{id}", run, methods=["POST"]), Route("/{id}", resume, methods=["GET"])]
    )
    async with served(app) as url, httpx.AsyncClient(base_url=url) as client:
        first = await client.post("/s")
        again = await client.get("/s")
        assert 404 == (await client.get("/t")).status_code
    assert first.text == again.text
    assert '"The "' in first.text


async def test_the_page_shows_how() -> None:
    """What docs/frameworks.md defines runs a stream and resumes it."""
    page = (Path(__file__).parents[2] / "docs" / "frameworks.md").read_text()
    code = page.split("## assistant-stream")[1].split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code.replace("redis://localhost:6379/0", "memory://"), "page", "exec"), names)

    async def answers() -> AsyncIterator[bytes]:
        yield b"a"

    run = await names["context"].run("s", answers)
    assert [b"a"] == [chunk async for chunk in run]
    await names["hub"].aclose()


#: Arguments: where Redis answers.
PRODUCER = """
import asyncio, sys
from streamhub import Hub, HubConfig
from streamhub.assistant_stream import HubResumableStreamStore

async def main():
    store = HubResumableStreamStore(Hub.from_url(sys.argv[1], config=HubConfig(lease=1.0)))
    print(await store.acquire("s"))
    await store.append("s", b"a")
    await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""


async def test_the_end_of_a_killed_producer_is_told(redis_url: str, run_python: RunPython) -> None:
    """Its readers get what it had stored and then an error, and the id is free again."""
    process = await run_python(PRODUCER, redis_url)
    assert "producer" == await within(process.line())
    async with Hub.from_url(redis_url, config=HubConfig(lease=1.0)) as hub:
        store = door.HubResumableStreamStore(hub)
        entries = store.read("s", "", asyncio.Event())
        assert b"a" == (await within(anext(entries))).chunk
        await process.kill()

        with pytest.raises(RuntimeError, match="is lost"):
            await within(anext(entries))
        assert ("error", "producer") == (await store.status("s"), await store.acquire("s"))
