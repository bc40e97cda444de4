"""The three kinds of source that ``run`` takes."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from streamhub import Hub, InvalidChunk, LiveStream, ProducerFailed, Status
from streamhub.testing.waiting import patience

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


async def test_an_async_iterable_is_published(hub: Hub, session_id: str) -> None:
    """Each item becomes a chunk, and its end is the stream's."""

    async def answer() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    stream = await hub.run(session_id, answer())

    assert Status.FINISHED is await stream.wait(5)
    assert ["a", "b"] == [chunk.data async for chunk in stream.subscribe()]


async def test_an_async_function_publishes_itself(hub: Hub, session_id: str) -> None:
    """It is given the stream, and may do with it what a producer may."""

    async def answer(stream: LiveStream) -> None:
        await stream.publish("a", event="delta")
        await stream.set_metadata({"tokens": 1})

    stream = await hub.run(session_id, answer)

    assert Status.FINISHED is await stream.wait(5)
    assert {"tokens": 1} == await stream.metadata()


async def test_a_sync_iterable_is_drawn_in_a_thread_of_its_own(hub: Hub, session_id: str) -> None:
    """It may block without holding the event loop, sees the caller's context, and is closed
    in its thread."""
    gate = threading.Event()
    seen: list[Any] = []

    def answer() -> Iterator[str]:
        try:
            seen.append((threading.get_ident(), VARIABLE.get()))
            yield "a"
            gate.wait(10)
            yield "b"
        finally:
            seen.append(threading.get_ident())

    VARIABLE.set("mine")
    stream = await hub.run(session_id, answer())
    async with stream.subscribe() as subscription:
        assert "a" == (await anext(subscription)).data
        gate.set()
        assert "b" == (await anext(subscription)).data

    assert Status.FINISHED is await stream.wait(5)
    (thread, variable), closed_in = seen
    assert thread == closed_in != threading.get_ident()
    assert "mine" == variable


async def test_many_blocking_sources_do_not_wait_for_each_other(hub: Hub, session_id: str) -> None:
    """Every sync source has its thread: no pool runs dry."""
    together = threading.Barrier(50)

    def answer() -> Iterator[str]:
        together.wait(patience())
        yield "a"

    streams = [await hub.run(f"{session_id}-{n}", answer()) for n in range(50)]

    assert [Status.FINISHED] * 50 == [await stream.wait(patience()) for stream in streams]


async def test_an_endless_sync_source_is_drawn_only_so_far_ahead(hub: Hub, session_id: str) -> None:
    """A fast generator does not fill the memory; a cancel stops and closes it."""
    closed = threading.Event()

    def answer() -> Iterator[str]:
        try:
            while True:
                yield "x" * 1000
        finally:
            closed.set()

    stream = await hub.run(session_id, answer())
    async with stream.subscribe() as subscription:
        await anext(subscription)

    assert Status.CANCELLED is await stream.cancel(wait=10)
    assert await asyncio.to_thread(closed.wait, 10)


@pytest.mark.parametrize("kind", ["async", "sync", "function"])
async def test_an_error_of_the_source_fails_the_stream(
    hub: Hub, session_id: str, kind: str
) -> None:
    """Subscribers get what came before, then the error's type and message."""

    async def async_source() -> AsyncIterator[str]:
        yield "a"
        raise RuntimeError("no more tokens")

    def sync_source() -> Iterator[str]:
        yield "a"
        raise RuntimeError("no more tokens")

    async def function(stream: LiveStream) -> None:
        await stream.publish("a")
        raise RuntimeError("no more tokens")

    sources: dict[str, Any] = {
        "async": async_source(),
        "sync": sync_source(),
        "function": function,
    }
    stream = await hub.run(session_id, sources.pop(kind))
    await asyncio.gather(
        *(source.aclose() for source in sources.values() if hasattr(source, "aclose"))
    )

    received: list[str] = []

    async def read() -> None:
        async for chunk in stream.subscribe():
            received.append(chunk.data)

    with pytest.raises(ProducerFailed) as caught:
        await read()
    assert ["a"] == received
    assert "RuntimeError: no more tokens" == caught.value.error


async def test_an_item_that_is_no_text_fails_the_stream(hub: Hub, session_id: str) -> None:
    """The error says what was expected; what came before stays."""
    items: Any = ["a", 5]
    stream = await hub.run(session_id, items)

    assert Status.FAILED is await stream.wait(5)
    error = str((await stream.info()).error)
    assert "the item at index 1 of source list must be str or one of streamhub.parts" in error
    assert "(None is skipped), not int" in error
    assert "a" == await stream.text()


