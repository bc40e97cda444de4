"""How the application's ``answer`` is called: by whom, with what, and what comes of its errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request

from streamhub import End, Hub, LiveStream, Status
from streamhub.http import chat_routes, message_id_of, owned_by
from streamhub.stores.base import Finish, Store, WriteOp, WriteResult
from streamhub.stores.memory import MemoryStore
from streamhub.stores.wrapped import WrappedStore
from streamhub.testing.waiting import patience, until, within

from .chatting import Model, begun, question
from .conftest import Open


@pytest.fixture
def model() -> Model:
    return Model()


async def ended(hub: Hub) -> tuple[Status, str | None]:
    """How the answer has ended, and why."""
    stream = await hub.get("chat:c")
    assert stream is not None
    await stream.wait(patience())
    info = await stream.info()
    return info.status, info.error


async def test_many_who_ask_the_same_at_once_are_answered_once(
    hub: Hub, model: Model, open_client: Open
) -> None:
    """Whatever ``answer`` saves it saves once, and all read the one answer."""
    client = await open_client(Starlette(routes=chat_routes(hub, model)))
    statuses = await asyncio.gather(*(begun(client, question("one")) for _ in range(10)))

    assert [200] * 10 == statuses
    assert 1 == len(model.asked)


async def test_metadata_is_the_applications(hub: Hub, open_client: Open) -> None:
    """Whatever it keeps there, the same message posted again follows its answer."""
    calls: list[Any] = []

    def answer(body: dict[str, Any]) -> Callable[[LiveStream], Any]:
        calls.append(body)

        async def speak(stream: LiveStream) -> None:
            await stream.set_metadata({"title": "mine"})
            await stream.publish("one")
            await asyncio.Event().wait()

        return speak

    client = await open_client(Starlette(routes=chat_routes(hub, answer)))
    await begun(client, question("one"))
    stream = await hub.get("chat:c")
    assert stream is not None

    assert {"title": "mine"} == await stream.metadata()
    assert 200 == await begun(client, question("one"))
    assert 1 == len(calls)


class Refusing:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def __call__(self, body: dict[str, Any]) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "status", "why"),
    [
        (HTTPException(402, "no credit left"), 402, "HTTPException: 402: no credit left"),
        (ValueError("the key is s3cret"), 500, "ValueError: the key is s3cret"),
    ],
)
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_what_answer_raises_is_the_frameworks_to_answer(
    hub: Hub,
    open_client: Open,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    status: int,
    why: str,
) -> None:
    """A refusal with its status, a mistake as a 500 that says nothing of it. The session has
    failed by it, so that nobody waits for it, and the same message may be posted again."""
    caplog.set_level("CRITICAL", "uvicorn.error")
    client = await open_client(Starlette(routes=chat_routes(hub, Refusing(error))))
    answers = [await client.post("/api/chat", json=question("one")) for _ in range(2)]

    assert [status] * 2 == [one.status_code for one in answers]
    assert "s3cret" not in answers[0].text
    assert (Status.FAILED, why) == await ended(hub)
    assert 204 == (await client.get("/api/chat/c/stream")).status_code


class _AnswersEndsLate(WrappedStore):
    """Ends are stored, and told to all who follow, before their producer hears of it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.may_answer = asyncio.Event()

    async def write(self, ops: Sequence[WriteOp]) -> list[WriteResult | Exception]:
        answers = await super().write(ops)
        if any(isinstance(op, Finish) for op in ops):
            await self.may_answer.wait()
        return answers


async def test_a_refusal_is_no_stream_however_soon_its_end_is_told(open_client: Open) -> None:
    """Who has asked may hear of the end before the producer has its answer."""
    store = _AnswersEndsLate(MemoryStore())
    async with Hub(store) as hub:
        refusing = Refusing(HTTPException(402, "no credit left"))
        client = await open_client(Starlette(routes=chat_routes(hub, refusing)))
        answer = await within(client.post("/api/chat", json=question("one")))
        store.may_answer.set()

    assert (402, "no credit left") == (answer.status_code, answer.text)


async def test_the_body_can_be_read_again(open_client: Open) -> None:
    """By all that is given the request."""
    read: list[Any] = []

    async def user(request: Request) -> str:
        read.append(await request.json())
        return "alice"

    async def answer(body: dict[str, Any], request: Request) -> list[str]:
        read.append(await request.json())
        return ["a"]

    async with Hub() as hub:
        client = await open_client(Starlette(routes=chat_routes(hub, answer, user=user)))
        answered = await within(client.post("/api/chat", json=question("one")))

    assert 200 == answered.status_code
    assert [question("one")] * 3 == read


