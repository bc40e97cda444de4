"""The stock clients of all faces on real servers: cut off again and again, led to another one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from streamhub import Hub, Status, parts
from streamhub.testing.waiting import bounded, patience

from ..conftest import Serve
from ..support.faulty_proxy import FaultyProxy
from ..support.node_clients import NodeClients

pytestmark = pytest.mark.slow

BOUND = 60.0

#: The model is a list in Redis, named by what the user says: what a test pushes is said next.
APP = """
import json, sys
from contextlib import asynccontextmanager
import redis.asyncio
from starlette.applications import Starlette
from streamhub import Hub
from streamhub.http import agui_routes, chat_routes

hub = Hub.from_url(sys.argv[1])
model = redis.asyncio.Redis.from_url(sys.argv[1])

@asynccontextmanager
async def lifespan(app):
    async with hub, model:
        yield

def answer(body):
    message = next(one for one in body["messages"] if one["role"] == "user")
    name = message["parts"][0]["text"] if "parts" in message else message["content"]

    async def speak(stream):
        while True:
            text, event = json.loads((await model.blpop("model:" + name))[1])
            if text is None:
                return
            if event == "inbox":
                async for said in stream.inbox():
                    await stream.publish(said.data, event=said.event)
                    said.done()
                    break
            else:
                await stream.publish(text, event=event)
    return speak

app = Starlette(routes=[*chat_routes(hub, answer), *agui_routes(hub, answer)], lifespan=lifespan)
"""

AI_SDK = ["websocket", "workflow", "default"]
TANSTACK = ["tanstack-sse", "tanstack-ndjson", "tanstack-websocket"]
#: These have to be told to resume.
MANUAL = ["websocket", "default"]

ROUNDS: list[list[str | parts.AnyPart]] = [
    ["one ", parts.ToolInputStart("a", "weather"), parts.ToolInputDelta("a", '{"at":')],
    ["two ", parts.ReasoningDelta("r", "hm"), parts.ToolInputDelta("a", '"here"}'), "three "],
    [
        parts.ToolInputAvailable("a", "weather", {"at": "here"}),
        parts.ToolOutputAvailable("a", "sunny"),
        parts.FinishStep(),
        "four ",
    ],
    [parts.Data("note", {"n": 5}), "five"],
]
MARKS = ["at", "three", "four", "five"]


@pytest.fixture(scope="module")
def clients() -> Iterator[NodeClients]:
    with NodeClients() as clients:
        yield clients


class Model:
    def __init__(self, redis: Any) -> None:
        self._redis = redis

    async def say(
        self, name: str, *said: str | parts.AnyPart | None, event: str | None = None
    ) -> None:
        for one in said:
            item = (
                (one, event) if one is None or isinstance(one, str) else (parts.encode(one), "ui")
            )
            await self._redis.rpush(f"model:{name}", json.dumps(item))


@pytest.fixture
def model(redis_client: Any) -> Model:
    return Model(redis_client)


async def test_clients_lose_and_double_nothing(
    serve: Serve, clients: NodeClients, model: Model, redis_url: str
) -> None:
    """All at once, each with an answer of its own that another process produces after the first
    cut: in the middle of a tool's input, of a thought, of a text, and between steps."""
    names = {kind: f"{kind}-1" for kind in (*AI_SDK, *TANSTACK)}
    producer, other = await serve(APP, redis_url), await serve(APP, redis_url)
    async with bounded(BOUND), FaultyProxy(producer.port) as proxy:
        for kind, name in names.items():
            await clients.call("open", kind=kind, name=name, url=f"http://127.0.0.1:{proxy.port}")
        for number, (said, mark) in enumerate(zip(ROUNDS, MARKS, strict=True)):
            for name in names.values():
                await model.say(name, *said)
            for name in names.values():
                await clients.call("shown", name=name, text=mark)
            if number + 1 == len(ROUNDS):
                break
            proxy.lead_to(other.port)
            assert proxy.cut()
            for kind in MANUAL:
                await clients.call("resume", name=names[kind])
        for name in names.values():
            await model.say(name, None)
        ends = {kind: await clients.call("over", name=name) for kind, name in names.items()}
        for name in names.values():
            await clients.call("close", name=name)

    made = [[*map(plain, one["parts"])] for one in ends["websocket"]["messages"]]
    assert [
        ("step-start", None), ("text", "one "), ("tool-weather", "sunny"), ("text", "two "),
        ("reasoning", "hm"), ("text", "three "), ("step-start", None), ("text", "four five"),
        ("data-note", None),
    ] == made[0]  # fmt: skip
    for kind in AI_SDK:
        assert made == [[*map(plain, one["parts"])] for one in ends[kind]["messages"]], kind
        assert "error" not in ends[kind]
    tanstack = [contents(ends[kind]["messages"]) for kind in TANSTACK]
    assert [tanstack[0]] * len(TANSTACK) == tanstack
    assert "one two three four five" == "".join(
        text for kind, text in tanstack[0] if kind == "text"
    )
    assert [] == [kind for kind in TANSTACK if "error" in ends[kind]]
    orphans = [one for one in await clients.call("warnings") if "orphan" in one.lower()]
    assert [] == orphans


