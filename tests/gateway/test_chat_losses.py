"""A gateway that is killed in the middle of an answer, and what its clients hear of that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from streamhub import Hub
from streamhub.gateway.responses.asked import Facts
from streamhub.gateway.responses.following import Following
from streamhub.gateway.responses.showing import telling_of
from streamhub.gateway.responses.stored import Stored, find
from streamhub.testing.waiting import patience, unhurried, within

from ..conftest import Serve
from ..support.openai_upstream import STALL, Gate, OpenAIUpstream, SlowHeaders, openai_upstream
from ..support.redis_server import RedisServer
from .chatting import COMPLETION_ID, KEY, PATH, chat, gateway, opened

#: Arguments: where the store and the upstream are, the lease, and whether it asks again.
GATEWAY = """
import sys
from streamhub import Hub, HubConfig
from streamhub.gateway import create_gateway

url, upstream, lease, retry = sys.argv[1:]
hub = Hub.from_url(url, config=HubConfig(lease=float(lease)))
keys = {"api_key": "sk-one", "upstream_key": "sk-upstream"}
app = create_gateway(hub, upstream=upstream, retry_lost=retry == "yes", **keys)
"""


@pytest.fixture
def upstream() -> Iterator[OpenAIUpstream]:
    with openai_upstream() as upstream:
        yield upstream


@pytest.mark.slow
async def test_a_gateway_is_killed(serve: Serve, redis_url: str, upstream: OpenAIUpstream) -> None:
    """Who follows at another instance is told, within a lease, and so is who comes later: the
    answer is not asked for again. Where that is wanted, the next request with its key asks anew, as
    does one that was sent nothing of it yet; who holds a place in the one that was lost is told so,
    and gets nothing of the other."""
    lease = str(unhurried(1.0))
    arguments = (GATEWAY, redis_url, upstream.base_url, lease)
    first, second, third = await asyncio.gather(
        serve(*arguments, "no"), serve(*arguments, "no"), serve(*arguments, "yes")
    )
    upstream.answers("one two", STALL)
    async with httpx.AsyncClient(headers=KEY, timeout=patience(30), verify=False) as client:

        def at(server: object) -> httpx.AsyncClient:
            client.base_url = httpx.URL(server.url)  # type: ignore[attr-defined]
            return client

        slow = Gate()
        async with opened(at(first), chat(), key="k") as asks:
            upstream.strike(SlowHeaders(slow))
            named: Any = {"json": chat(), "headers": {"idempotency-key": "slow"}}
            unanswered = asyncio.create_task(client.post(f"{first.url}{PATH}", **named))
            await within(slow.wait_reached())
            waits = asyncio.create_task(client.post(f"{third.url}{PATH}", **named))
            begun = await asks.take(3)
            path = f"{PATH}/{asks.response.headers[COMPLETION_ID]}"
            async with opened(at(second), chat(), key="k") as follows:
                await follows.take(3)
                await first.kill()
                with pytest.raises(httpx.RemoteProtocolError):
                    await asks.rest()
                with pytest.raises(httpx.HTTPError):
                    await unanswered
                told = await follows.rest()
        answered = await waits
        assert await asyncio.to_thread(upstream.asked[0].hung_up.wait, patience())
        async with opened(at(second), chat(), key="k", after=begun[0].id) as late:
            rest = await late.rest()
        whole = await at(second).get(path)
        asked = upstream.count()

        upstream.answers("uno dos")
        async with opened(at(third), chat(), key="k") as anew:
            second_answer = await anew.rest()
        async with opened(at(third), chat(), key="k", after=begun[0].id) as old:
            refused = await old.rest()

    codes = [json.loads(events[-1].data)["error"]["code"] for events in (told, rest, refused)]
    assert ["answer_lost", "answer_lost", "answer_restarted"] == codes
    assert [begun[1].data, begun[2].data] == [event.data for event in rest[:-1]]
    assert (502, "false", "answer_lost", 3) == (
        whole.status_code,
        whole.headers["x-should-retry"],
        whole.json()["error"]["code"],
        asked,
    )
    assert (1, 4) == (len(refused), upstream.count())
    assert (200, "[DONE]") == (answered.status_code, answered.text.split()[-1])
    assert ("uno" in second_answer[1].data, "[DONE]") == (True, second_answer[-1].data)


async def test_a_redis_that_comes_back_empty(
    make_redis: Callable[..., RedisServer], upstream: OpenAIUpstream
) -> None:
    """What is under way goes on with all that was said; what is new is refused until then, but for
    answers that nobody can come again for."""
    gate = Gate()
    upstream.answers("one two", gate, " three")
    redis = make_redis()
    async with Hub.from_url(redis.url) as hub, gateway(upstream, hub) as [client]:
        async with opened(client, chat(), key="k") as answer:
            begun = await answer.take(2)
            redis.kill()
            refused = await client.post(PATH, json=chat())
            sick = await client.get("/health")
            again_refused = await client.post(PATH, json=chat())
            plain = await client.post(PATH, json=chat(stream=False))
            redis.start()
            gate.open()
            rest = await answer.rest()
        async with opened(client, chat(), key="k") as answer:
            again = await answer.rest()

    assert (503, "1") == (refused.status_code, refused.headers["retry-after"])
    assert ("store_unavailable", 503) == (refused.json()["error"]["code"], sick.status_code)
    # The first that was refused was asked at the same time as the store.
    assert [503, 200, 3] == [again_refused.status_code, plain.status_code, upstream.count()]
    assert again == begun + rest
    assert "[DONE]" == rest[-1].data


@pytest.mark.parametrize("path", [PATH, "/v1/responses"])
async def test_who_leaves_while_redis_is_away(
    make_redis: Callable[..., RedisServer], upstream: OpenAIUpstream, path: str
) -> None:
    """Stops the upstream all the same: nobody else pays for an answer that nobody reads."""
    upstream.answers("one two", STALL)
    redis = make_redis()
    async with Hub.from_url(redis.url) as hub, gateway(upstream, hub) as [client]:
        body = {"model": "m", "input": "hi", "stream": True} if "resp" in path else chat()
        async with client.stream("POST", path, json=body) as answer:
            async for line in answer.aiter_lines():
                if "two" in line:
                    break
            redis.kill()
        assert await asyncio.to_thread(upstream.asked[0].hung_up.wait, patience(20))
        redis.start()


async def test_a_reader_of_a_redis_that_comes_back_empty(
    make_redis: Callable[..., RedisServer],
) -> None:
    """Is told the answer from its start, once who draws it has put it back."""
    redis = make_redis()
    said = json.dumps({"type": "response.completed", "response": {"id": "a"}})
    async with Hub.from_url(redis.url) as hub:
        session_id = f"gateway:h:resp_{'0' * 32}"
        stream, _ = await hub.register(session_id, metadata=Facts(gateway="responses"))
        stored = await find(hub, session_id)
        assert stored is not None
        redis.kill()
        redis.start()

        async def never(stored: Stored) -> None:
            raise AssertionError

        following = Following(stored, telling_of(stored), after=None, recover=never)

        async def read() -> bytes:
            pieces: list[bytes] = []
            while (piece := await following.next()) is not None:
                pieces.append(piece)
            return b"".join(pieces)

        reading = asyncio.create_task(within(read()))
        await stream.publish(said, event="response.completed")
        await stream.close()
        told = await reading
        await following.aclose()

    assert told.startswith(b"event: response.completed")
