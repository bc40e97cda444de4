"""A thread cannot be interrupted: how a cancel reaches it."""

from __future__ import annotations

import threading

import pytest

from streamhub import (
    Status,
    StreamClosed,
)
from streamhub.sync import Hub
from streamhub.testing.waiting import patience

from .scene import Logged, joined, produce, reader


def test_g9_a_cancel_ends_the_block_at_its_next_publish(
    hub: Hub, elsewhere: Hub, session_id: str
) -> None:
    """Without ``on_cancel`` the stream ends at once; the thread learns it when it writes, and
    leaves the block without an error."""
    stream = produce(hub, session_id, "a")
    caught: list[StreamClosed] = []
    with stream:
        status = reader(elsewhere, session_id).cancel(wait=patience())
        for _ in range(2):
            try:
                stream.publish("b")
            except StreamClosed as error:
                caught.append(error)
        stream.publish("c")
        pytest.fail("the block went on")  # type: ignore[unreachable,unused-ignore]

    assert Status.CANCELLED is status
    assert [Status.CANCELLED] * 2 == [error.status for error in caught]
    assert "a" == joined(reader(elsewhere, session_id).subscribe())


def test_g9_a_block_that_never_writes_again_ends_quietly(hub: Hub, session_id: str) -> None:
    """Leaving the block of a stream that was cancelled is no error."""
    with produce(hub, session_id) as stream:
        stream.cancel(wait=patience())

    assert Status.CANCELLED is stream.info().status


def test_g9_another_error_after_a_cancel_passes_on(hub: Hub, session_id: str) -> None:
    """A cancel hides nothing but its own ``StreamClosed``."""
    stream = produce(hub, session_id)
    with pytest.raises(ZeroDivisionError), stream:
        stream.cancel(wait=patience())
        raise ZeroDivisionError

    assert Status.CANCELLED is stream.info().status


def test_g9_on_cancel_may_block(hub: Hub, elsewhere: Hub, session_id: str) -> None:
    """It runs once, in a thread that holds nobody else, and the producer ends by itself."""
    called, go_on = threading.Event(), threading.Event()
    threads: list[str] = []

    def on_cancel() -> None:
        threads.append(threading.current_thread().name)
        called.set()
        assert go_on.wait(patience())

    stream, _ = hub.register(session_id, on_cancel)
    with stream:
        for _ in range(2):
            assert Status.ACTIVE is reader(elsewhere, session_id).cancel()
        assert called.wait(patience())
        stream.publish("the last word")
        stream.flush()
        go_on.set()

    assert Status.CANCELLED is stream.wait(patience())
    assert "the last word" == joined(stream.subscribe())
    assert 1 == len(threads)
    assert "streamhub" != threads[0]


def test_g9_a_failing_on_cancel_is_logged(hub: Hub, session_id: str, logged: Logged) -> None:
    """The stream ends as cancelled all the same."""

    def on_cancel() -> None:
        raise ZeroDivisionError

    stream, _ = hub.register(session_id, on_cancel)
    with stream:
        stream.cancel()
        assert "ZeroDivisionError" == logged.get(timeout=patience())

    assert Status.CANCELLED is stream.wait(patience())
