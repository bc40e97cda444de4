"""Following a chat by the number of a part, as ``WorkflowChatTransport`` of the AI SDK does."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from httpx import AsyncClient, Response
from starlette.applications import Starlette
from starlette.requests import Request

from streamhub import Hub, LiveStream, parts
from streamhub.formats.ui_tail import begun_at
from streamhub.http import chat_routes
from streamhub.testing.waiting import within

from .chatting import Model, begun, question
from .conftest import Open
from .serving import events, follow

RUN, TAIL = "x-workflow-run-id", "x-workflow-stream-tail-index"

#: Text, a call whose input is streamed beside it, a second step.
PARTS: list[str | parts.AnyPart] = [
    "one",
    parts.ToolInputStart("t", "weather"),
    parts.ToolInputDelta("t", "{}"),
    "two",
    parts.ToolInputAvailable("t", "weather", {}),
    parts.ToolOutputAvailable("t", "sunny"),
    parts.FinishStep(),
    parts.ReasoningDelta("r", "hm"),
    "three",
]


def sent(answer: Response) -> list[dict[str, Any]]:
    *frames, done = events(answer.content)
    assert "[DONE]" == done.data
    return [json.loads(frame.data) for frame in frames]


async def answered(stream: LiveStream) -> None:
    for part in PARTS:
        await stream.publish(part)


@pytest.fixture
async def client(hub: Hub, open_client: Open) -> AsyncClient:
    return await open_client(Starlette(routes=chat_routes(hub, lambda body: answered)))


def path_of(run: str) -> str:
    return f"/api/chat/{quote(run, safe='')}/stream"


async def test_the_answer_goes_on_at_any_part(client: AsyncClient) -> None:
    """After as many parts as the client has got, from the same rendering; at the end the last one
    comes again, and who asks for more than there is gets an end, too."""
    posted = await client.post("/api/chat", json={"messages": question("?")["messages"]})
    whole = sent(posted)
    got = []
    for place in range(len(whole) + 3):
        answer = await client.get(path_of(posted.headers[RUN]), params={"startIndex": place})
        got.append(sent(answer))

    assert {"type": "finish"} == whole[-1]
    assert [whole[place:] for place in range(len(whole))] == got[: len(whole)]
    assert [[{"type": "finish"}]] * 3 == got[len(whole) :]


async def test_the_last_parts_begin_where_something_begins(client: AsyncClient) -> None:
    """At most as late as was asked for; the client reckons by the header where that is, and goes
    on from there."""
    posted = await client.post("/api/chat", json={"messages": question("?")["messages"]})
    whole = sent(posted)
    path = path_of(posted.headers[RUN])
    for count in range(1, len(whole) + 3):
        answer = await client.get(path, params={"startIndex": -count})
        got = sent(answer)
        place = max(0, int(answer.headers[TAIL]) + 1 - count)

        assert whole[place:] == got
        assert place <= max(0, len(whole) - count)
        assert place == begun_at(got, len(got)) + place
    assert len(whole) - 1 == int((await client.get(path, params={"startIndex": -1})).headers[TAIL])


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_every_end_is_a_finish(hub: Hub, open_client: Open, how: str) -> None:
    """After what it was."""
    model = Model()
    client = await open_client(Starlette(routes=chat_routes(hub, model)))
    async with client.stream("POST", "/api/chat", json=question("one")) as response:
        run = response.headers[RUN]
    async with follow(client, path_of(run) + "?startIndex=3") as following:
        await following.until_raw(b"one")
        if how == "cancelled":
            assert 204 == (await client.post(f"/api/chat/{quote(run, safe='')}/stop")).status_code
        else:
            await hub.remove("chat:c")
        *_, last, finish, done = await following.rest()

    assert ("abort" if how == "cancelled" else "error") == json.loads(last.data)["type"]
    assert ['{"type":"finish"}', "[DONE]"] == [finish.data, done.data]


async def test_a_name_is_that_of_one_answer(hub: Hub, open_client: Open) -> None:
    """The next one of the chat is not found under it, and not stopped by it."""
    model = Model()
    client = await open_client(Starlette(routes=chat_routes(hub, model)))
    asked = question("one", chat="a/ü:b")
    async with client.stream("POST", "/api/chat", json=asked) as response:
        run = response.headers[RUN]
    model.may_end.set()
    stream = await hub.get("chat:a/ü:b")
    assert stream is not None
    await within(stream.wait())
    model.may_end.clear()
    found = await client.get(path_of(run), params={"startIndex": 0})
    await begun(client, question("two", chat="a/ü:b"))
    lost = await client.get(path_of(run), params={"startIndex": 0})
    stopped = await client.post(f"/api/chat/{quote(run, safe='')}/stop")
    info = await stream.info()

    assert [200, 404, 204] == [found.status_code, lost.status_code, stopped.status_code]
    assert not info.cancelling


async def test_nothing_to_follow_is_a_finish(hub: Hub, open_client: Open) -> None:
    """For a page that asks by its chat, to which a 204 would be an error: where there is no answer,
    and where it has ended, unless that is replayed. A name that means nothing is not found."""
    model = Model()
    model.may_end.set()
    client = await open_client(Starlette(routes=chat_routes(hub, model)))
    replaying = await open_client(Starlette(routes=chat_routes(hub, model, replay_ended=True)))
    first = await client.get(path_of("c"), params={"startIndex": 0})
    await client.post("/api/chat", json=question("one"))
    ended = await client.get(path_of("c"), params={"startIndex": 0})
    rest = await client.get(path_of("c"), params={"startIndex": 3})
    replayed = await replaying.get(path_of("c"), params={"startIndex": 0})
    unknown = await client.get(path_of(f"run-{'0' * 24}:c"), params={"startIndex": 0})

    assert [[{"type": "finish"}]] * 2 == [sent(first), sent(ended)]
    assert sent(replayed)[3:] == sent(rest)
    assert "start" == sent(replayed)[0]["type"]
    assert 404 == unknown.status_code


@pytest.mark.parametrize("place", ["", "x", "1.5", "--1", "9" * 16, "-"])
async def test_a_place_is_a_whole_number(client: AsyncClient, place: str) -> None:
    """Anything else is told what is allowed."""
    answer = await client.get(path_of("c"), params={"startIndex": place})

    assert (400, True) == (answer.status_code, "whole number" in answer.json()["detail"])


async def test_only_who_may_read_it_follows(hub: Hub, open_client: Open) -> None:
    """Somebody else finds nothing there, by either name."""

    def user(request: Request) -> str | None:
        return request.headers.get("x-user")

    client = await open_client(Starlette(routes=chat_routes(hub, Model(), user=user)))
    alice, bob = {"x-user": "alice"}, {"x-user": "bob"}
    async with client.stream("POST", "/api/chat", json=question("one"), headers=alice) as response:
        run = response.headers[RUN]
    by_run = await client.get(path_of(run), params={"startIndex": 0}, headers=bob)
    by_chat = await client.get(path_of("c"), params={"startIndex": 0}, headers=bob)

    assert 404 == by_run.status_code
    assert [{"type": "finish"}] == sent(by_chat)


@pytest.mark.parametrize("more", [0, 1, 1000])
async def test_an_answer_that_waits_for_approval_is_a_finish(
    hub: Hub, open_client: Open, more: int
) -> None:
    """To who asks for more than there is, too: the client would ask again and again."""

    async def waiting(stream: LiveStream) -> None:
        await stream.publish(parts.ToolInputAvailable("t", "mail", {}))
        await stream.publish(parts.ToolApprovalRequest("a", "t"))
        await stream.publish(parts.FinishStep())
        async for message in stream.inbox():
            message.done()

    client = await open_client(Starlette(routes=chat_routes(hub, lambda body: waiting)))
    asked = await client.post("/api/chat", json=question("mail"))
    first = sent(asked)
    place = len(first) - 1 + more
    again = await client.get(path_of(asked.headers[RUN]), params={"startIndex": place})

    assert [{"type": "finish", "finishReason": "tool-calls"}] == first[-1:] == sent(again)


def test_what_is_over_is_not_begun_again() -> None:
    """A text that has ended, a call with its output, and what a reset has made void."""
    stream: list[dict[str, Any]] = [
        {"type": "text-start", "id": "a"},
        {"type": "text-end", "id": "a"},
        {"type": "tool-input-available", "toolCallId": "t"},
        {"type": "tool-output-available", "toolCallId": "t", "preliminary": True},
        {"type": "text-start", "id": "b"},
        {"type": "reset-step"},
        {"type": "tool-output-available", "toolCallId": "t"},
        {"type": "finish-step"},
        {"type": "finish"},
    ]

    assert [8, 7, 2, 2, 2, 2, 2, 0, 0] == [begun_at(stream, count) for count in range(1, 10)]
    assert 2 == begun_at(stream[:4], 0)
