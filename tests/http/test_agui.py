"""The routes that clients of AG-UI, and TanStack AI, talk to: run, follow, join, stop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from httpx import AsyncClient, Response
from starlette.applications import Starlette
from starlette.requests import Request
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamhub import Hub, LiveStream, Status, parts
from streamhub.http import agui_routes
from streamhub.http.agui import socket as socket_module
from streamhub.testing.waiting import bounded, within

from .conftest import Open
from .serving import events, follow, nothing_is_held, served

#: Every kind of part, as a model and its tools would give them.
EVERY: list[str | parts.AnyPart] = [
    parts.StartStep(),
    parts.ReasoningDelta("r", "hm"),
    parts.ReasoningEnd("r"),
    "one",
    parts.ToolInputStart("a", "weather"),
    parts.ToolInputDelta("a", '{"at"'),
    "two",
    parts.ToolInputDelta("a", ":1}"),
    parts.ToolInputAvailable("a", "weather", {"at": 1}),
    parts.ToolInputAvailable("b", "ask", {}),
    parts.ToolApprovalRequest("ok", "b"),
    parts.ToolApprovalResponse("ok", True),
    parts.ToolOutputAvailable("a", {"sun": True}, preliminary=True),
    parts.ToolOutputAvailable("a", {"sun": True}),
    parts.ToolOutputDenied("b"),
    parts.ToolInputError("c", "ask", input="{", error_text="not JSON"),
    parts.ToolInputAvailable("d", "ask", {}),
    parts.ToolOutputError("d", "broken"),
    parts.FinishStep(),
    parts.StartStep(),
    "three",
    parts.ResetStep(),
    "four",
    parts.Data("note", 1, "x"),
    parts.SourceUrl("s", "https://example.org"),
    parts.File("text/plain", "data:,x"),
    parts.Custom("x.y"),
    parts.SteeringMessage("m", []),
    parts.Other({"type": "new-kind"}),
    parts.FinishStep(),
    parts.finished(
        usage={"inputTokens": 1, "outputTokens": 2}, finish_reason="tool-calls", model="m"
    ),
]


class Agent:
    """Says the words of the last message, and then waits until it is let go."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.may_end = asyncio.Event()

    def __call__(self, body: dict[str, Any]) -> Any:
        self.asked.append(body)
        content = body["messages"][-1]["content"]
        return self._fail if content == "failed" else self._said(content)

    async def _fail(self, stream: LiveStream) -> None:
        await stream.publish("failed")
        await self.may_end.wait()
        await stream.fail("secret")

    async def _said(self, content: str) -> AsyncIterator[str | parts.AnyPart]:
        if content == "everything":
            for part in EVERY:
                yield part
        else:
            for word in content.split():
                yield word
        await self.may_end.wait()


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
async def client(hub: Hub, agent: Agent, open_client: Open) -> AsyncClient:
    return await open_client(Starlette(routes=agui_routes(hub, agent)))


def asked(content: str, run: str = "r") -> dict[str, Any]:
    message = {"id": "m", "role": "user", "content": content}
    return {"threadId": "t", "runId": run, "messages": [message]}


def told(answer: Response) -> list[tuple[str, Any]]:
    return [(event.id, json.loads(event.data)) for event in events(answer.content)]


def kinds(named: list[tuple[str, Any]]) -> list[str]:
    return [event["type"] for _, event in named]


async def begun(client: AsyncClient, content: str, run: str = "r", **options: Any) -> int:
    body = asked(content, run)
    async with client.stream("POST", "/api/agent", json=body, **options) as response:
        if response.status_code == 200:
            await anext(response.aiter_raw())
        return response.status_code


