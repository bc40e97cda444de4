"""Answers of the Responses API whose gateway is killed, or gives them up in the middle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from starlette.requests import Request

from streamhub import Hub, HubConfig
from streamhub.gateway.keys import Keys, session_of
from streamhub.gateway.responses.asked import Facts
from streamhub.testing.waiting import unhurried, until, within

from ..conftest import MakeHub, Serve
from ..support.http_server import ServerProcess
from ..support.openai_upstream import Gate, OpenAIUpstream, Refused, openai_upstream
from .gateways import client_of, gateway, numbers, read

GATEWAY = """
import json, sys
from streamhub import Hub, HubConfig
from streamhub.gateway import create_gateway

redis, upstream, lease, options = sys.argv[1:]
hub = Hub.from_url(redis, config=HubConfig(lease=float(lease)))
app = create_gateway(hub, upstream=upstream, **json.loads(options))
"""
OWN = {"api_key": "a-key", "upstream_key": "upstreams"}

redis_only = pytest.mark.parametrize("new_hub", ["redis"], indirect=True)


@pytest.fixture
def upstream() -> Iterator[OpenAIUpstream]:
    with openai_upstream() as upstream:
        yield upstream


class Scene:
    """An answer that a gateway in another process has begun, and is read through this one."""

    def __init__(self, process: ServerProcess, hub: Hub, upstream: OpenAIUpstream) -> None:
        self.process = process
        self.hub = hub
        self.upstream = upstream
        self.gate = Gate()
        self.here: AsyncOpenAI
        self.there: AsyncOpenAI
        self.response_id = ""

    async def begin(self, **options: Any) -> None:
        """Two words, and then no more before the gate is open."""
        self.upstream.answers("One two", self.gate, " three.")
        create = self.there.responses.create
        # Kept: a client that lets go of its stream leaves.
        self.stream = await create(model="m", input="hi", stream=True, **options)
        await within(self.gate.wait_reached())
        self.told = await within(read_on(self.stream, "two"))
        self.response_id = self.told[0]["response"]["id"]

    async def follow(self) -> asyncio.Task[list[dict[str, Any]]]:
        """Read it here, from its start; returns once its events come."""
        stream = await self.here.responses.retrieve(self.response_id, stream=True)
        coming = asyncio.Event()

        async def follow() -> list[dict[str, Any]]:
            found = []
            async with stream:
                async for event in stream:
                    found.append(event.to_dict())
                    if found[-1].get("delta") == " two":
                        coming.set()
            return found

        task = asyncio.create_task(follow())
        await within(coming.wait())
        return task

    async def resumed(self, after: int) -> list[dict[str, Any]]:
        stream = await self.here.responses.retrieve(
            self.response_id, stream=True, starting_after=after
        )
        return await within(read(stream))


async def read_on(stream: Any, word: str) -> list[dict[str, Any]]:
    """Up to the delta with this word; the stream stays open."""
    found = []
    async for event in stream:
        found.append(event.to_dict())
        if word in found[-1].get("delta", ""):
            break
    return found


@pytest.fixture
async def scene(
    request: pytest.FixtureRequest,
    make_hub: MakeHub,
    serve: Serve,
    redis_url: str,
    upstream: OpenAIUpstream,
) -> AsyncIterator[Scene]:
    """``parametrize("scene", [options])`` are those of the gateways."""
    options: dict[str, Any] = getattr(request, "param", {})
    lease = unhurried(1.0)
    process = await serve(GATEWAY, redis_url, upstream.base_url, str(lease), json.dumps(options))
    hub = make_hub(HubConfig(lease=lease))
    async with AsyncExitStack() as stack:
        scene = Scene(process, hub, upstream)
        url = await stack.enter_async_context(gateway(hub, upstream, **options))
        scene.here = await stack.enter_async_context(client_of(url))
        scene.there = await stack.enter_async_context(client_of(f"{process.url}/v1"))
        yield scene
        scene.gate.open()


@redis_only
async def test_an_answer_in_the_foreground_fails_with_its_gateway(scene: Scene) -> None:
    """Told by another one, with well-formed last events, and for good."""
    await scene.begin()
    following = await scene.follow()
    await scene.process.kill()
    events = await within(following)
    kept = await scene.here.responses.retrieve(scene.response_id)

    assert list(range(len(events))) == numbers(events)
    assert scene.told == events[: len(scene.told)]
    assert ["error", "response.failed"] == [event["type"] for event in events[-2:]]
    assert "gateway_lost" == events[-2]["code"]
    assert ("failed", "One two") == (kept.status, kept.output_text)
    assert events[-1]["response"] == kept.to_dict()
    assert events[-2:] == await scene.resumed(len(events) - 3)
    assert [] == await scene.resumed(len(events) - 1)
    assert 1 == scene.upstream.count()


@redis_only
async def test_an_answer_in_the_background_goes_on_upstream(scene: Scene) -> None:
    """Whoever reads it with the key that it was asked for with has it attached to again, after its
    last event: the model is paid once."""
    await scene.begin(background=True)
    following = await scene.follow()
    await scene.process.kill()
    asked = await asyncio.to_thread(
        scene.upstream.wait_asked, 1, method="GET", path="/v1/responses/"
    )
    scene.gate.open()
    events = await within(following)
    last = scene.told[-1]["sequence_number"]

    assert list(range(len(events))) == numbers(events)
    assert scene.told == events[: len(scene.told)]
    assert "response.completed" == events[-1]["type"]
    assert "One two three." == events[-1]["response"]["output"][0]["content"][0]["text"]
    assert {"stream": "true", "starting_after": str(last)} == asked.query
    assert "Bearer a-key" == asked.authorization
    assert (1, 3) == (scene.upstream.count(), scene.upstream.tokens)
    assert events[last + 1 :] == await scene.resumed(last)


@redis_only
@pytest.mark.parametrize("scene", [OWN], indirect=True)
async def test_a_gateway_with_a_key_of_its_own_needs_no_client_for_that(scene: Scene) -> None:
    """Nobody asks for it, and it is there in the end."""
    await scene.begin(background=True)
    await scene.process.kill()
    scene.gate.open()
    (name,) = [info.session_id async for info in scene.hub.sessions()]
    stream = await scene.hub.get(name)
    assert stream is not None

    async def finished() -> bool:
        return "finished" == (await stream.info()).status

    await until(finished)
    kept = await scene.here.responses.retrieve(scene.response_id)
    assert ("completed", "One two three.") == (kept.status, kept.output_text)
    assert (1, 3) == (scene.upstream.count(), scene.upstream.tokens)
    assert {"Bearer upstreams"} == {asked.authorization for asked in scene.upstream.asked}


@redis_only
async def test_a_cancel_ends_what_is_lost(scene: Scene) -> None:
    """Here and upstream, before anybody has it go on, though somebody reads it; and nobody does
    after that."""
    await scene.begin(background=True)
    following = await scene.follow()
    await scene.process.kill()
    cancelled = await within(scene.here.responses.cancel(scene.response_id))
    again = await scene.here.responses.cancel(scene.response_id)
    events = await scene.resumed(2)

    assert ("cancelled", "One two") == (cancelled.status, cancelled.output_text)
    assert cancelled == again
    assert ("response.incomplete", "cancelled") == (
        events[-1]["type"],
        events[-1]["response"]["status"],
    )
    assert list(range(3, 3 + len(events))) == numbers(events)
    assert events == (await within(following))[3:]
    assert 1 == scene.upstream.count("POST", "/v1/responses/")
    assert "cancelled" == (await scene.here.responses.retrieve(scene.response_id)).status


@redis_only
async def test_a_delete_ends_what_is_lost(scene: Scene) -> None:
    """Upstream, too, where it would go on for nobody."""
    await scene.begin(background=True)
    await scene.process.kill()
    await within(scene.here.responses.delete(scene.response_id))

    assert 1 == scene.upstream.count("POST", "/v1/responses/")
    assert 1 == scene.upstream.count("DELETE", "/v1/responses/")


@redis_only
@pytest.mark.parametrize("scene", [{"retry_lost": True}], indirect=True)
async def test_an_answer_that_is_asked_for_again_is_never_glued(scene: Scene) -> None:
    """It begins anew, with numbers of its own: who has read some of the one before is told, and
    who reads from the start gets all of the new one."""
    await scene.begin()
    following = await scene.follow()
    scene.upstream.answers("Something else.")
    await scene.process.kill()
    events = await within(following)
    last = scene.told[-1]["sequence_number"]

    assert scene.told == events[:-1]
    assert ("error", "response_restarted", last + 1) == (
        events[-1]["type"],
        events[-1]["code"],
        events[-1]["sequence_number"],
    )
    for number in (0, last):
        with pytest.raises(openai.ConflictError) as told:
            await scene.resumed(number)
        assert "response_restarted" == told.value.code
    whole = await within(read(await scene.here.responses.retrieve(scene.response_id, stream=True)))
    assert list(range(last + 1, last + 1 + len(whole))) == numbers(whole)
    assert ["response.created", "response.completed"] == [whole[0]["type"], whole[-1]["type"]]
    assert whole[3:] == await scene.resumed(whole[2]["sequence_number"])
    kept = await scene.here.responses.retrieve(scene.response_id)
    assert ("completed", "Something else.") == (kept.status, kept.output_text)
    assert 2 == scene.upstream.count()


@redis_only
@pytest.mark.parametrize("scene", [{**OWN, "retry_lost": True}], indirect=True)
async def test_a_gateway_with_a_key_of_its_own_asks_again_by_itself(scene: Scene) -> None:
    """Once, where the upstream has no background; who reads it meanwhile is told."""
    told = "Background mode is not supported."
    scene.upstream.strike(Refused(400, told, "unsupported", "invalid_request_error"))
    await scene.begin(background=True)
    following = await scene.follow()
    scene.upstream.answers("Something else.")
    await scene.process.kill()
    events = await within(following)

    async def is_over() -> bool:
        now = await scene.here.responses.retrieve(scene.response_id)
        return "completed" == str(now.status)

    await until(is_over)
    kept = await scene.here.responses.retrieve(scene.response_id)
    assert "response_restarted" == events[-1]["code"]
    assert "Something else." == kept.output_text
    assert 3 == scene.upstream.count()


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
@pytest.mark.parametrize("cancelled", [False, True])
async def test_an_answer_may_be_lost_before_anything_is_stored(
    hub: Hub, upstream: OpenAIUpstream, cancelled: bool
) -> None:
    """Its numbers begin as any others do, and its last events have what its clients need."""
    async with gateway(hub, upstream) as url, client_of(url) as client:
        keys = Keys(None, None)
        headers = [(b"authorization", b"Bearer a-key")]
        asked = Request({"type": "http", "method": "POST", "path": "/", "headers": headers})
        name = session_of(keys.caller(asked), response_id := f"resp_{'0' * 32}")
        facts = Facts(gateway="responses", background=True, skip=2, model="m")
        stream, _ = await hub.register(name, owner=facts.owner, metadata=facts)
        await stream.release()
        if cancelled:
            await client.responses.cancel(response_id)
        followed = await client.responses.retrieve(response_id, stream=True)
        events = await within(read(followed))
        kept = await client.responses.retrieve(response_id)
        asked_for = client.responses.input_items.list(response_id)
        with pytest.raises(openai.NotFoundError):
            await asked_for

    assert list(range(len(events))) == numbers(events)
    ends = ["response.incomplete"] if cancelled else ["error", "response.failed"]
    assert ["response.created", *ends] == [event["type"] for event in events]
    assert kept.to_dict() == events[-1]["response"]
    assert ("cancelled" if cancelled else "failed") == kept.status


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_an_answer_is_handed_over_after_every_word(
    make_hub: MakeHub, upstream: OpenAIUpstream
) -> None:
    """From instance to instance, as in a deploy: nothing is lost, told twice, or paid twice."""
    words = ["One", " two", " three", " four"]
    gates = [Gate() for _ in words]
    upstream.answers(*[step for pair in zip(words, gates, strict=True) for step in pair])
    events: list[dict[str, Any]] = []
    response_id = ""
    for number, (word, gate) in enumerate(zip(words, gates, strict=True)):
        hub = make_hub()
        async with gateway(hub, upstream) as url, client_of(url) as client:
            if number == 0:
                stream = await client.responses.create(
                    model="m", input="hi", stream=True, background=True
                )
            else:
                stream = await client.responses.retrieve(
                    response_id, stream=True, starting_after=events[-1]["sequence_number"]
                )
                gates[number - 1].open()
            events += await within(read_on(stream, word))
            response_id = response_id or events[0]["response"]["id"]
            await within(gate.wait_reached())
            await hub.aclose()
    hub = make_hub()
    async with gateway(hub, upstream) as url, client_of(url) as client:
        gates[-1].open()
        last = events[-1]["sequence_number"]
        stream = await client.responses.retrieve(response_id, stream=True, starting_after=last)
        events += await within(read(stream))

    assert list(range(len(events))) == numbers(events)
    text = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
    assert "One two three four" == text
    assert "response.completed" == events[-1]["type"]
    assert (1, 4) == (upstream.count(), upstream.tokens)
