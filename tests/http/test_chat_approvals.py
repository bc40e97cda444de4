"""An answer that waits in its inbox for a user's word on a tool call, which the page posts."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from httpx import AsyncClient, Response
from starlette.applications import Starlette
from starlette.requests import Request

from streamhub import Hub, LiveStream, Status, parts
from streamhub.http import chat_routes, message_id_of
from streamhub.testing.waiting import within

from .conftest import Open
from .serving import events

ASKED = {"id": "c", "messages": [{"id": "1", "role": "user", "parts": []}], "trigger": "t"}


class Sender:
    """Asks before it calls each of its tools, in steps of their own, and goes on by the answers."""

    def __init__(self, *calls: str) -> None:
        self.calls = calls
        self.asked: list[Any] = []

    def __call__(self, body: dict[str, Any]) -> Any:
        self.asked.append(body)
        return self._answer

    async def _answer(self, stream: LiveStream) -> None:
        decisions = aiter(stream.inbox())
        for call in self.calls:
            await stream.publish(parts.StartStep())
            await stream.publish(parts.ToolInputAvailable(call, "send", {"to": call}))
            await stream.publish(parts.ToolApprovalRequest(f"ok-{call}", call))
            await stream.publish(parts.FinishStep())
            message = await anext(decisions, None)
            if message is None:  # stopped
                return
            decision = parts.decode(message.data)
            assert isinstance(decision, parts.ToolApprovalResponse)
            assert f"ok-{call}" == decision.approval_id
            await stream.publish(decision)
            if decision.approved:
                await stream.publish(parts.ToolOutputAvailable(call, "sent"))
            else:
                await stream.publish(parts.ToolOutputDenied(call))
            message.done()
        await stream.publish("Done.")


@pytest.fixture
def sender() -> Sender:
    return Sender("a", "b")


@pytest.fixture
async def client(hub: Hub, sender: Sender, open_client: Open) -> AsyncClient:
    return await open_client(Starlette(routes=chat_routes(hub, sender)))


def sent(answer: Response) -> list[dict[str, Any]]:
    assert 200 == answer.status_code, answer.text
    *frames, done = events(answer.content)
    assert "[DONE]" == done.data
    return [json.loads(frame.data) for frame in frames]


def kinds(answer: Response) -> list[str]:
    return [part["type"] for part in sent(answer)]


async def posted(client: AsyncClient, message_id: str, call: str, approved: bool) -> Response:
    """What ``useChat`` posts once its user has decided."""
    approval = {"id": f"ok-{call}", "approved": approved, "reason": "because"}
    tool = {"type": "tool-send", "toolCallId": call, "state": "approval-responded"}
    message = {"id": message_id, "role": "assistant", "parts": [{**tool, "approval": approval}]}
    body = {**ASKED, "messages": [*ASKED["messages"], message], "messageId": message_id}
    return await within(client.post("/api/chat", json=body))


async def message_of(hub: Hub) -> str:
    stream = await hub.get("chat:c")
    assert stream is not None
    return message_id_of(await stream.info())


PAUSED = ["start-step", "tool-input-available", "tool-approval-request", "finish-step", "finish"]


async def test_an_answer_pauses_and_goes_on(hub: Hub, sender: Sender, client: AsyncClient) -> None:
    """The page's response ends where the answer waits; what its user says reaches the producer, and
    the next response goes on from there, in the same message, to the next pause."""
    first = await client.post("/api/chat", json=ASKED)
    reloaded = await client.get("/api/chat/c/stream")
    message = await message_of(hub)
    second = await posted(client, message, "a", True)
    third = await posted(client, message, "b", False)
    stream = await hub.get("chat:c")
    assert stream is not None

    assert ["start", *PAUSED] == kinds(first) == kinds(reloaded)
    assert ["start", "tool-approval-response", "tool-output-available", *PAUSED] == kinds(second)
    assert {
        "type": "tool-approval-response",
        "approvalId": "ok-a",
        "approved": True,
        "reason": "because",
    } == sent(second)[1]
    assert ["start", "tool-approval-response", "tool-output-denied"] == kinds(third)[:3]
    assert "finish" == kinds(third)[-1]
    assert [{"type": "start", "messageId": message}] * 3 == [
        sent(one)[0] for one in (first, second, third)
    ]
    assert (Status.FINISHED, "Done.") == (await stream.wait(), await stream.text())
    assert 1 == len(sender.asked)


async def test_what_is_said_twice_is_heard_once(hub: Hub, client: AsyncClient) -> None:
    """The page posts again what it has posted: it gets the same, and the producer nothing."""
    await client.post("/api/chat", json=ASKED)
    message = await message_of(hub)
    first = await posted(client, message, "a", True)
    again = await posted(client, message, "a", False)

    assert sent(first) == sent(again)


async def test_what_is_said_again_after_the_end_calls_nothing_again(
    hub: Hub, sender: Sender, client: AsyncClient
) -> None:
    """A tab that has not heard of it, or that lost its connection, gets the rest of the answer."""
    await client.post("/api/chat", json=ASKED)
    message = await message_of(hub)
    await posted(client, message, "a", True)
    once = await posted(client, message, "b", True)
    stream = await hub.get("chat:c")
    assert stream is not None
    assert Status.FINISHED is await within(stream.wait())
    again = await posted(client, message, "b", False)

    assert "tool-output-available" in kinds(once)
    assert sent(once) == sent(again)
    assert 1 == len(sender.asked)


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_what_is_said_to_a_dead_producer_is_another_answer(
    hub: Hub, sender: Sender, client: AsyncClient
) -> None:
    """Where nobody resumes it: its user would only hear, again and again, that it is lost."""
    asked: list[str | parts.AnyPart] = [
        parts.StartStep(),
        parts.ToolInputAvailable("a", "send", {}),
        parts.ToolApprovalRequest("ok-a", "a"),
        parts.FinishStep(),
    ]
    stream, _ = await hub.register("chat:c")
    for part in asked:
        await stream.publish(part)
    await stream.release()
    answer = await posted(client, await message_of(hub), "a", True)

    assert ["start", *PAUSED] == kinds(answer)
    assert 1 == len(sender.asked)


async def test_a_reload_after_a_pause_gets_all(hub: Hub, client: AsyncClient) -> None:
    """From the start of the message up to where the answer waits now, and not where it did."""
    await client.post("/api/chat", json=ASKED)
    await posted(client, await message_of(hub), "a", True)
    reloaded = await client.get("/api/chat/c/stream")
    before = [kind for kind in kinds(reloaded) if kind == "finish"]

    assert ["ok-a", "ok-b"] == [
        part["approvalId"] for part in sent(reloaded) if part["type"] == "tool-approval-request"
    ]
    assert ["finish"] == before


async def test_a_reconnecting_client_goes_on_in_its_response(hub: Hub, client: AsyncClient) -> None:
    """After a cut in the response to its word, whose parts it counts from there."""
    await client.post("/api/chat", json=ASKED)
    answer = await posted(client, await message_of(hub), "a", True)
    whole = sent(answer)
    path = f"/api/chat/{quote(answer.headers['x-workflow-run-id'], safe='')}/stream"
    for place in range(len(whole)):
        again = sent(await client.get(path, params={"startIndex": place}))
        assert whole[place:] == again
    assert 400 == (await client.get(path, params={"startIndex": -1})).status_code


async def test_what_was_not_asked_for_is_another_answer(
    hub: Hub, sender: Sender, client: AsyncClient
) -> None:
    """It has to wait as any question; and so it is once the answer that has asked is over."""
    await client.post("/api/chat", json=ASKED)
    message = await message_of(hub)
    unasked = await posted(client, message, "x", True)
    stream = await hub.get("chat:c")
    assert stream is not None
    await client.post("/api/chat/c/stop")
    await within(stream.wait())
    after = await posted(client, message, "a", True)

    assert (409, "busy") == (unasked.status_code, unasked.json()["code"])
    assert ["start", *PAUSED] == kinds(after)
    assert 2 == len(sender.asked)


async def test_only_its_user_answers(hub: Hub, sender: Sender, open_client: Open) -> None:
    """Somebody else's word reaches nobody."""

    def user(request: Request) -> str | None:
        return request.headers.get("x-user")

    client = await open_client(Starlette(routes=chat_routes(hub, sender, user=user)))
    client.headers["x-user"] = "alice"
    await client.post("/api/chat", json=ASKED)
    message = await message_of(hub)
    client.headers["x-user"] = "bob"
    refused = await posted(client, message, "a", False)
    client.headers["x-user"] = "alice"
    answer = await posted(client, message, "a", True)

    assert 404 == refused.status_code
    assert sent(answer)[1]["approved"]


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
@pytest.mark.parametrize(
    "part",
    [
        None,
        "text",
        {"state": "approval-responded"},
        {"state": "approval-responded", "approval": []},
        {"state": "approval-responded", "approval": {"id": 7}},
    ],
)
async def test_a_message_of_anything(client: AsyncClient, part: Any) -> None:
    """What holds no approval is a question."""
    await client.post("/api/chat", json=ASKED)
    message = {"id": "m", "role": "assistant", "parts": [part]}
    answer = await client.post("/api/chat", json={**ASKED, "messages": [message]})

    assert 409 == answer.status_code