def plain(part: dict[str, Any]) -> tuple[str, Any]:
    return part["type"], part.get("text", part.get("output"))


def contents(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    every = [part for message in messages for part in message["parts"]]
    return [(part["type"], part.get("content", part.get("arguments", ""))) for part in every]


@pytest.mark.parametrize("kind", ["websocket", "tanstack-websocket"])
async def test_the_stock_stop_stops_the_producer(
    serve: Serve, clients: NodeClients, model: Model, redis_url: str, kind: str
) -> None:
    """That runs in another process than the one that the client is connected to; a connection that
    breaks before stops nothing."""
    name = f"{kind}-2"
    producer, other = await serve(APP, redis_url), await serve(APP, redis_url)
    async with (
        bounded(BOUND),
        FaultyProxy(producer.port) as proxy,
        Hub.from_url(redis_url) as hub,
    ):
        await clients.call("open", kind=kind, name=name, url=f"http://127.0.0.1:{proxy.port}")
        await model.say(name, "one ")
        await clients.call("shown", name=name, text="one")
        (session,) = [info.session_id async for info in hub.sessions()]
        stream = await hub.get(session)
        assert stream is not None
        if kind == "websocket":
            proxy.lead_to(other.port)
            proxy.cut()
            await clients.call("resume", name=name)
            await model.say(name, "two")
            await clients.call("shown", name=name, text="two")
            assert Status.ACTIVE is (await stream.info()).status
        await clients.call("stop", name=name)
        assert Status.CANCELLED is await stream.wait(patience())
        await clients.call("over", name=name)
        await clients.call("close", name=name)


@pytest.mark.parametrize("kind", ["default", "websocket"])
async def test_an_approval_reaches_the_producer(
    serve: Serve, clients: NodeClients, model: Model, redis_url: str, kind: str
) -> None:
    """From the stock client, by itself once its user has decided, through another server; the
    answer goes on in its message."""
    name = f"{kind}-3"
    producer = await serve(APP, redis_url)
    async with bounded(BOUND), FaultyProxy(producer.port) as proxy:
        await clients.call("open", kind=kind, name=name, url=f"http://127.0.0.1:{proxy.port}")
        await model.say(
            name,
            parts.StartStep(),
            parts.ToolInputAvailable("t", "send", {}),
            parts.ToolApprovalRequest("ok", "t"),
            parts.FinishStep(),
        )
        await model.say(name, "", event="inbox")
        paused = await clients.call("over", name=name)
        if kind == "default":
            # A socket stays with its server.
            proxy.lead_to((await serve(APP, redis_url)).port)
            proxy.cut()
            await clients.call("reach", url=f"http://127.0.0.1:{proxy.port}/")
        await clients.call("approve", name=name, approval="ok", approved=True)
        await model.say(name, parts.ToolOutputAvailable("t", "sent"), "Done.", None)
        await clients.call("shown", name=name, text="Done.")
        after = await clients.call("over", name=name)
        await clients.call("close", name=name)

    (before,), (message,) = paused["messages"], after["messages"]
    assert "approval-requested" == before["parts"][1]["state"]
    assert before["id"] == message["id"]
    assert [
        ("step-start", None),
        ("tool-send", "sent"),
        ("step-start", None),
        ("text", "Done."),
    ] == [*map(plain, message["parts"])]
    assert {"id": "ok", "approved": True} == message["parts"][1]["approval"]


async def test_agui_reads_a_run(
    serve: Serve, clients: NodeClients, model: Model, redis_url: str
) -> None:
    """Its own agent, which knows no resuming: whole messages, of roles that the model knows."""
    server = await serve(APP, redis_url)
    async with bounded(BOUND):
        await clients.call("open", kind="agui", name="agui-4", url=server.url)
        for one in ROUNDS:
            await model.say("agui-4", *one)
        await model.say("agui-4", None)
        over = await clients.call("over", name="agui-4")

    assert "error" not in over
    assert [
        ("assistant", "one two "), ("tool", "sunny"), ("reasoning", "hm"), ("assistant", "three "),
        ("assistant", "four five"),
    ] == [(one["role"], one["content"]) for one in over["messages"]]  # fmt: skip
    (call,) = over["messages"][0]["toolCalls"]
    assert {"name": "weather", "arguments": '{"at":"here"}'} == call["function"]
    assert [] == await clients.call("warnings")
