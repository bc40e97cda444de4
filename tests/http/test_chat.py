"""The routes that ``useChat`` talks to: begin, follow, resume, stop."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from starlette.applications import Starlette
from starlette.requests import Request

from streamhub import Hub, Status
from streamhub.http import chat_routes
from streamhub.parts import message_id_of
from streamhub.testing.waiting import patience, until, within

from .chatting import Model, begun, question, text_of
from .conftest import Open
from .serving import nothing_is_held


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
async def client(hub: Hub, model: Model, open_client: Open) -> AsyncClient:
    return await open_client(Starlette(routes=chat_routes(hub, model)))


@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
async def test_an_answer_goes_on_when_its_reader_has_gone(
    hub: Hub, model: Model, open_client: Open, framework: str
) -> None:
    """It is resumed, all of it, in both frameworks; 204 when it has ended."""
    app: Any = FastAPI() if framework == "fastapi" else Starlette()
    app.router.routes.extend(chat_routes(hub, model))
    client = await open_client(app)
    assert 200 == await begun(client, question("one two", extra=[1]))
    await nothing_is_held(hub)
    model.may_end.set()
    resumed = await client.get("/api/chat/c/stream")
    stream = await hub.get("chat:c")
    assert stream is not None
    assert Status.FINISHED is await stream.wait(patience())

    assert resumed.status_code in (200, 204)
    assert resumed.status_code == 204 or "onetwo" == text_of(resumed.text)
    assert "onetwo" == await stream.text()
    assert [1] == model.asked[0]["extra"]
    assert 204 == (await client.get("/api/chat/c/stream")).status_code


async def test_a_running_answer_is_resumed_from_its_start(
    hub: Hub, model: Model, client: AsyncClient
) -> None:
    """By any number of tabs."""
    await begun(client, question("one two"))
    await nothing_is_held(hub)
    tabs = [asyncio.create_task(client.get("/api/chat/c/stream")) for _ in range(3)]

    async def all_there() -> bool:
        return hub.statistics().subscribers == len(tabs)

    await until(all_there)
    model.may_end.set()
    answers = await within(asyncio.gather(*tabs))

    assert ["onetwo"] * 3 == [text_of(one.text) for one in answers]


async def test_the_same_message_again_follows_its_answer(
    hub: Hub, model: Model, client: AsyncClient
) -> None:
    """As when a connection broke before the page knew; another message is told to wait, and how
    long. Neither is answered: the application saves nothing for them."""
    await begun(client, question("one"))
    again = await begun(client, question("one"))
    other = await client.post("/api/chat", json=question("two"))

    assert 200 == again
    assert (409, "busy") == (other.status_code, other.json()["code"])
    assert 1 <= int(other.headers["retry-after"]) <= hub.config.lease
    assert ["one"] == [body["messages"][-1]["text"] for body in model.asked]


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_a_page_may_send_its_last_message_alone(client: AsyncClient) -> None:
    """As the AI SDK's guide has it: two of them are two questions all the same."""
    asked = [{"id": "c", "message": question(text)["messages"][0]} for text in ("one", "two")]

    assert [200, 200, 409] == [
        await begun(client, asked[0]),
        await begun(client, asked[0]),
        await begun(client, asked[1]),
    ]


@pytest.mark.parametrize("message_id", [None, "m1"])
async def test_another_message_under_the_same_id_is_another(
    hub: Hub, model: Model, client: AsyncClient, message_id: str | None
) -> None:
    """Edited, or sent by a client that gives no ids: it does not get the answer to the first."""

    def edited(text: str) -> dict[str, Any]:
        return {"id": "c", "messages": [{"id": message_id, "role": "user", "text": text}]}

    await begun(client, edited("one"))
    other = await client.post("/api/chat", json=edited("two"))

    assert (409, "busy") == (other.status_code, other.json()["code"])


@pytest.mark.parametrize("next_one", ["two", "one"])
async def test_a_new_answer_waits_for_one_that_is_stopping(
    hub: Hub, model: Model, client: AsyncClient, next_one: str
) -> None:
    """Stop, and send the next message at once; or the same, to have another answer to it."""
    model.may_stop.clear()
    await begun(client, question("one"))
    assert 204 == (await client.post("/api/chat/c/stop")).status_code
    second = asyncio.create_task(begun(client, question(next_one)))

    async def waits() -> bool:
        return hub.statistics().sessions_followed == 1

    await nothing_is_held(hub)
    await until(waits)
    model.may_stop.set()

    assert 200 == await within(second)
    stream = await hub.get("chat:c")
    assert stream is not None
    assert next_one == await stream.text()
    assert 2 == len(model.asked)


async def test_a_chat_that_is_removed_while_a_message_waits_begins_anew(
    hub: Hub, model: Model, client: AsyncClient
) -> None:
    """It waits for the answer that stops, and then there is none."""
    model.may_stop.clear()
    await begun(client, question("one"))
    assert 204 == (await client.post("/api/chat/c/stop")).status_code
    await nothing_is_held(hub)
    second = asyncio.create_task(begun(client, question("two")))

    async def waits() -> bool:
        return hub.statistics().sessions_followed == 1

    await until(waits)
    await hub.remove("chat:c")
    assert 200 == await within(second)
    model.may_stop.set()


