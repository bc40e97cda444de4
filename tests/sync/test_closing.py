"""Closing a hub that other threads use."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

import streamhub
from streamhub import (
    HubClosed,
    Status,
)
from streamhub.sync import Hub
from streamhub.testing.waiting import PATIENCE

from .scene import on_redis, produce, reader, start


def test_close_releases_all_who_wait(hub: Hub, session_id: str) -> None:
    """Threads that iterate, wait for an end or for a session raise ``HubClosed``."""
    stream = produce(hub, session_id, "a")
    subscriptions = [stream.subscribe() for _ in range(3)]
    for subscription in subscriptions:
        next(subscription)
    waiting: list[Future[object]] = [
        *(start(lambda each=each: next(each)) for each in subscriptions),  # type: ignore[misc]
        start(stream.wait),
        start(lambda: hub.get("nobody", wait=PATIENCE)),
    ]
    closing = [start(hub.close) for _ in range(3)]

    for close in closing:
        close.result(PATIENCE)
    for each in waiting:
        with pytest.raises(HubClosed):
            each.result(PATIENCE)


@pytest.mark.parametrize("url", ["memory"], indirect=True)
def test_nobody_waits_for_an_event_loop_that_is_gone(hub: Hub, session_id: str) -> None:
    """What ends the event loop itself, as ``SystemExit`` does, is the end of the hub for all."""
    begun = threading.Event()

    async def source(stream: streamhub.LiveStream) -> None:
        await asyncio.to_thread(begun.wait, PATIENCE)
        raise SystemExit

    stream = produce(hub, f"{session_id}:other", "a")
    subscription = stream.subscribe()
    next(subscription)
    waiting: list[Future[object]] = [
        start(lambda: next(subscription)),
        start(lambda: hub.get("nobody", wait=PATIENCE)),
    ]
    hub.run(session_id, source)
    begun.set()

    for each in waiting:
        with pytest.raises(HubClosed):
            each.result(PATIENCE)
    with pytest.raises(HubClosed):
        stream.publish("b")


def test_nothing_works_after_close(hub: Hub, session_id: str) -> None:
    """Every call says that the hub is closed; closing things again does not."""
    stream = produce(hub, session_id, "a")
    subscription = stream.subscribe()
    hub.close()
    hub.close()
    subscription.close()
    calls: list[Callable[[], object]] = [
        lambda: hub.register(session_id),
        lambda: hub.run(session_id, ["a"]),
        lambda: hub.get(session_id),
        lambda: list(hub.sessions()),
        lambda: stream.publish("b"),
        stream.subscribe,
        lambda: next(stream.subscribe()),
    ]

    for call in calls:
        with pytest.raises(HubClosed):
            call()


def test_a_hub_that_was_never_used_closes(url: str) -> None:
    """Also by its block."""
    Hub.from_url(url).close()
    with Hub.from_url(url):
        pass


@on_redis
def test_close_stores_what_was_published(url: str, session_id: str) -> None:
    """G5: a block that outlives its hub loses nothing, and leaves the session to others."""
    with Hub.from_url(url) as elsewhere:
        hub = Hub.from_url(url)
        stream, _ = hub.register(session_id)
        with stream:
            for n in range(100):
                stream.publish(f"{n} ")
            hub.close()
        left = reader(elsewhere, session_id)

        assert "".join(f"{n} " for n in range(100)) == left.text()
        assert Status.LOST is left.info().status
