"""What is drawn from the stream of a provider, whose client may be async or sync, and how it is
closed: in every case, so that nobody pays for what nobody reads."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import pytest

from streamhub import Hub, ProducerFailed, ProviderFailed, Status, parts
from streamhub.parts import AnyPart
from streamhub.sources import ProviderStream
from streamhub.sync import Hub as SyncHub
from streamhub.testing.waiting import patience, within


class Upper:
    """Events are text; the end is a part."""

    def translate(self, event: Any) -> Iterable[str | AnyPart]:
        yield event.upper()

    def end(self) -> Iterable[str | AnyPart]:
        yield parts.FinishStep()


class Response:
    """What an async client gives: it says two words, and then nothing more."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.silent = asyncio.Event()
        self._words = ["a", "b"]

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        if self._words:
            return self._words.pop(0)
        self.silent.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def close(self) -> None:
        self.closed.set()


class Silent:
    """What a sync client gives: it says what it got, and reads on from a socket that says no more.

    Reads as the clients do: in a method of something that has its ``_sock``.
    """

    def __init__(self, *words: str) -> None:
        self._sock, self._other = socket.socketpair()
        self._words = [*words]
        self.reading = threading.Event()
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._words:
            return self._words.pop(0)
        self.reading.set()
        self._sock.recv(1)
        raise ConnectionError("the connection is gone")

    def close(self) -> None:
        self._sock.close()
        self._other.close()
        self.closed.set()


async def words(*all_: str) -> AsyncIterator[str]:
    for one in all_:
        yield one


async def test_text_and_parts_are_stored_as_they_come(session_id: str) -> None:
    """Text as plain chunks, and parts as chunks of the type ``ui``."""

    async def asked() -> AsyncIterator[str]:
        return words("a", "b")

    async with Hub() as hub:
        stream = await hub.run(session_id, ProviderStream(asked(), Upper()))

        read = [(chunk.event, chunk.data) async for chunk in stream.subscribe()]

    assert [(None, "A"), (None, "B"), ("ui", '{"type":"finish-step"}')] == read


@pytest.mark.parametrize("way", ["cancel", "close", "remove"])
async def test_a_stalled_provider_is_hung_up_on(session_id: str, way: str) -> None:
    """By a cancel, by the end of its hub, and where its session was taken away."""
    response = Response()
    async with Hub() as hub:
        stream = await hub.run(session_id, ProviderStream(response, Upper()))
        await within(response.silent.wait())
        match way:
            case "cancel":
                await stream.cancel(wait=5)
            case "remove":
                await hub.remove(session_id)
            case "close":
                await hub.aclose()
        await within(response.closed.wait())


@pytest.mark.parametrize("way", ["cancel", "close", "remove"])
async def test_a_blocked_read_is_torn(session_id: str, way: str) -> None:
    """A thread that waits for a provider that says nothing more is woken, and closes the response
    itself."""
    response = Silent("a")
    async with Hub() as hub:
        stream = await hub.run(session_id, ProviderStream(response, Upper()))
        assert await asyncio.to_thread(response.reading.wait, patience())
        match way:
            case "cancel":
                await stream.cancel(wait=5)
            case "remove":
                await hub.remove(session_id)
            case "close":
                await hub.aclose()
        assert await asyncio.to_thread(response.closed.wait, patience())


async def test_a_function_is_called_in_a_thread(session_id: str) -> None:
    """So that the request of a sync client holds nobody, and is made by who has the claim alone."""
    threads: list[str] = []

    def ask() -> list[str]:
        threads.append(threading.current_thread().name)
        return ["a"]

    async with Hub() as hub:
        stream = await hub.run(session_id, ProviderStream(ask, Upper()))
        again = await hub.run(session_id, ProviderStream(ask, Upper()))

        assert Status.FINISHED is await stream.wait(5)
        assert again.generation is None

    assert ["streamhub source"] == threads


