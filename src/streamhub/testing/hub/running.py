"""``run``, finding sessions, metadata, and G11: what a hub offers around its streams."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest

from ...chunks import Status
from ...config import HubConfig
from ...errors import HubClosed, InvalidMetadata, ProducerFailed
from ...hub import Hub, Source
from ...stores.base import Store
from ...stream import LiveStream
from ..backend import Backend
from ..waiting import patience, until, within
from .stage import CALM, Hubs, Stage, crash, drain, joined, produce, reader, stall

__all__ = ["RunningTests"]


@dataclass
class Model:
    """Metadata as an application has it."""

    model: str
    tokens: int = 0


class RunningTests(Stage):
    @pytest.mark.parametrize("kind", ["async iterable", "iterable", "function"])
    async def test_run_publishes_every_kind_of_source(
        self, hub: Hub, elsewhere: Hub, session: str, kind: str
    ) -> None:
        """What an async iterable yields, an iterable yields in a thread of its own, or an async
        function publishes becomes the stream, which is finished with it."""
        threads: list[int] = []

        async def drawn() -> AsyncIterator[str]:
            for text in ("a", "b"):
                await asyncio.sleep(0)
                yield text

        def blocking() -> Iterator[str]:
            threads.append(threading.get_ident())
            yield from ("a", "b")

        async def function(stream: LiveStream) -> None:
            await stream.publish("a")
            await stream.publish("b")

        sources: dict[str, Callable[[], Source]] = {
            "async iterable": drawn,
            "iterable": blocking,
            "function": lambda: function,
        }
        stream = await hub.run(session, sources[kind](), owner="me", metadata={"n": 1})
        assert stream.generation is not None
        other = await reader(elsewhere, session)
        assert "ab" == joined(await drain(other.subscribe()))
        info = await other.info()
        assert (Status.FINISHED, "me", {"n": 1}) == (info.status, info.owner, info.metadata)
        assert threading.get_ident() not in threads
        assert (kind == "iterable") is bool(threads)

    @pytest.mark.parametrize("status", [Status.FINISHED, Status.FAILED])
    async def test_a_source_may_end_its_stream_itself(
        self, hub: Hub, session: str, caplog: pytest.LogCaptureFixture, status: Status
    ) -> None:
        """A function that closes its stream, or fails it, goes on to its own end undisturbed."""
        went_on = asyncio.Event()

        async def source(stream: LiveStream) -> None:
            await (stream.close() if status is Status.FINISHED else stream.fail("in vain"))
            for _ in range(10):
                await asyncio.sleep(0)
            went_on.set()

        stream = await hub.run(session, source)
        await within(went_on.wait())
        assert status is await within(stream.wait())
        assert [] == caplog.messages

    @pytest.mark.parametrize("kind", ["async iterable", "iterable", "function"])
    async def test_a_source_that_raises_fails_its_stream(
        self, hub: Hub, elsewhere: Hub, session: str, kind: str
    ) -> None:
        """Subscribers get what came before the error, and then its type and message."""

        async def drawn() -> AsyncIterator[str]:
            yield "a"
            raise ValueError("it broke")

        def blocking() -> Iterator[str]:
            yield "a"
            raise ValueError("it broke")

        async def function(stream: LiveStream) -> None:
            await stream.publish("a")
            raise ValueError("it broke")

        sources: dict[str, Callable[[], Source]] = {
            "async iterable": drawn,
            "iterable": blocking,
            "function": lambda: function,
        }
        await hub.run(session, sources[kind]())
        subscription = (await reader(elsewhere, session)).subscribe()
        assert "a" == (await within(anext(subscription))).data
        with pytest.raises(ProducerFailed) as caught:
            await within(anext(subscription))
        assert "ValueError: it broke" == caught.value.error

    async def test_a_source_that_is_not_needed_is_closed_unused(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """Where somebody owns the session, run gives a reader's handle and closes its source."""
        owner = await produce(hub, session, ["a"])
        drawn: list[str] = []

        async def source() -> AsyncIterator[str]:
            drawn.append("async")
            yield "x"

        def blocking() -> Iterator[str]:
            drawn.append("sync")
            yield "x"

        unused, also_unused = source(), blocking()
        for each in (unused, also_unused):
            stream = await elsewhere.run(session, each)
            assert None is stream.generation
        assert [] == [text async for text in unused]
        assert [] == list(also_unused)
        assert [] == drawn
        await within(owner.close())
        assert "a" == joined(await drain(owner.subscribe()))

    async def test_get_knows_what_is_there(self, hub: Hub, elsewhere: Hub, session: str) -> None:
        """A session is found by every instance, before and after its end; others are None."""
        assert None is await elsewhere.get(session)
        assert None is await elsewhere.get(session, wait=0.01)
        stream = await produce(hub, session)
        for _ in range(2):
            found = await elsewhere.get(session, wait=patience())
            assert found is not None
            assert (session, None) == (found.session_id, found.generation)
            await within(stream.close())

    async def test_get_waits_for_the_session_to_be_claimed(
        self, hubs: Hubs, hub: Hub, session: str
    ) -> None:
        """Who asks for a session before its producer is there gets it with the claim."""
        early = [
            asyncio.create_task(within(hubs.open().get(session, wait=patience()))) for _ in range(3)
        ]
        await asyncio.sleep(0)
        stream = await produce(hub, session, ["a"])
        await within(stream.close())
        for found in await asyncio.gather(*early):
            assert found is not None
            assert "a" == joined(await drain(found.subscribe()))

    async def test_active_names_the_sessions_with_a_live_producer(
        self, hub: Hub, elsewhere: Hub, store: Store, session: str
    ) -> None:
        """Ended, lost and unknown sessions are not active."""
        ids = [f"{session}:{name}" for name in ("active", "ended", "lost", "unknown")]
        await produce(hub, ids[0])
        await (await produce(hub, ids[1])).close()
        await crash(store, ids[2])
        await stall(store, ids[2])
        assert {ids[0]} == await elsewhere.active(ids)

    async def test_sessions_lists_those_of_an_owner(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """Every session is listed with how it stands, on request those of one owner alone."""
        for n in range(6):
            await hub.register(f"{session}:{n}", owner=f"{session}:owner:{n % 2}", metadata=n)
        listed = [info async for info in elsewhere.sessions(owner=f"{session}:owner:1")]
        expected = [(f"{session}:{n}", Status.ACTIVE, n) for n in (1, 3, 5)]
        found = [(info.session_id, info.status, info.metadata) for info in listed]
        assert expected == sorted(found)
        ids = {info.session_id async for info in elsewhere.sessions()}
        assert ids >= {f"{session}:{n}" for n in range(6)}

    async def test_remove_deletes_a_session(self, hub: Hub, elsewhere: Hub, session: str) -> None:
        """A removed session is unknown everywhere; removing it again is answered with False."""
        await produce(hub, session, ["a"])
        assert await elsewhere.remove(session)
        assert None is await hub.get(session)
        assert not await hub.remove(session)
        assert not await elsewhere.remove(session)

    async def test_metadata_is_loaded_as_the_type_asked_for(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """What the producer set is read anywhere, plain or as a type, and errors are told."""
        stream, _ = await hub.register(session)
        other = await reader(elsewhere, session)
        assert None is await other.metadata()
        assert None is await other.metadata(Model)
        await within(stream.set_metadata(Model("gpt", 7)))
        assert {"model": "gpt", "tokens": 7} == await other.metadata()
        assert Model("gpt", 7) == await other.metadata(Model)
        assert {"model": "gpt", "tokens": 7} == (await other.info()).metadata
        with pytest.raises(InvalidMetadata):
            await other.metadata(list[int])

    @pytest.mark.parametrize(
        "value", [{"a": [1, 2.5, None, True, "é€😀"]}, [], {}, "", 0, False, "x" * 10_000]
    )
    async def test_any_json_is_kept_as_metadata(
        self, hub: Hub, elsewhere: Hub, session: str, value: object
    ) -> None:
        """Metadata comes back as it was given, to register and later."""
        stream, _ = await hub.register(session, metadata=value)
        other = await reader(elsewhere, session)
        assert value == await other.metadata()
        await within(stream.set_metadata("other"))
        await within(stream.set_metadata(value))
        assert value == await other.metadata()

    async def test_metadata_that_is_no_json_is_refused(self, hub: Hub, session: str) -> None:
        """A refused value leaves the one before, and the stream, alone."""
        stream, _ = await hub.register(session, metadata="kept")
        for value in (object(), float("nan"), {"a": {1, 2}}, "\ud800"):
            with pytest.raises(InvalidMetadata):
                await stream.set_metadata(value)
        assert "kept" == await stream.metadata()
        await within(stream.close())

    async def test_text_joins_the_chunks_without_event_type(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """The text so far is there at any time, from the log, without what is no text."""
        stream = await produce(hub, session, ["a", "b"])
        await stream.publish('{"x": 1}', event="tool")
        await stream.publish("c")
        await within(stream.flush())
        other = await reader(elsewhere, session)
        assert "abc" == await other.text()
        for n in range(5000):
            await stream.publish(f"{n} ")
        await within(stream.close())
        assert "abc" + "".join(f"{n} " for n in range(5000)) == await other.text()

    async def test_wait_tells_how_the_stream_ended(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """Waiting ends with the stream, or after its time with what stands then."""
        stream = await produce(hub, session)
        other = await reader(elsewhere, session)
        assert Status.ACTIVE is await other.wait(0.01)
        assert not await other.done()
        waiting = asyncio.create_task(within(other.wait()))
        await asyncio.sleep(0)
        await within(stream.fail("broke"))
        assert Status.FAILED is await waiting
        assert await other.done()
        info = await other.info()
        assert (Status.FAILED, "broke") == (info.status, info.error)

    async def test_g11_an_ended_session_expires_after_its_retention(
        self, backend: Backend, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """After its retention nothing of a session is found, and its name is free."""
        hub = hubs.open(HubConfig(lease=300.0, retention=0.3))
        stream = await produce(hub, session, ["a"])
        await within(stream.close())
        await backend.advance(0.3)

        async def gone() -> bool:
            return await elsewhere.get(session) is None

        await until(gone)
        assert session not in {info.session_id async for info in elsewhere.sessions()}
        fresh, created = await elsewhere.register(session, takeover="continue")
        assert created
        assert 1 == (await fresh.publish("b")).offset
        await within(fresh.close())
        assert "b" == await fresh.text()

    async def test_a_closed_hub_does_nothing_any_more(self, hubs: Hubs, session: str) -> None:
        """Every call on a closed hub, and on the handles that it gave, says that it is closed."""
        hub = hubs.open(CALM)
        stream: LiveStream = await produce(hub, session, ["a"])
        await within(hub.aclose())
        await within(hub.aclose())
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: hub.register(session),
            lambda: hub.get(session),
            lambda: hub.remove(session),
            lambda: hub.active([session]),
            lambda: stream.publish("b"),
            lambda: stream.set_metadata(1),
            stream.info,
            stream.cancel,
            stream.wait,
        ]
        for call in calls:
            with pytest.raises(HubClosed):
                await within(call())
        with pytest.raises(HubClosed):
            stream.subscribe()