async def test_a_run_is_a_stream_of_events(agent: Agent, client: AsyncClient) -> None:
    """Under the ids of the request, each event with an id of its own; the agent is given the input
    as it was posted."""
    agent.may_end.set()
    answer = await client.post("/api/agent", json=asked("one two"))
    named = told(answer)
    (_, started), *_, (_, finished) = named
    message = named[2][1]["messageId"]

    assert "text/event-stream; charset=utf-8" == answer.headers["content-type"]
    assert {"type": "RUN_STARTED", "threadId": "t", "runId": "r"} == started
    assert [
        {"type": "STEP_STARTED", "stepName": "step-1"},
        {"type": "TEXT_MESSAGE_START", "messageId": message, "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": message, "delta": "one"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": message, "delta": "two"},
        {"type": "TEXT_MESSAGE_END", "messageId": message},
        {"type": "STEP_FINISHED", "stepName": "step-1"},
    ] == [event for _, event in named[1:-1]]
    assert {
        "type": "RUN_FINISHED", "threadId": "t", "runId": "r", "outcome": {"type": "success"},
    } == finished  # fmt: skip
    assert len(named) == len({name for name, _ in named})
    assert [asked("one two")] == agent.asked


@pytest.mark.integrations
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_every_event_is_one_of_the_protocol(agent: Agent, client: AsyncClient) -> None:
    """By the models of ``ag-ui-protocol``, of which no field is made up; whatever the parts are."""
    from ag_ui.core import Event
    from pydantic import TypeAdapter

    agent.may_end.set()
    one = TypeAdapter(Event)
    named = told(await client.post("/api/agent", json=asked("everything")))
    for _, event in named:
        parsed = one.validate_python(event)
        assert None is parsed.model_extra or {} == parsed.model_extra
    seen = kinds(named)
    custom = [event["name"] for _, event in named if event["type"] == "CUSTOM"]
    results = [event for _, event in named if event["type"] == "TOOL_CALL_RESULT"]

    assert "RUN_FINISHED" == seen[-1]
    assert [{"model": "m", "inputTokens": 1, "outputTokens": 2}] == named[-1][1]["usage"]
    assert {"tanstack": {"finishReason": "tool_calls"}} == named[-1][1]["metadata"]
    assert ['{"sun":true}', "The call was not allowed.", "not JSON", "broken"] == [
        event["content"] for event in results
    ]
    assert [
        "approval-requested", "tool-approval-response", "tool-output-preliminary", "reset-step",
        "note", "source-url", "file", "custom", "steering-message", "new-kind", "message-metadata",
    ] == custom  # fmt: skip
    starts = [event["messageId"] for _, event in named if event["type"] == "TEXT_MESSAGE_START"]
    assert [*dict.fromkeys(starts)] == [
        starts[0],
        f"{starts[0]}-step-2",
        f"{starts[0]}-step-2-2",
    ]


async def test_a_client_goes_on_after_any_event(agent: Agent, client: AsyncClient) -> None:
    """By the POST that it began with, or by a GET; what is open is opened again, under the id that
    it has, and the rest comes as it would have. Nothing is run again."""
    agent.may_end.set()
    named = told(await client.post("/api/agent", json=asked("everything")))
    for place, (name, _) in enumerate(named[:-1], 1):
        headers = {"last-event-id": name}
        if place % 2:
            answer = await client.post("/api/agent", json=asked("everything"), headers=headers)
        else:
            answer = await client.get("/api/agent", params={"runId": "r"}, headers=headers)
        again = told(answer)
        opened = len(again) - (len(named) - place)

        assert {name} == {one for one, _ in again[:opened]}
        assert "RUN_STARTED" == again[0][1]["type"]
        assert {True} == {kind.endswith(("START", "STARTED")) for kind in kinds(again[:opened])}
        assert named[place:] == again[opened:]
    last = told(await client.get("/api/agent", params={"runId": "r", "offset": named[-1][0]}))
    assert ["RUN_STARTED", "RUN_FINISHED"] == kinds(last)
    assert 1 == len(agent.asked)


async def test_a_run_is_joined_from_its_start(hub: Hub, agent: Agent, client: AsyncClient) -> None:
    """While it goes on, by any number of others, under the thread that it is of; it goes on when
    they leave."""
    assert 200 == await begun(client, "one two")
    await nothing_is_held(hub)
    async with follow(client, "/api/agent?runId=r&offset=-1") as joined:
        await joined.until_raw(b'"two"')
        agent.may_end.set()
        await joined.until_closed()
    seen = [json.loads(event.data) for event in events(joined.raw)]

    assert ("t", "r") == (seen[0]["threadId"], seen[0]["runId"])
    assert ["one", "two"] == [one["delta"] for one in seen if "delta" in one]


async def test_the_same_input_again_is_the_same_run(agent: Agent, client: AsyncClient) -> None:
    """Whether or not it has ended; another one under its id has to wait for its end."""
    assert 200 == await begun(client, "one")
    assert 200 == await begun(client, "one")
    other = await client.post("/api/agent", json=asked("two"))
    agent.may_end.set()
    first = told(await client.post("/api/agent", json=asked("one")))
    again = told(await client.post("/api/agent", json=asked("one")))
    second = told(await client.post("/api/agent", json=asked("two")))

    assert (409, "busy") == (other.status_code, other.json()["code"])
    assert first == again
    assert ["two"] == [event["delta"] for _, event in second if "delta" in event]
    assert ["one", "two"] == [body["messages"][-1]["content"] for body in agent.asked]


async def test_every_end_is_told(hub: Hub, agent: Agent, client: AsyncClient) -> None:
    """A run that is stopped is cancelled, all closed; a producer that fails, and a session that is
    removed, is an error, of whose reason nothing is told."""
    ends = []
    for how in ("stopped", "failed", "removed"):
        agent.may_end.clear()
        async with client.stream("POST", "/api/agent", json=asked(how, how)) as response:
            raw = b""
            async for piece in response.aiter_raw():
                raw += piece
                if b'"delta"' not in piece:
                    continue
                match how:
                    case "stopped":
                        await client.post(f"/api/agent/{how}/stop")
                    case "failed":
                        agent.may_end.set()
                    case _:
                        await hub.remove(f"run:{how}")
        ends.append([json.loads(event.data) for event in events(raw)][-1])
        assert (b"TEXT_MESSAGE_END" in raw) is (how == "stopped")
        assert b"secret" not in raw

    assert ["RUN_FINISHED", "RUN_ERROR", "RUN_ERROR"] == [end["type"] for end in ends]
    assert {"type": "cancelled"} == ends[0]["outcome"]
    assert ["failed", "gone"] == [end["code"] for end in ends[1:]]


async def test_who_has_seen_another_stream_is_told(
    hub: Hub, agent: Agent, client: AsyncClient
) -> None:
    """Of a run that was begun anew under its id: at once, though that goes on."""
    agent.may_end.set()
    named = told(await client.post("/api/agent", json=asked("one")))
    agent.may_end.clear()
    await begun(client, "two")
    for name, _ in named[1:]:
        again = told(await client.get("/api/agent", params={"runId": "r", "offset": name}))
        assert ["RUN_STARTED", "RUN_ERROR"] == kinds(again)
        assert "replaced" == again[-1][1]["code"]


async def test_lines_hold_the_same(agent: Agent, client: AsyncClient) -> None:
    """As ``{id, chunk}``, by the query or by what the request accepts."""
    agent.may_end.set()
    named = told(await client.post("/api/agent", json=asked("one")))
    by_query = await client.get("/api/agent", params={"runId": "r", "format": "ndjson"})
    by_header = await client.get(
        "/api/agent", params={"runId": "r"}, headers={"accept": "application/x-ndjson"}
    )
    lines = [json.loads(line) for line in by_query.text.splitlines()]

    assert named == [(line["id"], line["chunk"]) for line in lines]
    assert by_query.content == by_header.content
    assert "application/x-ndjson; charset=utf-8" == by_query.headers["content-type"]


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "must be JSON"),
        (b"[]", "JSON object"),
        (b'{"threadId": "t", "messages": []}', "runId"),
        (b'{"runId": 1, "threadId": "t", "messages": []}', "runId"),
        (b'{"runId": "r", "messages": []}', "threadId"),
        (b'{"runId": "r", "threadId": "t"}', "messages"),
        (json.dumps({"runId": "r", "threadId": "t" * 257, "messages": []}).encode(), "256 bytes"),
    ],
)
async def test_what_is_no_input_is_refused(
    agent: Agent, client: AsyncClient, body: bytes, why: str
) -> None:
    """It is told what is allowed, and runs nothing."""
    answer = await client.post("/api/agent", content=body)

    assert (400, True) == (answer.status_code, why in answer.json()["detail"])
    assert [] == agent.asked


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_what_is_not_there_is_not_found(agent: Agent, client: AsyncClient) -> None:
    """Nor is it begun by somebody who says to have had events of it."""
    after = {"last-event-id": "1-1"}
    answers = [
        await client.get("/api/agent"),
        await client.get("/api/agent", params={"runId": "r", "offset": "now"}),
        await client.post("/api/agent", json=asked("one"), headers={"last-event-id": "1-1.x"}),
        await client.get("/api/agent", params={"runId": "r", "offset": "-1"}),
        await client.post("/api/agent/r/stop"),
    ]
    hub_gone = await within(client.post("/api/agent", json=asked("one"), headers=after))

    assert [400, 400, 400, 404, 404] == [answer.status_code for answer in answers]
    assert 404 == hub_gone.status_code
    assert [] == agent.asked