@pytest.mark.parametrize(
    "body",
    [None, {}, {"assistantMessage": {}}, {"activeStreamId": None}, b"no json", b"[1]", b"\xff"],
)
async def test_stopping(hub: Hub, client: AsyncClient, body: Any) -> None:
    """Stops the producer, whatever the body is; again, it does no harm."""
    await begun(client, question("one"))
    options = {"content": body} if isinstance(body, bytes) else {"json": body}
    if body is None:
        options = {}
    answers = [(await client.post("/api/chat/c/stop", **options)).status_code for _ in range(2)]
    stream = await hub.get("chat:c")
    assert stream is not None

    assert [204, 204] == answers
    assert Status.CANCELLED is await stream.wait(patience())


@pytest.mark.parametrize("named", ["stale", "no name", "generation", "message"])
async def test_a_page_that_has_missed_a_new_answer_does_not_stop_it(
    hub: Hub, client: AsyncClient, named: str
) -> None:
    """``activeStreamId`` is the generation or the message's id; a stale one stops nothing."""
    await begun(client, question("one"))
    stream = await hub.get("chat:c")
    assert stream is not None
    info = await stream.info()
    names: dict[str, Any] = {"stale": "x", "no name": [{}]}
    names |= {"generation": info.generation, "message": message_id_of(info)}
    answer = await client.post("/api/chat/c/stop", json={"activeStreamId": names[named]})
    after = await stream.info()

    assert 204 == answer.status_code
    assert (named in ("generation", "message")) == (
        after.cancelling or after.status is Status.CANCELLED
    )


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "invalid_body"),
        (b"{", 400, "invalid_body"),
        (b"[]", 400, "invalid_body"),
        (b"null", 400, "invalid_body"),
        (b"{}", 400, "invalid_body"),
        (b'{"id": 7}', 400, "invalid_body"),
        (b'{"id": ""}', 400, "invalid_body"),
        (b'{"id": "\xff"}', 400, "invalid_body"),
        (b'{"id": "\\ud800"}', 400, "invalid_body"),
        (b'{"id": "a\\u0000"}', 400, "invalid_session_id"),
        (b'{"id": "%s"}' % (b"x" * 600), 400, "invalid_session_id"),
        (b"[" * 100_000, 400, "invalid_body"),
        (b" " * (16 * 1024 * 1024 + 1), 413, "body_too_large"),
    ],
)
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_bad_bodies_are_problems(
    client: AsyncClient, model: Model, content: bytes, status: int, code: str
) -> None:
    """And begin nothing."""
    answer = await client.post("/api/chat", content=content)

    assert (status, code) == (answer.status_code, answer.json()["code"])
    assert "application/problem+json" == answer.headers["content-type"]
    assert [] == model.asked


@pytest.mark.parametrize(
    "chat", ["a/b", "a/stream", "a/stop", "100%", "%2F", "ü 😀", "a?b#c", "..."]
)
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_chat_ids_of_every_kind(
    hub: Hub, model: Model, client: AsyncClient, chat: str
) -> None:
    """``encodeURIComponent`` makes one segment of them."""
    await begun(client, question("one", chat=chat))
    path = f"/api/chat/{quote(chat, safe='')}"
    async with client.stream("GET", f"{path}/stream") as response:
        assert 200 == response.status_code
    assert 204 == (await client.post(f"{path}/stop")).status_code
    stream = await hub.get(f"chat:{chat}")
    assert stream is not None
    assert Status.CANCELLED is await stream.wait(patience())


async def test_everybody_has_their_own_chats(hub: Hub, model: Model, open_client: Open) -> None:
    """With ``user``: another's chat cannot be told from one that is not there."""

    def user(request: Request) -> str | None:
        return request.headers.get("x-user")

    client = await open_client(Starlette(routes=chat_routes(hub, model, user=user)))
    alice, bob = {"x-user": "alice"}, {"x-user": "bob"}
    assert 200 == await begun(client, question("one"), headers=alice)
    stream = await hub.get("chat:c")
    assert stream is not None
    statuses = [
        (await client.get("/api/chat/c/stream", headers=bob)).status_code,
        (await client.get("/api/chat/unknown/stream", headers=bob)).status_code,
        (await client.post("/api/chat/c/stop", headers=bob)).status_code,
        (await client.post("/api/chat/unknown/stop", headers=bob)).status_code,
        (await client.post("/api/chat", json=question("two"), headers=bob)).status_code,
        (await client.post("/api/chat", json=question("two", chat="new"))).status_code,
    ]
    info = await stream.info()

    assert [204, 204, 404, 404, 404, 404] == statuses
    assert ("alice", Status.ACTIVE, False) == (info.owner, info.status, info.cancelling)
    assert 204 == (await client.post("/api/chat/c/stop", headers=alice)).status_code
    assert Status.CANCELLED is await stream.wait(patience())


async def test_authorize_comes_before_all(hub: Hub, model: Model, open_client: Open) -> None:
    """With the action that is meant."""
    asked: list[tuple[str, str]] = []

    def refuse(request: Request, session_id: str, action: str) -> bool:
        asked.append((session_id, action))
        return False

    client = await open_client(Starlette(routes=chat_routes(hub, model, authorize=refuse)))
    statuses = [
        (await client.post("/api/chat", json=question("one"))).status_code,
        (await client.get("/api/chat/c/stream")).status_code,
        (await client.post("/api/chat/c/stop")).status_code,
    ]

    assert [404, 204, 404] == statuses
    assert [("chat:c", "produce"), ("chat:c", "read"), ("chat:c", "cancel")] == asked
    assert [] == model.asked
