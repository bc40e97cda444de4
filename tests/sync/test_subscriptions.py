"""Threads iterate."""

from __future__ import annotations

import threading

from streamhub import (
    Status,
)
from streamhub.sync import Hub
from streamhub.testing.waiting import patience

from .scene import joined, produce, start


def test_a_subscription_goes_on_at_its_cursor(hub: Hub, session_id: str) -> None:
    """``cursor`` is the last chunk handed out, whatever was fetched ahead of it."""
    stream = produce(hub, session_id, "a", "b", "c")
    with stream.subscribe() as subscription:
        assert None is subscription.cursor
        first, second = next(subscription), next(subscription)
        cursor = subscription.cursor
    stream.close()

    assert ("a", "b") == (first.data, second.data)
    assert second.cursor == cursor
    assert "c" == joined(stream.subscribe(after=cursor))
    assert "c" == joined(stream.subscribe(after=str(cursor)))
    assert ["abc"] == [chunk.data for chunk in stream.subscribe(batch_replay=True)]
    assert "" == joined(stream.subscribe(after="now"))


def test_chunks_that_are_ready_come_together(hub: Hub, session_id: str) -> None:
    """A reader that lags changes threads once for many chunks."""
    stream = hub.run(session_id, (f"{n} " for n in range(5000)))
    stream.wait(patience())
    subscription = stream.subscribe()
    takes = list(iter(subscription.take, []))

    assert "".join(f"{n} " for n in range(5000)) == "".join(c.data for take in takes for c in take)
    assert len(takes) <= 5000 / 50
    assert takes[-1][-1].cursor == subscription.cursor


def test_the_last_chunks_of_a_type_come(hub: Hub, session_id: str) -> None:
    """As to a task; the cursor goes on with those that are passed over."""
    stream = produce(hub, session_id, "a", "b")
    for n in range(5):
        stream.publish(f"{n}", event="status")
    stream.publish("c")
    stream.close()
    subscription = stream.subscribe(last=2, events=["status"])
    chunks = list(subscription)

    assert [("3", 6), ("4", 7)] == [(chunk.data, chunk.cursor.offset) for chunk in chunks]
    assert "c" == joined(stream.subscribe(after=chunks[-1].cursor))
    assert subscription.cursor is not None
    assert 8 == subscription.cursor.offset


def test_another_thread_ends_an_iteration(hub: Hub, session_id: str) -> None:
    """``close`` releases the thread that waits for the next chunk; it ends quietly."""
    stream = produce(hub, session_id, "a")
    subscription = stream.subscribe()
    seen = threading.Event()

    def read() -> list[str]:
        texts = []
        for chunk in subscription:
            texts.append(chunk.data)
            seen.set()
        return texts

    reading = start(read)
    assert seen.wait(patience())
    subscription.close()
    subscription.close()

    assert ["a"] == reading.result(patience())
    assert [] == list(subscription)
    assert Status.ACTIVE is stream.info().status


def test_opening_says_how_the_session_stands(hub: Hub, session_id: str) -> None:
    """``open`` finds the session before the first chunk, and takes none of them."""
    stream = hub.run(session_id, ["one", "two"])
    stream.wait()
    subscription = stream.subscribe()

    assert Status.FINISHED == subscription.open().status
    assert ["one", "two"] == [chunk.data for chunk in subscription]
