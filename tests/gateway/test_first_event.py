"""The first event of an answer: the upstream is asked while its session is being claimed, and what
comes of it is told to the client that has asked, once it is stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamhub import Hub, Status
from streamhub.errors import StoreUnavailable
from streamhub.stores.memory import MemoryStore
from streamhub.testing.faults import Stalls
from streamhub.testing.waiting import patience, until, within

from ..support.openai_upstream import (
    STALL,
    Gate,
    OpenAIUpstream,
    Refused,
    SlowHeaders,
    openai_upstream,
)
from .chatting import COMPLETION_ID, PATH, chat, gateway, opened

RESPONSES = "/v1/responses"
BODIES = {PATH: chat(), RESPONSES: {"model": "a-model", "input": "hi", "stream": True}}


@pytest.fixture
def upstream() -> Iterator[OpenAIUpstream]:
    with openai_upstream() as upstream:
        yield upstream


class HeldHub(Hub):
    """Whose claims wait for ``claims``, and fail with ``fails``."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.claiming = asyncio.Event()
        self.claims = asyncio.Event()
        self.fails: Exception | None = None

    async def register(self, session_id: str, *args: Any, **options: Any) -> Any:
        self.claiming.set()
        await self.claims.wait()
        if self.fails is not None:
            raise self.fails
        return await super().register(session_id, *args, **options)


@asynccontextmanager
async def held(upstream: OpenAIUpstream) -> AsyncIterator[tuple[HeldHub, Any]]:
    hub = HeldHub()
    async with hub, gateway(upstream, hub) as [client]:
        yield hub, client


async def was_left(upstream: OpenAIUpstream, number: int) -> bool:
    return await asyncio.to_thread(upstream.asked[number].hung_up.wait, patience(20))


@pytest.mark.parametrize(("path", "last"), [(PATH, "[DONE]"), (RESPONSES, "completed")])
async def test_the_upstream_is_asked_while_the_session_is_claimed(
    upstream: OpenAIUpstream, path: str, last: str
) -> None:
    """And its answer waits for that."""
    async with held(upstream) as (hub, client):
        asking = asyncio.create_task(client.post(path, json=BODIES[path]))
        asked = await asyncio.to_thread(upstream.wait_asked)
        assert not hub.claims.is_set()
        hub.claims.set()
        answer = await within(asking)

    assert (200, True) == (answer.status_code, last in answer.text.strip().split("\n")[-1])
    assert (1, False) == (upstream.count(), asked.hung_up.is_set())


@pytest.mark.parametrize("path", [PATH, RESPONSES])
@pytest.mark.parametrize("stream", [True, False])
async def test_with_a_key_it_is_asked_once_the_session_is_claimed(
    upstream: OpenAIUpstream, path: str, stream: bool
) -> None:
    """Another request with the same key may have it, and has asked already."""
    headers = {"idempotency-key": "k"}
    async with held(upstream) as (hub, client):
        body = {**BODIES[path], "stream": stream}
        asking = asyncio.create_task(client.post(path, json=body, headers=headers))
        await within(hub.claiming.wait())
        await asyncio.sleep(0.2)
        before = upstream.count()
        hub.claims.set()
        answer = await within(asking)

    assert (0, 200, 1) == (before, answer.status_code, upstream.count())


@pytest.mark.parametrize("path", [PATH, RESPONSES])
@pytest.mark.parametrize("answers", [True, False])
async def test_a_store_that_is_away_has_the_request_closed(
    upstream: OpenAIUpstream, answers: bool, path: str
) -> None:
    """At once, whether the upstream has answered or not; and it is asked no more before a claim was
    taken."""
    slow = Gate()
    if answers:
        upstream.answers("one", STALL)
    else:
        upstream.strike(SlowHeaders(slow))
    async with held(upstream) as (hub, client):
        hub.fails = StoreUnavailable("the store", "it is away")
        asks: Any = {"url": path, "json": BODIES[path]}
        refused = []
        for number in range(2):
            hub.claims.clear()
            asking = asyncio.create_task(client.post(**asks))
            await within(hub.claiming.wait())
            if number == 0:
                await asyncio.to_thread(upstream.wait_asked)
            else:
                await asyncio.sleep(0.2)
            hub.claims.set()
            refused.append(await within(asking))
            hub.claiming.clear()
        left, count = await was_left(upstream, 0), upstream.count()
        slow.open()
        hub.fails = None
        told = [await within(client.post(**asks)) for _ in range(2)]
        infos = [info async for info in hub.sessions()]

    assert [503, 503] == [one.status_code for one in refused]
    assert ["store_unavailable"] * 2 == [one.json()["error"]["code"] for one in refused]
    assert (True, 1) == (left, count)
    assert [200, 200] == [one.status_code for one in told]
    assert [Status.FINISHED] * 2 == [info.status for info in infos]


