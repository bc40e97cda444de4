"""Many chats over one WebSocket: what the AI SDK's ``WebSocketChatTransport`` sends and reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount
from starlette.types import ASGIApp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from streamhub import Hub, Status
from streamhub.http import chat_router, chat_routes, frames
from streamhub.http.chat import socket as socket_module
from streamhub.parts import message_id_of
from streamhub.testing.waiting import bounded, patience, until, within

from .chatting import Model, question
from .serving import served


@pytest.fixture
def model() -> Model:
    return Model()


@asynccontextmanager
async def opened(app: ASGIApp, path: str = "/api/chat", **options: Any) -> AsyncIterator[Socket]:
    async with served(app) as url, connect(f"ws{url[4:]}{path}", **options) as connection:
        yield Socket(connection)


@pytest.fixture
async def socket(hub: Hub, model: Model) -> AsyncIterator[Socket]:
    async with opened(Starlette(routes=chat_routes(hub, model))) as socket:
        yield socket


class Socket:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, kind: str, request_id: str, **more: Any) -> None:
        frame = {"type": kind, "requestId": request_id, **more}
        if kind != "abort":
            frame = {"headers": {}, "body": {}, **frame}
        await self.connection.send(json.dumps(frame))

    async def ask(self, request_id: str, text: str, *, chat: str = "c", **more: Any) -> None:
        asked = {key: one for key, one in question(text, chat=chat).items() if key != "body"}
        await self.say("send", request_id, **asked, **more)

    async def next(self) -> dict[str, Any]:
        async with bounded():
            frame: dict[str, Any] = json.loads(await self.connection.recv())
            return frame

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """The frames up to the next one of this kind."""
        frames = [await self.next()]
        while frames[-1]["type"] != kind:
            frames.append(await self.next())
        return frames

    async def until_text(self, text: str) -> list[dict[str, Any]]:
        frames: list[dict[str, Any]] = []
        while text not in text_of(frames):
            frames.append(await self.next())
        return frames


def text_of(frames: list[dict[str, Any]]) -> str:
    return "".join(frame.get("chunk", {}).get("delta", "") for frame in frames)


async def ended(hub: Hub, chat: str = "c") -> tuple[Status, str]:
    stream = await hub.get(f"chat:{chat}", wait=patience())
    assert stream is not None
    return await stream.wait(patience()), await stream.text()


async def test_an_answer_is_sent_as_frames(hub: Hub, model: Model, socket: Socket) -> None:
    """``start``, the parts in a row without a hole, ``end``; and ``answer`` is given what the
    default transport would have posted."""
    model.may_end.set()
    await socket.ask("r1", "one two", body={"extra": 1}, metadata={"m": 2})
    start, *chunks, end = await socket.until("end")
    stream = await hub.get("chat:c")
    assert stream is not None

    assert ({"type": "start", "requestId": "r1"}, {"type": "end", "requestId": "r1"}) == (
        start,
        end,
    )
    assert [*range(len(chunks))] == [frame["sequence"] for frame in chunks]
    assert {"r1"} == {frame["requestId"] for frame in chunks}
    assert {"type": "start", "messageId": message_id_of(await stream.info())} == chunks[0]["chunk"]
    assert ("onetwo", {"type": "finish"}) == (text_of(chunks), chunks[-1]["chunk"])
    assert [question("one two", extra=1, metadata={"m": 2})] == model.asked


async def test_one_socket_has_many_chats(hub: Hub, model: Model, socket: Socket) -> None:
    """And several requests of one of them: a tab sends, another one resumes."""
    await socket.ask("r1", "one", chat="a")
    await socket.ask("r2", "two", chat="b/ü?x")
    await socket.until_text("two")
    await socket.say("resume", "r3", id="b/ü?x")
    frames: list[dict[str, Any]] = []
    while text_of([one for one in frames if one["requestId"] == "r3"]) != "two":
        frames.append(await socket.next())
    model.may_end.set()
    while len([one for one in frames if one["type"] == "end"]) < 3:
        frames.append(await socket.next())

    resumed = [one for one in frames if one["requestId"] == "r3"]
    assert ["start", "chunk"] == [one["type"] for one in resumed[:2]]
    assert "start" == resumed[1]["chunk"]["type"]
    assert {"r1", "r2", "r3"} == {one["requestId"] for one in frames if one["type"] == "end"}
    assert (Status.FINISHED, "two") == await ended(hub, "b/ü?x")


async def test_there_is_nothing_to_resume(hub: Hub, model: Model, socket: Socket) -> None:
    """In a chat that is not there, and in one whose answer has ended."""
    model.may_end.set()
    await socket.ask("r1", "one")
    await socket.until("end")
    await socket.say("resume", "r2", id="c")
    await socket.say("resume", "r3", id="other")

    assert [
        {"type": "no-active", "requestId": "r2"},
        {"type": "no-active", "requestId": "r3"},
    ] == sorted([await socket.next(), await socket.next()], key=lambda one: one["requestId"])


@pytest.mark.parametrize("kind", ["send", "resume"])
async def test_an_abort_stops_the_producer(hub: Hub, socket: Socket, kind: str) -> None:
    """At once, so that the next question waits; nothing more is said of what was aborted."""
    await socket.ask("r1", "one two")
    await socket.until_text("onetwo")
    if kind == "resume":
        await socket.say("resume", "r2", id="c")
        await socket.until_text("onetwo")
    await socket.say("abort", "r1" if kind == "send" else "r2")
    await socket.ask("r3", "three")
    frames = await socket.until_text("three")

    assert {"r3"} == {one["requestId"] for one in frames if one["type"] != "chunk"} - {"r1"}
    await socket.say("abort", "r3")
    assert (Status.CANCELLED, "three") == await ended(hub)


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_a_question_waits_for_the_stop_before_it(hub: Hub, model: Model) -> None:
    """However long that takes: it is not asked before, and not told that another one is written."""
    done: list[str] = []

    async def authorize(request: Request, session_id: str, action: str) -> bool:
        if action == "cancel":
            for _ in range(100):
                await asyncio.sleep(0)
        done.append(action)
        return True

    async with opened(Starlette(routes=chat_routes(hub, model, authorize=authorize))) as socket:
        await socket.ask("r1", "one")
        await socket.until_text("one")
        await socket.say("abort", "r1")
        await socket.ask("r2", "two")
        await socket.until_text("two")

    assert ["produce", "cancel", "produce"] == done


async def test_an_abort_that_comes_first_stops_what_begins(
    hub: Hub, model: Model, socket: Socket
) -> None:
    """Of a question whose answer has not begun, and of one that waits for another to stop."""
    await socket.ask("r1", "one")
    await socket.say("abort", "r1")
    await socket.ask("r2", "two")
    await socket.say("abort", "r2")
    await socket.ask("r3", "three")
    frames = await socket.until_text("three")

    assert {"r3"} == {one["requestId"] for one in frames}


async def test_a_resume_that_replaces_another_stops_nothing(hub: Hub, socket: Socket) -> None:
    """The page drops a resume by itself where it resumes once more: that is no Stop."""
    await socket.ask("r1", "one")
    await socket.until_text("one")
    await socket.say("resume", "r2", id="c")
    await socket.until_text("one")
    await socket.say("abort", "r2")
    await socket.say("resume", "r3", id="c")
    await socket.until_text("one")
    stream = await hub.get("chat:c")
    assert stream is not None

    assert Status.ACTIVE is (await stream.info()).status
    assert not (await stream.info()).cancelling


async def test_an_abort_stops_its_own_answer_alone(hub: Hub, model: Model, socket: Socket) -> None:
    """Not the one that has begun in the chat since."""
    model.may_end.set()
    await socket.ask("r1", "one")
    await socket.until("end")
    model.may_end.clear()
    await socket.ask("r2", "two")
    await socket.until_text("two")
    await socket.say("abort", "r1")
    await socket.say("resume", "r3", id="c")
    await socket.until_text("two")
    stream = await hub.get("chat:c")
    assert stream is not None

    assert not (await stream.info()).cancelling


async def test_a_closed_socket_stops_nothing(hub: Hub, model: Model) -> None:
    """The answer goes on, and is resumed on another one; but what was aborted is stopped."""
    app = Starlette(routes=chat_routes(hub, model))
    async with opened(app) as socket:
        await socket.ask("r1", "one", chat="a")
        await socket.until_text("one")
        await socket.ask("r2", "two", chat="b")
        await socket.until_text("two")
        await socket.say("resume", "r3", id="b")
        await socket.until_text("two")
        await socket.say("abort", "r3")
        await socket.connection.close()
        assert (Status.CANCELLED, "two") == await ended(hub, "b")
    async with opened(app) as socket:
        await socket.say("resume", "r1", id="a")
        await socket.until_text("one")
        model.may_end.set()
        await socket.until("end")

    assert (Status.FINISHED, "one") == await ended(hub, "a")


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_what_is_no_frame_is_an_error_and_the_answer_goes_on(
    hub: Hub, model: Model, socket: Socket
) -> None:
    """Garbage, unknown kinds, fields that are missing or of another type, and a name in use."""
    await socket.ask("r1", "one")
    await socket.until_text("one")
    send = {"type": "send", "requestId": "r2", "id": "c", "messages": [], "headers": {}}
    bad: list[tuple[str | bytes, str, str]] = [
        ("{", "", "a frame must be JSON"),
        (b"\xff\x00", "", "a frame must be JSON"),
        ("[" * 100_000, "", "a frame must be JSON"),
        ("[]", "", "a send, a resume or an abort"),
        ('{"type": "hello", "requestId": "r2"}', "r2", "'hello'"),
        ('{"type": "abort"}', "", "requestId"),
        ('{"type": "resume", "requestId": "r2"}', "r2", "`id`"),
        ('{"type": "resume", "requestId": "r2", "id": "c", "lastSequence": -1}', "r2", ">= 0"),
        (json.dumps({**send, "headers": {"a": 1}}), "r2", "headers"),
        (json.dumps({**send, "id": "", "body": {}}), "r2", "id must be the chat's id"),
        (json.dumps({**send, "requestId": "r1"}), "r1", "in use"),
    ]
    for frame, request_id, why in bad:
        await socket.connection.send(frame)
        answer = (await socket.until("error"))[-1]
        assert (request_id, True) == (answer["requestId"], why in answer["errorText"]), answer
    await socket.say("abort", "never asked")
    model.may_end.set()
    await socket.until("end")

    assert (Status.FINISHED, "one") == await ended(hub)


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_too_much_is_an_error(
    hub: Hub, model: Model, socket: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame that is too long, and more requests than one socket may have."""
    monkeypatch.setattr(frames, "LONGEST_FRAME", 1000)
    monkeypatch.setattr(socket_module, "_MOST_REQUESTS", 2)
    await socket.connection.send("x" * 1001)
    long = await socket.next()
    await socket.ask("r1", "one", chat="a")
    await socket.ask("r2", "two", chat="b")
    await socket.ask("r3", "three", chat="c")
    many = (await socket.until("error"))[-1]

    assert "at most 1,000" in long["errorText"]
    assert ("r3", True) == (many["requestId"], "at most 2" in many["errorText"])
    assert await hub.get("chat:c") is None


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_what_is_aborted_is_under_way_until_it_stops(
    hub: Hub, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who aborts each request at once does not get any number of them."""
    monkeypatch.setattr(socket_module, "_MOST_REQUESTS", 2)
    asked: list[str] = []
    may_answer = asyncio.Event()

    async def answer(body: dict[str, Any]) -> list[str]:
        asked.append(body["id"])
        await may_answer.wait()
        return []

    async with opened(Starlette(routes=chat_routes(hub, answer))) as socket:
        for chat in ("a", "b"):
            await socket.ask(chat, "hi", chat=chat)

            async def is_asked(chat: str = chat) -> bool:
                return chat in asked

            await until(is_asked)
            await socket.say("abort", chat)
        await socket.ask("r3", "hi", chat="c")
        (refused,) = await socket.until("error")
        may_answer.set()

        async def gets_in() -> bool:
            await socket.ask("r4", "hi", chat="d")
            return str((await socket.next())["type"]) == "start"

        await until(gets_in)

    assert ("r3", True) == (refused["requestId"], "at most 2" in refused["errorText"])
    assert ["a", "b", "d"] == sorted(asked)


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_who_says_nothing_is_let_go(
    hub: Hub, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But nobody who waits for an answer."""
    async with opened(Starlette(routes=chat_routes(hub, model))) as socket:
        await socket.ask("r1", "one")
        await socket.until_text("one")
        # From what it says next on: before it has asked, a slow machine would let it go.
        monkeypatch.setattr(frames, "_IDLE", 0.05)
        await socket.ask("r2", "two")
        await socket.until("error")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await socket.next()
        model.may_end.set()
        await socket.until("end")
        await within(socket.connection.wait_closed())

    assert 1000 == socket.connection.close_code


async def test_another_question_meanwhile_is_refused(
    hub: Hub, model: Model, socket: Socket
) -> None:
    """With the words and the status of the default transport's answer."""
    await socket.ask("r1", "one")
    await socket.until_text("one")
    await socket.ask("r2", "two")
    refused = (await socket.until("error"))[-1]

    assert ("r2", 409) == (refused["requestId"], refused["status"])
    assert "is still being written" in refused["errorText"]


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_pages_of_other_sites_are_refused(hub: Hub, model: Model) -> None:
    """By the handshake, which a browser sends with our cookies; unless they are named."""
    elsewhere = {"origin": "https://evil.example", "cookie": "session=1"}
    with pytest.raises(InvalidStatus) as refused:
        async with opened(Starlette(routes=chat_routes(hub, model)), additional_headers=elsewhere):
            pass
    named = Starlette(routes=chat_routes(hub, model, origins=["https://evil.example"]))
    async with opened(named, additional_headers=elsewhere) as socket:
        await socket.ask("r1", "one")
        await socket.until_text("one")

    assert 403 == refused.value.response.status_code


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_chats_are_kept_apart_by_user(hub: Hub, model: Model) -> None:
    """As over HTTP: by the headers of the handshake, and where that has none, by the
    ``Authorization`` of the frame. No other header of a frame counts."""

    def user(request: Request) -> str | None:
        return request.headers.get("x-user") or request.headers.get("authorization")

    app = Starlette(routes=chat_routes(hub, model, user=user))
    async with opened(app, additional_headers={"x-user": "alice"}) as alice:
        await alice.ask("r1", "one")
        await alice.until_text("one")
        async with opened(app) as bob:
            await bob.ask("r1", "one", headers={"x-user": "alice"})
            await bob.ask("r2", "one", headers={"Authorization": "bob"})
            await bob.say("resume", "r3", id="c", headers={"x-user": "alice"})
            seen = [await bob.next() for _ in range(3)]
            await bob.say("resume", "r4", id="c", headers={"authorization": "alice"})
            await bob.until_text("one")

    assert [("error", "r1", 404), ("error", "r2", 404), ("no-active", "r3", None)] == sorted(
        [(one["type"], one["requestId"], one.get("status")) for one in seen], key=lambda x: x[1]
    )


class _Guard(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        if request.query_params.get("key") != "k":
            return PlainTextResponse("a key is needed", status_code=401)
        return await call_next(request)


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_frames_pass_the_middleware_of_requests(hub: Hub, model: Model) -> None:
    """That looks at no handshake: nobody comes in by a socket whom it keeps out."""
    app = Starlette(routes=chat_routes(hub, model), middleware=[Middleware(_Guard)])
    async with opened(app) as socket:
        await socket.ask("r1", "one")
        refused = await socket.next()
    async with opened(app, "/api/chat?key=k") as socket:
        await socket.ask("r1", "one")
        await socket.until_text("one")

    assert ("error", 401, "a key is needed") == (
        refused["type"], refused["status"], refused["errorText"],
    )  # fmt: skip
    assert 1 == len(model.asked)


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
@pytest.mark.parametrize("place", ["mount", "application"])
async def test_the_routes_may_stand_below_another_path(hub: Hub, model: Model, place: str) -> None:
    """Of a mount, and of an application within another one."""
    routes = chat_routes(hub, model)
    below = (
        Mount("/a b", routes=routes)
        if place == "mount"
        else Mount("/a b", Starlette(routes=routes))
    )
    async with opened(Starlette(routes=[below]), "/a%20b/api/chat") as socket:
        await socket.ask("r1", "one")
        await socket.until_text("one")
        await socket.say("abort", "r1")
        assert (Status.CANCELLED, "one") == await ended(hub)


def signed_in(request: Request) -> str:
    if "x-user" not in request.headers:
        raise HTTPException(401, "who are you?")
    return request.headers["x-user"]


def greet(body: dict[str, Any], user: Annotated[str, Depends(signed_in)]) -> list[str]:
    if body["messages"][-1]["text"] == "pay":
        raise HTTPException(402, "pay first")
    return [f"hello {user}"]


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_fastapi_gives_frames_their_dependencies(hub: Hub) -> None:
    """Those of the router, those of the application, and those that ``answer`` wants; what they
    and ``answer`` raise is told with its status."""

    app = FastAPI()
    router = chat_router(hub, greet, path="/chat")
    app.include_router(router, prefix="/v1", dependencies=[Depends(signed_in)])
    async with opened(app, "/v1/chat") as socket:
        await socket.ask("r1", "one")
        refused = await socket.next()
    async with opened(app, "/v1/chat", additional_headers={"x-user": "alice"}) as socket:
        await socket.ask("r1", "one")
        frames = await socket.until("end")
        await socket.ask("r2", "pay")
        unpaid = await socket.next()

    assert (401, "who are you?") == (refused["status"], refused["errorText"])
    assert "hello alice" == text_of(frames)
    assert (402, "pay first") == (unpaid["status"], unpaid["errorText"])


async def test_a_server_that_shuts_down_says_no_end(hub: Hub, model: Model) -> None:
    """The socket is closed, and the page resumes elsewhere."""
    async with opened(Starlette(routes=chat_routes(hub, model))) as socket:
        await socket.ask("r1", "one")
        await socket.until_text("one")
        await hub.aclose()
        await within(socket.connection.wait_closed())

    assert 1012 == socket.connection.close_code


async def test_a_silent_answer_keeps_its_socket_in_use(
    hub: Hub, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what clients pass over."""
    monkeypatch.setattr("streamhub.serving.reply.Heartbeat", _quick)
    async with opened(Starlette(routes=chat_routes(hub, model))) as socket:
        await socket.ask("r1", "one")
        await socket.until_text("one")

        assert {"type": "start", "requestId": "r1"} == await socket.next()


def _quick(seconds: float) -> Any:
    from streamhub.serving.heartbeat import Heartbeat

    return Heartbeat(0.05)


async def test_sockets_leave_nothing_behind(hub: Hub, model: Model) -> None:
    """Neither tasks nor followers, whatever was under way."""
    async with opened(Starlette(routes=chat_routes(hub, model))) as socket:
        await socket.ask("r1", "one")
        await socket.until_text("one")
        await socket.say("resume", "r2", id="c")
        await socket.until_text("one")
        await socket.connection.close()

        async def nobody_follows() -> bool:
            return hub.statistics().sessions_followed == 0

        await until(nobody_follows)
