"""A question that meets an answer whose producer was killed."""

from __future__ import annotations

import asyncio
import math

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette

from streamhub import End, Hub, HubConfig, LostSession, Status
from streamhub.http import chat_router, chat_routes
from streamhub.ids import new_generation
from streamhub.stores.memory import MemoryStore
from streamhub.testing.waiting import unhurried, until, within

from ..conftest import RunPython
from .chatting import Model, begun, question, text_of
from .conftest import Open
from .serving import nothing_is_held

LEASE = unhurried(1.0)

#: Claims the session, publishes, and stays.
PRODUCER = f"""
import asyncio, sys
from streamhub import Hub, HubConfig

async def main(url, session_id):
    async with Hub.from_url(url, config=HubConfig(lease={LEASE})) as hub:
        stream, created = await hub.register(session_id)
        await stream.publish("Hello")
        await stream.flush()
        print("published")
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def again(lost: LostSession) -> list[str]:
    return [f" again, after {lost.text}"]


async def test_a_lost_answer_is_resumed_under_its_page(
    redis_url: str, run_python: RunPython, open_client: Open
) -> None:
    """With ``resume``: who follows hears of no loss, and gets one whole message."""
    ends: list[End] = []
    async with Hub.from_url(redis_url, config=HubConfig(lease=LEASE)) as hub:
        routes = chat_routes(hub, Model(), resume=again, on_end=ends.append)
        client = await open_client(Starlette(routes=routes))
        assert 204 == (await client.get("/api/chat/c/stream")).status_code

        async def supervised() -> bool:
            # What is claimed is told who looks after it.
            probe, _ = await hub.register("probe")
            info = await probe.info()
            await probe.close()
            return bool(info.feeds)

        await until(supervised)
        producer = await run_python(PRODUCER, redis_url, "chat:c")
        assert "published" == await producer.line()
        following = asyncio.create_task(client.get("/api/chat/c/stream"))

        async def follows() -> bool:
            return hub.statistics().subscribers == 1

        await until(follows)
        await producer.kill()
        followed = await within(following)

        assert "Hello again, after Hello" == text_of(followed.text)
        assert '"type":"finish"' in followed.text
        assert '"type":"error"' not in followed.text

        async def told() -> bool:
            return bool(ends)

        await until(told)
    assert [("chat:c", Status.FINISHED, "Hello again, after Hello")] == [
        (end.session_id, end.status, end.text) for end in ends
    ]


async def test_the_same_question_follows_the_answer_that_is_resumed(open_client: Open) -> None:
    """It does not begin another in its place."""
    store, model = MemoryStore(), Model()
    async with Hub(store) as first:
        client = await open_client(Starlette(routes=chat_routes(first, model)))
        await begun(client, question("one"))
    async with Hub(store) as second:
        routes = chat_routes(second, model, resume=again)
        client = await open_client(Starlette(routes=routes))
        answer = await within(client.post("/api/chat", json=question("one")))

    assert "one again, after one" == text_of(answer.text)
    assert 1 == len(model.asked)


async def test_a_router_resumes_what_is_lost_from_the_start(open_client: Open) -> None:
    """Of its application, without waiting for a request."""
    store = MemoryStore()
    async with Hub(store) as first:
        stream, _ = await first.register("chat:c")
        await stream.publish("one")
    async with Hub(store) as second:
        app = FastAPI()
        app.include_router(chat_router(second, Model(), resume=again))
        await open_client(app, lifespan="on")
        found = await second.get("chat:c")
        assert found is not None

        async def resumed() -> bool:
            return (await found.info()).status is Status.FINISHED

        await until(resumed)
        assert "one again, after one" == await found.text()


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_question_takes_the_place_of_an_answer_that_is_lost(
    redis_url: str, run_python: RunPython, open_client: Open, stopped: bool
) -> None:
    """As soon as that shows: it waits for so long, instead of being told to ask again. Also where
    the answer was told to stop, which nobody heard."""
    model = Model()
    producer = await run_python(PRODUCER, redis_url, "chat:c")
    assert "published" == await producer.line()
    async with Hub.from_url(redis_url, config=HubConfig(lease=LEASE)) as hub:
        routes = chat_routes(hub, model, restart_lost=True, takeover_wait=0.01)
        client = await open_client(Starlette(routes=routes))
        await client.get("/api/chat/unknown/stream")
        # Its lease runs on for two thirds at least.
        await producer.kill()
        if stopped:
            await client.post("/api/chat/c/stop")

        assert 200 == await within(begun(client, question("one")))
        stream = await hub.get("chat:c")
        assert stream is not None
        assert ("one", Status.ACTIVE) == (await stream.text(), (await stream.info()).status)


async def test_an_answer_that_is_written_is_not_taken(open_client: Open) -> None:
    """Its next sign of life ends the waiting, with the 409 that there is otherwise."""
    async with Hub(config=HubConfig(lease=unhurried(0.6))) as hub:
        model = Model()
        client = await open_client(Starlette(routes=chat_routes(hub, model, restart_lost=True)))
        await begun(client, question("one"))
        other = await within(client.post("/api/chat", json=question("two")))

        assert 409 == other.status_code
        assert 1 <= int(other.headers["retry-after"]) <= math.ceil(hub.config.lease)
        assert 1 == len(model.asked)


async def test_who_goes_does_not_wait_any_more(open_client: Open) -> None:
    """And begins no answer that nobody has asked for by then."""
    model, store = Model(), MemoryStore()
    # Of a producer that gives no sign of life.
    await store.claim("chat:c", new_generation(), takeover="restart", lease=300, retention=300)
    async with Hub(store) as hub:
        client = await open_client(Starlette(routes=chat_routes(hub, model, restart_lost=True)))
        asking = asyncio.create_task(client.post("/api/chat", json=question("two")))

        async def waits() -> bool:
            return hub.statistics().sessions_followed == 1

        await until(waits)
        asking.cancel()
        await nothing_is_held(hub)

    assert [] == model.asked
