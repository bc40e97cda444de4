"""``POST /sessions/{session}/inbox``: messages to a producer over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from httpx import AsyncClient
from starlette.requests import Request

from streamhub import Hub, HubConfig, LiveStream
from streamhub.http import create_app, owned_by
from streamhub.testing.waiting import within

from ..conftest import MakeHub
from .conftest import Open

pytestmark = pytest.mark.parametrize("new_hub", ["memory"], indirect=True)

LIMITS = HubConfig(max_chunk_bytes=10, max_inbox_messages=3)
PATH = "/sessions/chat/inbox"


async def _received(stream: LiveStream, count: int) -> list[tuple[str, str | None]]:
    async with stream.inbox() as inbox:
        messages = [await within(anext(inbox)) for _ in range(count)]
    return [(one.data, one.event) for one in messages]


async def test_a_message_reaches_the_producer(hub: Hub, open_client: Open) -> None:
    """With its event type; one that is sent again under its key is not sent twice, be that in the
    body or in the header."""
    stream, _ = await hub.register("chat")
    client = await open_client(create_app(hub))
    sent = await client.post(PATH, json={"data": "é", "event": "tool"})
    named = await client.post(PATH, json={"data": "b", "key": "1"})
    again = await client.post(PATH, json={"data": "b"}, headers={"idempotency-key": "1"})

    assert (202, "chat", "1") == (
        sent.status_code,
        sent.json()["session_id"],
        sent.json()["id"].partition("-")[0],
    )
    assert named.json() == again.json()
    assert [("é", "tool"), ("b", None)] == await _received(stream, 2)


@pytest.mark.parametrize(
    ("status", "code", "asked"),
    [
        (400, "invalid_body", {"content": b"{"}),
        (400, "invalid_body", {"json": {"data": 1}}),
        (400, "invalid_body", {"json": {"event": "x"}}),
        (400, "invalid_message", {"json": {"data": "", "event": "a\nb"}}),
        (400, "invalid_message", {"json": {"data": "", "key": ""}}),
        (413, "message_too_large", {"json": {"data": "x" * 11}}),
        (413, "body_too_large", {"json": {"data": "x" * 10_000}}),
        (415, "unsupported_media_type", {"content": b"{}", "headers": {"content-type": "x/y"}}),
        (415, "unsupported_media_type", {"data": {"data": "x"}}),
    ],
)
async def test_what_is_no_message_is_refused(
    make_hub: MakeHub, open_client: Open, status: int, code: str, asked: dict[str, Any]
) -> None:
    """With what is allowed, and before anything is sent."""
    hub = make_hub(LIMITS)
    stream, _ = await hub.register("chat")
    client = await open_client(create_app(hub))
    asked = {"headers": {"content-type": "application/json"}, **asked}
    if "data" in asked:
        del asked["headers"]
    refused = await client.post(PATH, **asked)

    assert (status, code) == (refused.status_code, refused.json()["code"])
    await stream.send("first")
    assert [("first", None)] == await _received(stream, 1)


async def test_a_session_that_takes_no_message_says_so(
    make_hub: MakeHub, open_client: Open
) -> None:
    """Full, ended, unknown: each has its status and its code."""
    hub = make_hub(LIMITS)
    client = await open_client(create_app(hub))

    async def send() -> tuple[int, str | None, str | None]:
        answer = await client.post(PATH, json={"data": "x"})
        return answer.status_code, answer.json().get("code"), answer.headers.get("retry-after")

    assert (404, "session_not_found", None) == await send()
    stream, _ = await hub.register("chat")
    assert [202] * 3 == [(await send())[0] for _ in range(3)]
    assert (429, "inbox_full", "1") == await send()
    await stream.close()
    assert (409, "stream_closed", None) == await send()


async def test_nobody_sends_where_he_may_not(hub: Hub, open_client: Open) -> None:
    """A refusal looks like an unknown session; the check is asked for ``send``."""
    asked: list[tuple[str, str]] = []

    async def authorize(request: Request, session_id: str, action: str) -> bool:
        asked.append((session_id, action))
        return await owned(request, session_id, action)  # type: ignore[arg-type]

    owned = owned_by(hub, lambda request: request.headers.get("x-user"))
    stream, _ = await hub.register("chat", owner="ann")
    client: AsyncClient = await open_client(create_app(hub, authorize=authorize))
    answers = [
        await client.post(path, json={"data": user}, headers={"x-user": user})
        for path, user in ((PATH, "eve"), ("/sessions/none/inbox", "eve"), (PATH, "ann"))
    ]

    assert [404, 404, 202] == [answer.status_code for answer in answers]
    assert json.loads(answers[0].content) == json.loads(answers[1].content)
    assert ("chat", "send") in asked
    assert [("ann", None)] == await _received(stream, 1)