@pytest.mark.parametrize("made", [None, "text", 7])
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_an_answer_that_nothing_can_be_drawn_from(
    hub: Hub, open_client: Open, caplog: pytest.LogCaptureFixture, made: object
) -> None:
    """A mistake of the program's, which ends the session, too."""
    caplog.set_level("CRITICAL", "uvicorn.error")
    client = await open_client(Starlette(routes=chat_routes(hub, lambda body: made)))  # type: ignore[arg-type,return-value]
    answer = await client.post("/api/chat", json=question("one"))
    status, why = await ended(hub)

    assert 500 == answer.status_code
    assert Status.FAILED is status
    assert "source must be an async iterable of str" in str(why)


async def test_a_stop_while_answer_still_thinks(hub: Hub, open_client: Open) -> None:
    """It is interrupted, and the page that has asked is told."""
    thinking = asyncio.Event()

    async def answer(body: dict[str, Any]) -> list[str]:
        thinking.set()
        await asyncio.Event().wait()
        return []

    client = await open_client(Starlette(routes=chat_routes(hub, answer)))
    asking = asyncio.create_task(client.post("/api/chat", json=question("one")))
    await within(thinking.wait())
    assert 204 == (await client.post("/api/chat/c/stop")).status_code
    answered = await within(asking)

    assert 200 == answered.status_code
    assert '"type":"abort"' in answered.text
    assert Status.CANCELLED is (await ended(hub))[0]


class Taking:
    """Each takes what its name says, and answers with the names of what it got."""

    def body(self, body: Any) -> list[str]:
        return [type(body).__name__]

    def body_and_request(self, body: Any, request: Request) -> list[str]:
        return [type(body).__name__, type(request).__name__]

    def any_two(self, body: Any, other: Any) -> list[str]:
        return [type(body).__name__, type(other).__name__]

    def keyword(self, body: Any, *, request: Request) -> list[str]:
        return [type(body).__name__, type(request).__name__]

    def something_of_its_own(self, body: Any, model: str = "m") -> list[str]:
        return [type(body).__name__, model]

    def all_there_is(self, *args: Any, **more: Any) -> list[str]:
        return [type(one).__name__ for one in args]

    async def generated(self, body: Any, request: Request) -> AsyncIterator[str]:
        for one in self.body_and_request(body, request):
            yield one


@pytest.mark.parametrize(
    ("name", "got"),
    [
        ("body", "dict"),
        ("body_and_request", "dictRequest"),
        ("any_two", "dictRequest"),
        ("keyword", "dictRequest"),
        ("something_of_its_own", "dictm"),
        ("all_there_is", "dict"),
        ("generated", "dictRequest"),
    ],
)
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_answer_takes_the_body_and_the_request_if_it_likes(
    hub: Hub, open_client: Open, name: str, got: str
) -> None:
    """By their places, or the request by its name."""
    client = await open_client(Starlette(routes=chat_routes(hub, getattr(Taking(), name))))
    assert 200 == (await client.post("/api/chat", json=question("one"))).status_code
    await ended(hub)
    stream = await hub.get("chat:c")
    assert stream is not None

    assert got == await stream.text()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (7, "answer must be a function of the body, not int"),
        (lambda: ["a"], "takes nothing"),
        (lambda *, body: [], "take the body by its place"),
        (lambda body, request, user: [], "wants user, too"),
    ],
)
def test_an_answer_that_cannot_be_called_is_refused_at_once(answer: Any, said: str) -> None:
    """Not at the first question."""
    with pytest.raises(TypeError, match=said):
        chat_routes(Hub(), answer)


@pytest.mark.parametrize("how", ["request", "nothing"])
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_the_hub_may_be_found_late(
    hub: Hub, model: Model, open_client: Open, how: str
) -> None:
    """By a function, which is asked for each request; so is the check of whose a chat is."""
    app = Starlette()
    late = (lambda request: request.app.state.hub) if how == "request" else (lambda: app.state.hub)
    allow = owned_by(late, lambda request: "alice")
    app.router.routes.extend(chat_routes(late, model, user=lambda request: "alice"))
    app.router.routes.extend(chat_routes(late, model, path="/own", authorize=allow))
    app.state.hub = hub
    client = await open_client(app)

    assert 200 == await begun(client, question("one"))
    assert 204 == (await client.post("/api/chat/c/stop")).status_code
    assert 204 == (await client.post("/own/c/stop")).status_code
    assert Status.CANCELLED is (await ended(hub))[0]


