"""Chunks that were read, and that the store has lost together with their producer (G3, G4)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

import streamhub.sync
from streamhub import (
    Chunk,
    Cursor,
    Hub,
    HubConfig,
    LiveStream,
    ProducerLost,
    Status,
    StreamHubError,
    StreamReplaced,
    Subscription,
)
from streamhub.http import create_app
from streamhub.testing.waiting import bounded, patience, until

from ..conftest import RunPython
from ..http.conftest import Open, open_client
from ..http.serving import lines, path_of
from ..support.child_processes import PythonProcess
from ..support.cli_process import cli
from ..support.programs import LEASE, PRODUCE
from ..support.redis_stage import BOUND, Stage, taken
from .clients import event_source, reader
from .losses import LossyRedis

__all__ = ["open_client"]

pytestmark = pytest.mark.slow

KEPT, READ = 100, 120
CONFIG = HubConfig(lease=LEASE)


@pytest.fixture
def server() -> Iterator[LossyRedis]:
    with LossyRedis() as server:
        yield server


class Lost:
    """A session of which a Redis with an append-only file has lost the chunks 101 to 120, after
    readers had read them; its producer was killed before it could put them back."""

    def __init__(self, stage: Stage, server: LossyRedis, chunks: list[Chunk]) -> None:
        self.stage = stage
        self.url = server.url
        self.chunks = chunks
        self.hub = stage.hub(CONFIG)

    def cursor(self, offset: int) -> Cursor:
        return self.chunks[offset - 1].cursor

    def text(self, offset: int) -> str:
        return "".join(chunk.data for chunk in self.chunks[:offset])

    async def lapse(self) -> None:
        stream = await self.stream()

        async def is_lost() -> bool:
            return (await stream.info()).status is Status.LOST

        await until(is_lost)

    async def stream(self, hub: Hub | None = None) -> LiveStream:
        stream = await (hub or self.hub).get("chat", wait=patience(BOUND))
        assert stream is not None
        return stream

    async def continue_with(self, chunks: int) -> str:
        """Another producer goes on after what the store still holds, and finishes; the text."""
        await self.lapse()
        stream, created = await self.hub.register("chat", takeover="continue")
        assert created
        async with stream:
            for n in range(chunks):
                await stream.publish(f"(new {KEPT + 1 + n})")
        return await stream.text()


@pytest.fixture
async def stage(server: LossyRedis) -> AsyncIterator[Stage]:
    async with bounded(3 * BOUND), Stage(server) as stage:
        yield stage


@pytest.fixture
async def producer(server: LossyRedis, run_python: RunPython) -> PythonProcess:
    """Has stored the chunks that the server will keep."""
    process = await run_python(PRODUCE, server.url, "chat", "restart")
    assert "claimed" == await process.line()
    await _publish(process, KEPT)
    server.mark()
    return process


async def _publish(process: PythonProcess, chunks: int) -> None:
    await process.send(f"publish {chunks}")
    assert "ok" == await process.line()


async def _lose(stage: Stage, server: LossyRedis, producer: PythonProcess) -> Lost:
    await _publish(producer, READ - KEPT)
    reading = stage.hub(CONFIG)
    stream = await reading.get("chat")
    assert stream is not None
    chunks = await taken(stream.subscribe(), READ)
    producer.signal(signal.SIGKILL)
    await producer.wait()
    await asyncio.to_thread(server.lose)
    return Lost(stage, server, chunks)


@pytest.fixture
async def lost(stage: Stage, server: LossyRedis, producer: PythonProcess) -> Lost:
    return await _lose(stage, server, producer)


# Shorter than what was read, just as long, longer.
@pytest.mark.parametrize("more", [10, READ - KEPT, 30])
@pytest.mark.parametrize("read", [KEPT - 1, KEPT, KEPT + 1, READ])
async def test_g3_who_resumes_in_what_was_lost_is_told_and_who_resumes_before_it_reads_on(
    lost: Lost, more: int, read: int
) -> None:
    """Another producer wrote other chunks in the place of the lost ones: a cursor of a chunk that
    the log still has goes on, one of a lost chunk raises ``StreamReplaced``."""
    text = await lost.continue_with(more)
    stream = await lost.stream(lost.stage.hub(CONFIG))
    received = ""
    try:
        async with bounded(LEASE + 5.0):
            async for chunk in stream.subscribe(after=lost.cursor(read)):
                received += chunk.data
    except StreamReplaced:
        outcome = "replaced"
    else:
        outcome = "read on"
    assert (outcome, received) == (
        ("read on", text.removeprefix(lost.text(read))) if read <= KEPT else ("replaced", "")
    )


async def test_g3_an_event_source_that_read_what_was_lost_is_reset(
    lost: Lost, open_client: Open
) -> None:
    """Its ``Last-Event-ID`` names a lost chunk: ``reset``, then the whole text as it is now."""
    text = await lost.continue_with(30)
    client = await open_client(create_app(lost.stage.hub(CONFIG)))
    told: list[str] = []
    shown = await event_source(
        client, path_of("chat"), lost.text(READ), str(lost.cursor(READ)), told.append
    )
    assert (text, ["reset", "end"]) == (shown, told)


async def test_g3_no_face_glues_what_was_lost_to_what_is_there(
    lost: Lost, open_client: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """NDJSON says ``reset``; plain text, which cannot, breaks off; ``tail`` exits with the code
    for a replaced stream; threads get ``StreamReplaced``."""
    # That a response breaks off is an error to its server.
    caplog.set_level("CRITICAL", "uvicorn.error")
    text = await lost.continue_with(30)
    after = str(lost.cursor(READ))
    client = await open_client(create_app(lost.stage.hub(CONFIG)))

    answer = await client.get(path_of("chat"), params={"format": "ndjson", "after": after})
    first, *rest = lines(answer.content)
    assert "reset" == first.get("status")
    assert text == "".join(line["data"] for line in rest[:-1])

    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(path_of("chat"), params={"format": "text", "after": after})

    tail = await cli("tail", "chat", "--after", after, url=lost.url)
    assert (6, "") == (tail.code, tail.out)

    assert "StreamReplaced" == await asyncio.to_thread(_in_a_thread, lost.url, after)


def _in_a_thread(url: str, after: str) -> str:
    with streamhub.sync.Hub.from_url(url, config=CONFIG) as hub:
        stream = hub.get("chat", wait=patience(BOUND))
        assert stream is not None
        try:
            return "".join(chunk.data for chunk in stream.subscribe(after=after))
        except StreamHubError as error:
            return type(error).__name__


async def test_g3_readers_that_stayed_are_told_too(
    stage: Stage, server: LossyRedis, producer: PythonProcess
) -> None:
    """Open all the while, in one process: who had read lost chunks raises; one that lags ends with
    the text as it is now, too."""
    await _publish(producer, READ - KEPT)
    hub = stage.hub(CONFIG)
    stream = await hub.get("chat")
    assert stream is not None
    ahead = stream.subscribe()
    chunks = await taken(ahead, READ)
    waiting = asyncio.create_task(_outcome(ahead))
    lagging = asyncio.create_task(
        reader(hub, "chat", "".join(chunk.data for chunk in chunks[:50]), chunks[49].cursor)
    )
    producer.signal(signal.SIGKILL)
    await producer.wait()
    await asyncio.to_thread(server.lose)
    lost = Lost(stage, server, chunks)

    text = await lost.continue_with(30)

    # Lost first, where it came to hear of that before the other took over.
    outcome = await waiting
    if outcome == "ProducerLost":
        outcome = await _outcome(stream.subscribe(after=ahead.cursor))
    assert "StreamReplaced" == outcome
    async with bounded(BOUND):
        assert text == await lagging


async def _outcome(subscription: Subscription) -> str:
    try:
        async with bounded(BOUND):
            return "".join([chunk.data async for chunk in subscription])
    except StreamHubError as error:
        return type(error).__name__


@pytest.mark.parametrize("lapsed", [False, True])
async def test_g4_an_event_source_beyond_the_end_waits_for_the_verdict(
    lost: Lost, open_client: Open, lapsed: bool
) -> None:
    """It asks before another producer has continued: never a 400, upon which it would stop for
    good; once another has continued, it is reset."""
    if lapsed:
        await lost.lapse()
    client = await open_client(create_app(lost.stage.hub(CONFIG)))
    told: list[str] = []
    showing = asyncio.create_task(
        event_source(client, path_of("chat"), lost.text(READ), str(lost.cursor(READ)), told.append)
    )
    await _asked_once(lost, showing)
    text = await lost.continue_with(30)
    async with bounded(BOUND):
        assert text == await showing
    assert "reset" in told


@pytest.mark.parametrize("lapsed", [False, True])
async def test_g4_a_reader_beyond_the_end_waits_for_the_verdict(lost: Lost, lapsed: bool) -> None:
    """In Python: ``ProducerLost`` while nobody continues, never ``InvalidCursor``; the loop that
    goes on at the error's cursor ends with the new text."""
    if lapsed:
        await lost.lapse()
    told: list[str] = []
    reading = asyncio.create_task(
        reader(lost.stage.hub(CONFIG), "chat", lost.text(READ), lost.cursor(READ), told.append)
    )
    await _asked_once(lost, reading)
    text = await lost.continue_with(10)
    async with bounded(BOUND):
        assert text == await reading
    assert "StreamReplaced" in told


