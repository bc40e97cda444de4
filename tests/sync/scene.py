"""What the tests of threads have in common: threads, sessions and waits."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeAlias, TypeVar

import pytest

from streamhub import (
    HubConfig,
)
from streamhub.sync import Hub, LiveStream, Subscription
from streamhub.testing.waiting import patience

T = TypeVar("T")
Logged: TypeAlias = "queue.SimpleQueue[str]"

#: A lease so long that nothing happens on its account.
CALM = HubConfig(lease=600.0)


on_redis = pytest.mark.parametrize("url", ["redis"], indirect=True)


def start(work: Callable[[], T]) -> Future[T]:
    """Call ``work`` in a thread of its own."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome


def produce(hub: Hub, session_id: str, *texts: str) -> LiveStream:
    """Claim a session and store the first chunks of it."""
    stream, created = hub.register(session_id)
    assert created
    for text in texts:
        stream.publish(text)
    stream.flush()
    return stream


def reader(hub: Hub, session_id: str) -> LiveStream:
    stream = hub.get(session_id, wait=patience())
    assert stream is not None
    return stream


def joined(subscription: Subscription) -> str:
    return "".join(chunk.data for chunk in subscription)
