"""Sources drawn from in threads."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future

import pytest

import streamhub
from streamhub import (
    End,
    ProducerFailed,
    Status,
    StreamClosed,
    sync,
)
from streamhub.sync import Hub, LiveStream
from streamhub.testing.waiting import patience

from .scene import Logged, joined, produce


async def _tokens() -> AsyncIterator[str]:
    yield "a"
    yield "b"


def _publishes(stream: LiveStream) -> None:
    stream.publish("a")
    stream.publish("b")


async def _publishes_async(stream: streamhub.LiveStream) -> None:
    await stream.publish("a")
    await stream.publish("b")


SOURCES: dict[str, Callable[[], sync.Source]] = {
    "list": lambda: ["a", "b"],
    "generator": lambda: (text for text in "ab"),
    "function": lambda: _publishes,
    "async generator": _tokens,
    "async function": lambda: _publishes_async,
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_run_publishes_every_kind_of_source(
    hub: Hub, session_id: str, source: Callable[[], sync.Source]
) -> None:
    """All that a source holds is published in the background, and then the stream is finished."""
    stream = hub.run(session_id, source())

    assert "ab" == joined(stream.subscribe())
    assert Status.FINISHED is stream.wait(patience())


def test_run_refuses_what_is_no_source(hub: Hub, session_id: str) -> None:
    """It says so before anything is claimed."""
    for nothing in ("text", 1, _tokens):
        with pytest.raises(TypeError, match="source must be"):
            hub.run(session_id, nothing)  # type: ignore[arg-type]

    assert None is hub.get(session_id)


def test_run_closes_a_source_that_is_not_needed(hub: Hub, session_id: str) -> None:
    """Where somebody owns the session the handle reads, and the source is closed unused."""

    class Tokens(list[str]):
        closed = False

        def close(self) -> None:
            self.closed = True

    produce(hub, session_id)
    tokens = Tokens("ab")
    stream = hub.run(session_id, tokens)

    assert None is stream.generation
    assert tokens.closed


def test_run_gives_the_source_its_callers_context(hub: Hub, session_id: str) -> None:
    """Context variables reach into the thread of a source."""
    variable = contextvars.ContextVar("variable", default="nothing")
    variable.set("the caller's")

    def source(stream: LiveStream) -> None:
        stream.publish(variable.get())

    assert "the caller's" == joined(hub.run(session_id, source).subscribe())


def test_g9_a_cancel_reaches_the_function_when_it_publishes(hub: Hub, session_id: str) -> None:
    """The stream has ended by then, however long the function blocks."""
    cancelled = threading.Event()
    outcome: Future[Status] = Future()

    def source(stream: LiveStream) -> None:
        stream.publish("a")
        assert cancelled.wait(patience())
        try:
            stream.publish("b")
        except StreamClosed as error:
            outcome.set_result(error.status)
            raise

    stream = hub.run(session_id, source)
    assert "a" == next(stream.subscribe()).data
    assert Status.CANCELLED is stream.cancel(wait=patience())
    cancelled.set()

    assert Status.CANCELLED is outcome.result(patience())
    assert "a" == joined(stream.subscribe())


def test_a_failure_after_a_cancel_is_logged(hub: Hub, session_id: str, logged: Logged) -> None:
    """A function that was left behind does not fail in silence."""
    begun, cancelled = threading.Event(), threading.Event()

    def source(stream: LiveStream) -> None:
        begun.set()
        assert cancelled.wait(patience())
        raise ZeroDivisionError

    stream = hub.run(session_id, source)
    assert begun.wait(patience())
    stream.cancel(wait=patience())
    cancelled.set()

    assert "ZeroDivisionError" == logged.get(timeout=patience())


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("oh"), SystemExit("oh"), KeyboardInterrupt("oh")]
)
def test_a_failing_function_fails_its_stream_alone(
    hub: Hub, session_id: str, error: BaseException
) -> None:
    """Whatever it raises, the hub and its other streams go on."""

    def source(stream: LiveStream) -> None:
        raise error

    other = produce(hub, f"{session_id}:other")
    with pytest.raises(ProducerFailed, match=f"{type(error).__name__}: oh"):
        joined(hub.run(session_id, source).subscribe())
    other.publish("a")
    other.close()

    assert "a" == other.text()


def test_an_async_function_cannot_hide(hub: Hub, session_id: str) -> None:
    """A function that hands back a coroutine fails its stream: nothing would ever run that."""

    def source(stream: LiveStream) -> object:
        return _publishes_async(stream)  # type: ignore[arg-type]

    with pytest.raises(ProducerFailed, match="hand in an async function"):
        joined(hub.run(session_id, source).subscribe())


def test_the_hubs_own_event_loop_cannot_wait_for_it(hub: Hub, session_id: str) -> None:
    """A call from there would wait for itself: it raises instead."""

    async def source(stream: streamhub.LiveStream) -> None:
        hub.get(session_id)

    with pytest.raises(ProducerFailed, match="own event loop"):
        joined(hub.run(session_id, source).subscribe())


def test_the_end_is_told_in_a_thread_that_may_block(hub: Hub, session_id: str) -> None:
    """``on_end`` runs beside the event loop; closing the hub waits for it."""
    told: list[tuple[End, str]] = []

    def save(end: End) -> None:
        told.append((end, threading.current_thread().name))

    hub.run(session_id, ["a", "b"], on_end=save).wait(patience())
    hub.close()

    ((end, thread),) = told
    assert ("ab", Status.FINISHED) == (end.text, end.status)
    assert "streamhub" != thread