@pytest.mark.parametrize("source", ["text", b"bytes", 5, None])
async def test_what_is_no_source_is_refused(hub: Hub, session_id: str, source: Any) -> None:
    """A str would be published letter by letter: that is never what was meant."""
    with pytest.raises(TypeError, match="source must be"):
        await hub.run(session_id, source)

    assert await hub.get(session_id) is None


async def test_a_generator_function_that_was_not_called_is_refused(
    hub: Hub, session_id: str
) -> None:
    """The error says what to do."""

    async def answer() -> AsyncIterator[str]:
        yield "a"

    uncalled: Any = answer
    with pytest.raises(TypeError, match="call the generator function"):
        await hub.run(session_id, uncalled)


async def test_an_unneeded_source_is_closed_unused(hub: Hub, session_id: str) -> None:
    """Where somebody owns the session, nothing is drawn, whatever the kind of source."""
    owner, created = await hub.register(session_id)
    closed: list[str] = []

    class Source:
        def __init__(self, name: str) -> None:
            self.name = name

    class AsyncSource(Source):
        def __aiter__(self) -> AsyncIterator[str]:
            raise AssertionError("it was drawn from")

        async def close(self) -> None:
            closed.append(self.name)

    class SyncSource(Source):
        def __iter__(self) -> Iterator[str]:
            raise AssertionError("it was drawn from")

        def close(self) -> None:
            closed.append(self.name)

    for source in (AsyncSource("async"), SyncSource("sync")):
        stream = await hub.run(session_id, source)
        assert stream.generation is None

    assert created
    assert ["async", "sync"] == closed
    await owner.close()


async def _async(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def _sync(items: list[Any]) -> Iterator[Any]:
    yield from items


DRAWN = pytest.mark.parametrize("drawn", [_async, _sync])


@DRAWN
async def test_none_and_empty_text_are_skipped(hub: Hub, session_id: str, drawn: Any) -> None:
    """Models send them in between, and as their last delta: they are no chunks."""
    stream = await hub.run(session_id, drawn(["a", None, "", "b", None]))

    assert Status.FINISHED is await stream.wait(5)
    assert ["a", "b"] == [chunk.data async for chunk in stream.subscribe()]


@DRAWN
@pytest.mark.parametrize("item", [5, b"a", False, 0, ["a"], {"delta": "a"}])
async def test_any_other_item_is_named(hub: Hub, session_id: str, drawn: Any, item: object) -> None:
    """With its type, its index among all items, and the source's name; what came before stays."""
    stream = await hub.run(session_id, drawn(["a", None, item, "b"]))

    assert Status.FAILED is await stream.wait(5)
    error = str((await stream.info()).error)
    assert f"the item at index 2 of source {drawn.__name__} must be str" in error
    assert f"not {type(item).__name__}" in error
    assert "a" == await stream.text()


@DRAWN
async def test_lone_surrogates_of_a_source_are_replaced(
    hub: Hub, session_id: str, drawn: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """By U+FFFD; two that make a character together are it. One warning a stream, and none that
    holds the text."""
    stream = await hub.run(session_id, drawn(["a\ud83db", "\ud83d\ude00", "secret\udc80", "c"]))

    assert Status.FINISHED is await stream.wait(5)
    assert "a\ufffdb\U0001f600secret\ufffdc" == await stream.text()
    (warning,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert "index 0" in warning
    assert session_id in warning
    assert "secret" not in warning


async def test_publish_by_hand_refuses_lone_surrogates(hub: Hub, session_id: str) -> None:
    """Whoever publishes knows best what is meant."""
    stream, _ = await hub.register(session_id)

    with pytest.raises(InvalidChunk):
        await stream.publish("\ud83d")


@pytest.mark.parametrize("kind", ["async", "sync", "function"])
async def test_a_failing_source_is_logged_once(
    hub: Hub, session_id: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At ERROR, with the traceback that leads into it."""

    async def async_source() -> AsyncIterator[str]:
        yield "a"
        raise RuntimeError("no more tokens")

    def sync_source() -> Iterator[str]:
        yield "a"
        raise RuntimeError("no more tokens")

    async def function(stream: LiveStream) -> None:
        raise RuntimeError("no more tokens")

    make: dict[str, Any] = {
        "async": async_source,
        "sync": sync_source,
        "function": lambda: function,
    }
    stream = await hub.run(session_id, make[kind]())
    assert Status.FAILED is await stream.wait(5)
    await hub.aclose()

    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert (logging.ERROR, True) == (record.levelno, session_id in record.getMessage())
    assert record.exc_info is not None
    frames = [frame.name for frame in traceback.extract_tb(record.exc_info[2])]
    assert {"async": "async_source", "sync": "sync_source", "function": "function"}[kind] in frames
