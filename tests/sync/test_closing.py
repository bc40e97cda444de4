"""Closing a hub that other threads use."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

import streamhub
from streamhub import (
    HubClosed,
    Status,
)
from streamhub.sync import Hub, LiveStream
from streamhub.testing.waiting import patience

from .scene import on_redis, produce, reader, start


def test_close_releases_all_who_wait(hub: Hub, session_id: str) -> None:
    """Threads that iterate or wait for a session raise ``HubClosed``, and so do those that wait for
    an end, unless they hear first that the hub has released the stream."""
    stream = produce(hub, session_id, "a")
    subscriptions = [stream.subscribe() for _ in range(3)]
    for subscription in subscriptions:
        next(subscription)
    waiting: list[Future[object]] = [
        *(start(lambda each=each: next(each)) for each in subscriptions),  # type: ignore[misc]
        start(lambda: hub.get("nobody", wait=patience())),
    ]
    ending = start(stream.wait)
    closing = [start(hub.close) for _ in range(3)]

    for close in closing:
        close.result(patience())
    *iterating, getting = waiting
    for each in iterating:
        with pytest.raises(HubClosed):
            each.result(patience())
    with pytest.raises(HubClosed):
        getting.result(patience())
    if not isinstance(ending.exception(patience()), HubClosed):
        assert Status.LOST is ending.result()


@pytest.mark.parametrize("url", ["memory"], indirect=True)
def test_nobody_waits_for_an_event_loop_that_is_gone(hub: Hub, session_id: str) -> None:
    """What ends the event loop itself, as ``SystemExit`` does, is the end of the hub for all."""
    begun = threading.Event()

    async def source(stream: streamhub.LiveStream) -> None:
        await asyncio.to_thread(begun.wait, patience())
        raise SystemExit

    stream = produce(hub, f"{session_id}:other", "a")
    subscription = stream.subscribe()
    next(subscription)
    waiting: list[Future[object]] = [
        start(lambda: next(subscription)),
        start(lambda: hub.get("nobody", wait=patience())),
    ]
    hub.run(session_id, source)
    begun.set()

    for each in waiting:
        with pytest.raises(HubClosed):
            each.result(patience())
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


@pytest.mark.parametrize("kind", ["iterable", "function"])
def test_a_source_may_go_on_to_its_end_while_its_hub_drains(
    hub: Hub, session_id: str, kind: str
) -> None:
    """It publishes meanwhile, and is not stopped; nothing can be claimed any more."""
    begun, may_end, ended = (threading.Event() for _ in range(3))

    def iterable() -> Iterator[str]:
        yield "a"
        begun.set()
        may_end.wait(patience())
        yield "b"
        ended.set()

    def function(stream: LiveStream) -> None:
        for chunk in iterable():
            stream.publish(chunk)

    hub.run(session_id, iterable() if kind == "iterable" else function)
    begun.wait(patience())
    closing = start(lambda: hub.close(drain=patience()))
    while True:
        # Until the drain has begun it is a claim like any other.
        try:
            hub.register("other")
        except HubClosed:
            break
    may_end.set()

    closing.result(patience())
    assert ended.is_set()
    with pytest.raises(HubClosed):
        hub.get(session_id)


def test_a_drain_that_is_no_time_is_refused(hub: Hub, session_id: str) -> None:
    """And the hub goes on."""
    with pytest.raises(ValueError, match="drain must be a number of seconds"):
        hub.close(drain=-1)
    assert hub.get(session_id) is None