async def _asked_once(lost: Lost, asking: asyncio.Task[str]) -> None:
    """Return when somebody listens to the session; raises what the one who asks has raised."""

    async def listens() -> bool:
        return asking.done() or bool(await lost.stage.client.pubsub_channels("*:live"))

    await until(listens)
    if asking.done():
        await asking


async def test_g4_a_cursor_beyond_the_end_of_a_dead_producers_log_hears_that_it_is_lost(
    lost: Lost,
) -> None:
    """Within lease and five seconds: the producer might have put the chunks back until then."""
    await lost.lapse()
    stream = await lost.stream(lost.stage.hub(CONFIG))
    with pytest.raises(ProducerLost) as raised:
        async with bounded(LEASE + 5.0):
            await anext(stream.subscribe(after=lost.cursor(READ)))
    assert lost.cursor(READ) == raised.value.cursor


@pytest.mark.parametrize("end", ["cancelled", "removed"])
async def test_g4_a_cursor_beyond_the_end_of_a_log_that_ends_gets_a_verdict(
    lost: Lost, end: str
) -> None:
    """The lost session is cancelled, or removed: who read further hears of it, and of no mistake
    of his own."""
    stream = await lost.stream(lost.stage.hub(CONFIG))
    outcome = asyncio.create_task(_verdict(stream, lost.cursor(READ)))
    await lost.lapse()
    await (lost.hub.remove("chat") if end == "removed" else stream.cancel(wait=patience(BOUND)))
    async with bounded(LEASE + 5.0):
        verdict = await outcome
    assert verdict in ("", "StreamReplaced", *(["SessionNotFound"] if end == "removed" else []))