async def test_runs_are_kept_apart_by_user(hub: Hub, agent: Agent, open_client: Open) -> None:
    """Somebody else's is not there: not to follow, not to stop, not to ask again."""

    def user(request: Request) -> str | None:
        return request.headers.get("x-user")

    client = await open_client(Starlette(routes=agui_routes(hub, agent, user=user)))
    alice, bob = {"x-user": "alice"}, {"x-user": "bob"}
    assert 200 == await begun(client, "one", headers=alice)
    agent.may_end.set()
    assert 404 == (await client.get("/api/agent", params={"runId": "r"}, headers=bob)).status_code
    assert 404 == (await client.post("/api/agent/r/stop", headers=bob)).status_code
    assert 404 == await begun(client, "one", headers=bob)
    assert 404 == await begun(client, "one", headers={**bob, "last-event-id": "1-1"})
    assert 200 == await begun(client, "one", headers=alice)


@asynccontextmanager
async def opened(url: str, query: str = "", **options: Any) -> AsyncIterator[ClientConnection]:
    async with connect(f"ws{url[4:]}/api/agent{query}", **options) as connection:
        yield connection


async def received(socket: ClientConnection) -> Any:
    async with bounded():
        return json.loads(await socket.recv())


async def until(socket: ClientConnection, kind: str) -> list[Any]:
    frames = [await received(socket)]
    while frames[-1].get("chunk", frames[-1])["type"] != kind:
        frames.append(await received(socket))
    return frames