@pytest.mark.parametrize("hub", ["redis://localhost", None, 7])
def test_what_is_no_hub_is_refused_at_once(hub: Any) -> None:
    """With what is wanted instead."""
    with pytest.raises(TypeError, match="hub must be a Hub, or a function of the request"):
        chat_routes(hub, lambda body: ["a"])


async def test_the_end_of_a_stopped_answer_has_its_text(
    hub: Hub, model: Model, open_client: Open
) -> None:
    """``on_end`` is told what there is of it, whatever snapshot the page posts with its stop."""
    ends: list[End] = []
    client = await open_client(Starlette(routes=chat_routes(hub, model, on_end=ends.append)))
    await begun(client, question("one two"))
    stream = await hub.get("chat:c")
    assert stream is not None
    message_id = message_id_of(await stream.info())
    body = {"assistantMessage": {"id": message_id, "parts": []}, "activeStreamId": message_id}
    assert 204 == (await client.post("/api/chat/c/stop", json=body)).status_code

    async def told() -> bool:
        return bool(ends)

    await until(told)
    assert [(Status.CANCELLED, "onetwo", message_id)] == [
        (end.status, end.text, end.message.id) for end in ends
    ]


#: As ``useChat`` posts it when a tool has answered in the page.
ASSISTANT: dict[str, Any] = {
    "id": "m-assistant",
    "role": "assistant",
    "parts": [
        {"type": "step-start"},
        {
            "type": "tool-place",
            "toolCallId": "t1",
            "state": "output-available",
            "input": {},
            "output": "Oslo",
        },
    ],
}


def parts_of(text: str) -> list[dict[str, Any]]:
    frames = text.split("\n\n")
    return [json.loads(one[len("data: ") :]) for one in frames if one.startswith("data: {")]


@pytest.mark.parametrize("size", [1, 2 * 1024 * 1024])
async def test_an_answer_goes_on_in_the_message_whose_tool_has_answered(
    hub: Hub, model: Model, open_client: Open, size: int
) -> None:
    """Under its id, for who asks and who resumes; who resumes is sent what it held before, unless
    that is too large for a chunk. The page may stop it by that id."""
    client = await open_client(Starlette(routes=chat_routes(hub, model)))
    part = {**ASSISTANT["parts"][1], "output": "x" * size}
    message = {**ASSISTANT, "parts": [ASSISTANT["parts"][0], part], "text": "sunny"}
    user = question("weather")["messages"]
    body = question("", messages=[*user, message], messageId="m-assistant")
    asking = asyncio.create_task(client.post("/api/chat", json=body))

    async def written() -> bool:
        stream = await hub.get("chat:c")
        return stream is not None and await stream.text() == "sunny"

    await until(written)
    resuming = asyncio.create_task(client.get("/api/chat/c/stream"))

    async def both_read() -> bool:
        return hub.statistics().subscribers == 2

    await until(both_read)
    stale = await client.post("/api/chat/c/stop", json={"activeStreamId": "m-before"})
    stop = await client.post("/api/chat/c/stop", json={"activeStreamId": "m-assistant"})
    asked, resumed = [parts_of((await within(one)).text) for one in (asking, resuming)]
    stream = await hub.get("chat:c")
    assert stream is not None

    assert [204, 204] == [stale.status_code, stop.status_code]
    assert [{"m-assistant"}] * 2 == [
        {part["messageId"] for part in one if "messageId" in part} for one in (asked, resumed)
    ]
    assert "tool-output-available" not in [part["type"] for part in asked]
    outputs = [part["output"] for part in resumed if part["type"] == "tool-output-available"]
    assert outputs == (["x"] if size == 1 else [])
    assert Status.CANCELLED is await stream.wait(patience())


@pytest.mark.parametrize(
    "change",
    [
        {"trigger": "regenerate-message"},
        {"messageId": "m-weather"},
        {"messages": [{**ASSISTANT, "id": 7}]},
        {"messages": [{**ASSISTANT, "role": "user"}]},
        {"messages": ["x"]},
        {"messages": [{**ASSISTANT, "parts": 7}], "own": False},
    ],
)
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_other_messages_begin_one_of_their_own(
    hub: Hub, open_client: Open, change: dict[str, Any]
) -> None:
    """One that is written anew, a user's that was edited, and what is no message."""
    client = await open_client(Starlette(routes=chat_routes(hub, lambda body: ["a"])))
    own = change.pop("own", True)
    body = question("weather")
    body = {**body, "messages": [*body["messages"], ASSISTANT], **change}
    answer = await client.post("/api/chat", json=body)
    stream = await hub.get("chat:c")
    assert stream is not None
    wanted = message_id_of(await stream.info()) if own else "m-assistant"

    assert wanted == parts_of(answer.text)[0]["messageId"]