async def test_a_response_that_comes_too_late_is_closed(session_id: str) -> None:
    """A function that returns after a cancel has opened a connection that somebody has to close."""
    asked, answer, response = threading.Event(), threading.Event(), Silent()

    def ask() -> Silent:
        asked.set()
        answer.wait(patience())
        return response

    async with Hub() as hub:
        stream = await hub.run(session_id, ProviderStream(ask, Upper()))
        assert await asyncio.to_thread(asked.wait, patience())
        await stream.cancel(wait=5)
        answer.set()
        assert await asyncio.to_thread(response.closed.wait, patience())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["coroutine", "task", "stream", "manager"])
async def test_what_is_not_used_is_closed(session_id: str, kind: str) -> None:
    """The session is somebody else's: an awaitable is not awaited, and nobody misses it."""
    response = Response()

    async def ask() -> Response:
        await response.closed.wait()
        return response

    class Manager:
        def __init__(self) -> None:
            self._request = ask()

        async def __aenter__(self) -> Response:
            raise AssertionError

        async def __aexit__(self, *error: object) -> None:
            raise AssertionError

    given: Any = {
        "coroutine": ask,
        "task": lambda: asyncio.ensure_future(ask()),
        "stream": lambda: response,
        "manager": Manager,
    }[kind]()
    async with Hub() as hub, (await hub.register(session_id))[0]:
        stream = await hub.run(session_id, ProviderStream(given, Upper()))

        assert stream.generation is None
        if kind == "stream":
            assert response.closed.is_set()
        if kind == "task":
            with pytest.raises(asyncio.CancelledError):
                await given
    del given
    gc.collect()


@pytest.mark.filterwarnings("error")
def test_a_loop_that_ends_at_once_closes_what_has_just_begun(session_id: str) -> None:
    """Nobody closed the hub."""
    responses: list[Response] = []

    async def main() -> None:
        responses.append(Response())
        await Hub().run(session_id, ProviderStream(responses[0], Upper()))

    asyncio.run(main())

    assert responses[0].closed.is_set()


def test_a_sync_hub_takes_it(session_id: str) -> None:
    """With the stream of a sync client, and with the request of an async one."""

    async def ask() -> AsyncIterator[str]:
        return words("b")

    with SyncHub() as hub:
        assert ["A"] == [
            chunk.data
            for chunk in hub.run(session_id, ProviderStream(["a"], Upper())).subscribe()
            if chunk.event is None
        ]
        assert ["B"] == [
            chunk.data
            for chunk in hub.run(f"{session_id}:2", ProviderStream(ask(), Upper())).subscribe()
            if chunk.event is None
        ]


async def test_a_failure_is_stored_by_its_kind(session_id: str) -> None:
    """Readers find it as ``kind``; what a connection says when it breaks is one, too."""

    async def broken() -> AsyncIterator[str]:
        yield "a"
        raise ConnectionResetError("gone")

    async with Hub() as hub:
        stream = await hub.run(session_id, ProviderStream(broken(), Upper()))
        with pytest.raises(ProducerFailed) as failed:
            [chunk async for chunk in stream.subscribe()]

    assert ("connection: ConnectionResetError: gone", "connection") == (
        failed.value.error,
        failed.value.kind,
    )


async def test_the_kind_is_none_of_what_fails_otherwise(session_id: str) -> None:
    """A bug of the application is no failure of a provider."""

    async def broken() -> AsyncIterator[str]:
        yield "a"
        raise ValueError("connection: no")

    async with Hub() as hub:
        stream = await hub.run(session_id, broken())
        with pytest.raises(ProducerFailed) as failed:
            [chunk async for chunk in stream.subscribe()]

    assert failed.value.kind is None


@pytest.mark.parametrize("given", [None, b"bytes", 7, object()])
async def test_what_no_client_gives_is_refused(given: object) -> None:
    """At once, or when nothing can be drawn from it."""
    with pytest.raises(TypeError, match="stream"):
        [item async for item in ProviderStream(given, Upper())]


def test_a_kind_is_one_of_the_known() -> None:
    """Others would not be found by a reader."""
    with pytest.raises(ValueError, match="kind must be one of authentication, connection"):
        ProviderFailed("broken", "no")  # type: ignore[arg-type]