@pytest.mark.parametrize("path", [PATH, RESPONSES])
@pytest.mark.parametrize("answers", [True, False])
async def test_a_client_that_leaves_meanwhile(
    upstream: OpenAIUpstream, answers: bool, path: str
) -> None:
    """Is noticed with the claim, whether the upstream has answered or not."""
    slow = Gate()
    if answers:
        upstream.answers("one", STALL)
    else:
        upstream.strike(SlowHeaders(slow))
    async with held(upstream) as (hub, client):
        asking = asyncio.create_task(client.post(path, json=BODIES[path]))
        await within(hub.claiming.wait())
        await asyncio.to_thread(upstream.wait_asked)
        asking.cancel()
        await asyncio.sleep(0.1)
        hub.claims.set()

        assert await was_left(upstream, 0)

        async def is_cancelled() -> bool:
            return [info.status async for info in hub.sessions()] == [Status.CANCELLED]

        await until(is_cancelled)
        slow.open()


async def test_an_upstream_that_refuses_before_the_session_is_claimed(
    upstream: OpenAIUpstream,
) -> None:
    """Is told as it is, and stored as it would be otherwise."""
    upstream.strike(Refused(429, "Slow down", retry_after="7"))
    async with held(upstream) as (hub, client):
        asking = asyncio.create_task(client.post(PATH, json=chat()))
        asked = await asyncio.to_thread(upstream.wait_asked)
        await asyncio.to_thread(asked.over.wait, patience())
        hub.claims.set()
        refused = await within(asking)
        [info] = [info async for info in hub.sessions()]

    assert (429, "7") == (refused.status_code, refused.headers["retry-after"])
    assert "Slow down" == refused.json()["error"]["message"]
    assert (Status.FAILED, 1) == (info.status, upstream.count())
    assert str(info.error).startswith("502 upstream_refused")


async def test_no_event_is_told_before_it_is_stored(upstream: OpenAIUpstream) -> None:
    """What a client was told it can go on from, whatever becomes of the gateway."""
    store = Stalls(MemoryStore())
    upstream.answers("one two", STALL)
    async with (
        Hub(store) as hub,
        gateway(upstream, hub) as [client],
        opened(client, chat(), key="k") as answer,
    ):
        coming = asyncio.ensure_future(answer.take(3))
        await within(store.stalled.wait())
        await asyncio.sleep(0.2)
        early = coming.done()
        store.resume.set()
        told = await within(coming)
        completion_id = answer.response.headers[COMPLETION_ID]
        async with opened(client, completion_id=completion_id) as again:
            stored = await within(again.take(3))
        await client.post(f"{PATH}/{completion_id}/cancel")
        await answer.rest()

    assert not early
    assert [(one.id, one.data) for one in told] == [(one.id, one.data) for one in stored]


async def test_the_head_and_the_first_event_are_written_together(
    upstream: OpenAIUpstream,
) -> None:
    """The event does not wait for the head."""
    written: list[int] = []

    class Counts(Stalls):
        async def write(self, ops: Any) -> Any:
            written.extend(len(op.items) for op in ops if hasattr(op, "items"))
            return await super().write(ops)

    store = Counts(MemoryStore())
    store.resume.set()
    upstream.answers(STALL)
    async with (
        Hub(store) as hub,
        gateway(upstream, hub) as [client],
        opened(client, chat()) as answer,
    ):
        await within(answer.take(1))

    assert [2] == written[:1]


async def test_a_session_that_is_taken_away(upstream: OpenAIUpstream) -> None:
    """Is told to the client that has asked, as it is to all who follow."""
    gate = Gate()
    upstream.answers("one", gate, " two")
    async with (
        Hub() as hub,
        gateway(upstream, hub) as [client],
        opened(client, chat(), key="k") as answer,
    ):
        await within(answer.take(2))
        [info] = [info async for info in hub.sessions()]
        await hub.remove(info.session_id)
        gate.open()
        told = await within(answer.rest())

    assert "completion_not_found" == json.loads(told[-1].data)["error"]["code"]