async def test_runs_over_one_socket(hub: Hub, agent: Agent) -> None:
    """Frames are what lines are; one run is stopped, the other one goes on when the socket closes;
    a socket of its own joins that, and is closed at its end."""
    async with served(Starlette(routes=agui_routes(hub, agent))) as url:
        async with opened(url, "?runId=a") as socket:
            frames: list[Any] = []
            for run in ("a", "b"):
                await socket.send(json.dumps(asked(f"word-{run}", run)))
                frames = await until(socket, "TEXT_MESSAGE_CONTENT")
                assert f"word-{run}" == frames[-1]["chunk"]["delta"]
            await socket.send(json.dumps({"type": "abort", "runId": "a"}))
            *_, finished = await until(socket, "RUN_FINISHED")
            assert {"type": "cancelled"} == finished["chunk"]["outcome"]
        stream = await hub.get("run:b")
        assert stream is not None
        assert Status.ACTIVE is (await stream.info()).status
        async with opened(url, f"?runId=b&offset={frames[-1]['id']}") as socket:
            again = await until(socket, "TEXT_MESSAGE_START")
            agent.may_end.set()
            await until(socket, "RUN_FINISHED")
            with pytest.raises(ConnectionClosed):
                await received(socket)
            assert 1000 == socket.close_code

    assert [frames[-1]["id"]] * len(again) == [frame["id"] for frame in again]


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_a_socket_of_bad_frames(hub: Hub, agent: Agent) -> None:
    """Each is answered with an error, and what runs goes on."""
    async with served(Starlette(routes=agui_routes(hub, agent))) as url, opened(url) as socket:
        await socket.send(json.dumps(asked("one")))
        await until(socket, "TEXT_MESSAGE_CONTENT")
        bad: list[tuple[str | bytes, str]] = [
            ("{", "must be JSON"),
            (b"\xff", "must be JSON"),
            ("[" * 100_000, "must be JSON"),
            ("[]", "runId"),
            ('{"type": "abort"}', "runId"),
            ('{"runId": "x"}', "threadId"),
        ]
        for frame, why in bad:
            await socket.send(frame)
            error = await received(socket)
            assert ("RUN_ERROR", True) == (error["type"], why in error["message"])
        await socket.send('{"type": "abort", "runId": "never asked"}')
        agent.may_end.set()
        await until(socket, "RUN_FINISHED")


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_a_socket_has_so_much_under_way(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """An abort waits until its run has begun: there is no end of them otherwise."""
    monkeypatch.setattr(socket_module, "_MOST_FRAMES", 2)
    begun = asyncio.Event()
    may_answer = asyncio.Event()

    async def slow(body: dict[str, Any]) -> list[str]:
        begun.set()
        await may_answer.wait()
        return ["hi"]

    async with served(Starlette(routes=agui_routes(hub, slow))) as url, opened(url) as socket:
        await socket.send(json.dumps(asked("hi", run="one")))
        await within(begun.wait())
        for _ in range(2):
            await socket.send('{"type": "abort", "runId": "one"}')
        error = await received(socket)
        may_answer.set()

    assert ("RUN_ERROR", True) == (error["type"], "at most 2" in error["message"])


async def test_a_call_that_is_begun_anew_has_a_name_of_its_own(
    hub: Hub, client: AsyncClient
) -> None:
    """What was sent of its input is not taken back: a producer that goes on where another one died
    in the middle of it, or a model that repeats ids, would make a jumble of both."""
    start, result = parts.ToolInputStart("c", "t"), parts.ToolOutputAvailable("c", "yes")
    source: list[str | parts.AnyPart] = [
        start,
        parts.ToolInputDelta("c", '{"at": "Ha'),
        start,
        start,
        parts.ToolInputDelta("c", '{"at": 1}'),
        parts.ToolInputAvailable("c", "t", {"at": 1}),
        parts.ToolInputAvailable("c", "t", {"at": 1}),
        result,
        parts.ToolInputAvailable("c", "t", {"at": 2}),
        result,
    ]
    await hub.run("run:anew", source)
    found = told(await client.get("/api/agent", params={"runId": "anew"}))
    calls: dict[str, str] = {}
    for _, event in found:
        if event["type"] in ("TOOL_CALL_ARGS", "TOOL_CALL_RESULT"):
            name = event["toolCallId"]
            said = event["delta"] if "delta" in event else f" {event['content']}"
            calls[name] = calls.get(name, "") + said

    assert {
        "c": '{"at": "Ha',
        "c-again-1": '{"at": 1} yes',
        "c-again-2": '{"at":2} yes',
    } == calls


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_a_socket_that_is_refused(hub: Hub, agent: Agent) -> None:
    """Of a page of another site; one that joins what is not there is closed with the reason."""
    async with served(Starlette(routes=agui_routes(hub, agent))) as url:
        elsewhere = {"origin": "https://evil.example", "cookie": "session=1"}
        with pytest.raises(InvalidStatus):
            async with opened(url, additional_headers=elsewhere):
                pass
        async with opened(url, "?runId=x&offset=-1") as socket:
            with pytest.raises(ConnectionClosed):
                await received(socket)

    assert (1008, "there is no such session") == (socket.close_code, socket.close_reason)


async def test_a_run_whose_producer_is_elsewhere(
    hub: Hub, agent: Agent, client: AsyncClient
) -> None:
    """Is followed by its id, whoever produces it."""

    async def produce(stream: LiveStream) -> None:
        await stream.publish("hello")

    await hub.run("run:far", produce)
    named = told(await client.get("/api/agent", params={"runId": "far", "threadId": "t"}))

    assert ("t", "hello") == (named[0][1]["threadId"], named[3][1]["delta"])


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_an_agent_that_takes_too_much(hub: Hub) -> None:
    """Is told what it may take."""
    with pytest.raises(TypeError, match="agent must take"):
        agui_routes(hub, lambda body, request, more: [])
    with pytest.raises(TypeError, match="agent must be a function"):
        agui_routes(hub, "agent")  # type: ignore[arg-type]