async def _verdict(stream: LiveStream, after: Cursor) -> str:
    """How reading ends; a producer that is lost is waited for."""
    while True:
        try:
            return "".join([chunk.data async for chunk in stream.subscribe(after=after)])
        except ProducerLost:
            await asyncio.sleep(0.05)
        except StreamHubError as error:
            return type(error).__name__


async def test_g7_a_cursor_beyond_the_end_waits_for_a_producer_that_lives(
    stage: Stage, server: LossyRedis, producer: PythonProcess, open_client: Open
) -> None:
    """It puts back what the store has lost, and everybody who comes meanwhile reads on: in Python
    and over HTTP, at the end and beyond it."""
    await _publish(producer, READ - KEPT)
    hub = stage.hub(CONFIG)
    stream = await hub.get("chat")
    assert stream is not None
    chunks = await taken(stream.subscribe(), READ)
    client = await open_client(create_app(stage.hub(CONFIG)))
    await asyncio.to_thread(server.lose)

    offsets = (1, KEPT, READ)
    texts = ["".join(chunk.data for chunk in chunks[:offset]) for offset in offsets]
    cursors = [chunks[offset - 1].cursor for offset in offsets]
    told: list[str] = []
    reading = [
        *(
            asyncio.create_task(reader(stage.hub(CONFIG), "chat", text, after, told.append))
            for text, after in zip(texts, cursors, strict=True)
        ),
        *(
            asyncio.create_task(
                event_source(client, path_of("chat"), text, str(after), told.append)
            )
            for text, after in zip(texts, cursors, strict=True)
        ),
    ]
    await _publish(producer, 1)
    await producer.send("close")
    expected = "".join(f"<{n + 1}>" for n in range(READ + 1))
    async with bounded(BOUND):
        assert [expected] * len(reading) == await asyncio.gather(*reading)
    assert {"end"} == set(told)
