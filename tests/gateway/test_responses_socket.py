"""The Responses API over a WebSocket, by the official client and by frames."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai.resources.responses import AsyncResponses
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from streamhub import Hub
from streamhub.gateway import Limits, create_gateway
from streamhub.gateway.responses import socket as sockets
from streamhub.gateway.responses.objects import TERMINAL
from streamhub.http.server import LocalOnly
from streamhub.testing.waiting import until, within

from ..http.serving import served
from ..support.openai_upstream import (
    BreakInside,
    Call,
    Fails,
    Gate,
    OpenAIUpstream,
    Raw,
    Refused,
    Thought,
    openai_upstream,
)
from .gateways import client_of, gateway, numbers

pytestmark = pytest.mark.parametrize("new_hub", ["memory"], indirect=True)


@pytest.fixture(params=["chat", "responses"])
def upstream(request: pytest.FixtureRequest) -> Iterator[OpenAIUpstream]:
    with openai_upstream(dialects=[request.param]) as upstream:
        yield upstream


@pytest.fixture
def chat_upstream() -> Iterator[OpenAIUpstream]:
    with openai_upstream(dialects=["chat"]) as upstream:
        yield upstream


@pytest.fixture
async def url(hub: Hub, upstream: OpenAIUpstream) -> AsyncIterator[str]:
    async with gateway(hub, upstream) as url:
        yield url


class Socket:
    """A client that says what it likes."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, value: Any) -> None:
        await self.connection.send(value if isinstance(value, str | bytes) else json.dumps(value))

    async def create(self, text: Any = "hi", **more: Any) -> None:
        await self.say({"type": "response.create", "model": "m", "input": text, **more})

    async def next(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(await within(self.connection.recv()))
        return event

    async def rest(self, lane: str | None = None) -> list[dict[str, Any]]:
        """The events up to the end of an answer."""
        events: list[dict[str, Any]] = []
        while not events or events[-1]["type"] not in (*TERMINAL, "error"):
            event = await self.next()
            if event.get("stream_id") == lane:
                events.append(event)
        return events

    async def answer(self, text: Any = "hi", **more: Any) -> dict[str, Any]:
        """What it is answered: the response, or the error."""
        await self.create(text, **more)
        last = (await self.rest())[-1]
        return last if last["type"] == "error" else last["response"]


@asynccontextmanager
async def opened(url: str, *, key: str = "a-key", **headers: str) -> AsyncIterator[Socket]:
    more = {"authorization": f"Bearer {key}", **headers}
    async with connect(f"ws{url[4:]}/responses", additional_headers=more) as connection:
        yield Socket(connection)


def text_of(response: dict[str, Any]) -> str:
    return "".join(
        part["text"]
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
    )


def told(upstream: OpenAIUpstream, place: int = -1) -> str:
    """What the upstream was asked with."""
    return json.dumps(upstream.asked[place].body)


@pytest.mark.skipif(not hasattr(AsyncResponses, "connect"), reason="an older client has none")
async def test_the_official_client_is_answered(url: str, upstream: OpenAIUpstream) -> None:
    """Turn after turn on one connection, with numbers without holes; what is stored is there over
    HTTP as well."""
    upstream.answers("One two.")
    upstream.answers("Three.")
    async with client_of(url) as client, client.responses.connect() as connection:
        await connection.response.create(model="m", input="first")
        first = await events_of(connection)
        again = [
            event
            async for event in await client.responses.retrieve(
                first[-1]["response"]["id"], stream=True
            )
        ]
        await connection.response.create(
            model="m", input="second", previous_response_id=first[-1]["response"]["id"]
        )
        second = await events_of(connection)

    assert [*range(len(first))] == numbers(first)
    assert first == [event.to_dict() for event in again]
    assert ["One two.", "Three."] == [text_of(one[-1]["response"]) for one in (first, second)]
    assert first[-1]["response"]["id"] == second[-1]["response"]["previous_response_id"]


async def events_of(connection: Any) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] not in TERMINAL:
        events.append((await within(connection.recv())).to_dict())
    return events


async def test_what_nobody_keeps_is_gone_on_with(
    hub: Hub, url: str, upstream: OpenAIUpstream
) -> None:
    """On its connection: the upstream is told all that was said, what was called and thought of it
    included; on another one there is no such response."""
    upstream.answers(Thought("Hm."), "Wait.", Call("look", {"at": "sky"}, "call-1"))
    upstream.answers("Blue.")
    upstream.answers("Yes.")
    async with opened(url) as socket:
        first = await socket.answer("Look up.", store=False)
        output = {"type": "function_call_output", "call_id": "call-1", "output": "It is blue."}
        second = await socket.answer([output], store=False, previous_response_id=first["id"])
        asked = told(upstream)
        third = await socket.answer("Sure?", store=False, previous_response_id=second["id"])

        assert ["Wait.", "Blue.", "Yes."] == [text_of(one) for one in (first, second, third)]
        assert first["id"] == second["previous_response_id"]
        assert all(one in asked for one in ("Look up.", "Wait.", "call-1", "It is blue."))
        assert all(one in told(upstream) for one in ("Look up.", "It is blue.", "Blue.", "Sure?"))
        assert "previous_response_id" not in upstream.asked[-1].body
        assert [] == [info async for info in hub.sessions()]

    async with opened(url) as socket:
        missing = await socket.answer(store=False, previous_response_id=third["id"])
        assert (400, "previous_response_not_found") == (missing["status"], missing["error"]["code"])
        assert "completed" == (await socket.answer("anew", store=False))["status"]
        assert "Blue." not in told(upstream)


@pytest.mark.parametrize("reasoning", [{}, {"summary": "auto"}])
async def test_what_was_thought_is_told_with_its_call(
    hub: Hub, chat_upstream: OpenAIUpstream, reasoning: dict[str, str]
) -> None:
    """Models that think between calls want it, and some refuse to go on without it."""
    chat_upstream.answers(Thought("Hm."), Call("look", {}, "call-1"))
    asked = {"reasoning": reasoning, "store": False}
    async with gateway(hub, chat_upstream) as url, opened(url) as socket:
        first = await socket.answer("Look up.", **asked)
        output = {"type": "function_call_output", "call_id": "call-1", "output": "Blue."}
        await socket.answer([output], previous_response_id=first["id"], **asked)

    assert "Hm." == chat_upstream.asked[-1].body["messages"][1]["reasoning_content"]


async def test_a_turn_that_fails_ends_what_it_went_on_with(
    url: str, upstream: OpenAIUpstream
) -> None:
    """By an answer to a call that nobody has made, a refusal of the upstream, or a failure of it;
    and each is one event."""
    async with opened(url) as socket:
        for fail in ("call", "refused", "failed"):
            upstream.answers("OK.")
            first = await socket.answer("Remember.", store=False)
            wrong: Any = "hi"
            if fail == "call":
                wrong = [{"type": "function_call_output", "call_id": "none", "output": ""}]
            elif fail == "refused":
                upstream.strike(Refused(429, code="slow_down", retry_after="7"))
            else:
                upstream.answers("a", Fails())
            failed = await socket.answer(wrong, store=False, previous_response_id=first["id"])
            gone = await socket.answer("Go on.", store=False, previous_response_id=first["id"])

            assert "error" == failed.get("type") or "failed" == failed["status"]
            assert "previous_response_not_found" == gone["error"]["code"], fail
            if fail == "refused":
                assert (429, "slow_down") == (failed["status"], failed["error"]["code"])
                assert {"retry-after": "7"} == failed["error"]["headers"]
    upstream.check_used()


async def test_lanes_are_answered_at_the_same_time(url: str, upstream: OpenAIUpstream) -> None:
    """Each in order, with its name on every event; a lane may go on with what another one said."""
    gate = Gate()
    upstream.answers("One.", gate)
    upstream.answers("Two.")
    upstream.answers("Three.")
    async with opened(url) as socket:
        await socket.create("a", store=False, stream_id="x")
        await within(gate.wait_reached())
        await socket.create("b", store=False, stream_id="x")
        await socket.create("c", store=False, stream_id="y")
        other = await socket.rest("y")
        gate.open()
        first, second = await socket.rest("x"), await socket.rest("x")
        upstream.answers("Four.")
        forked = await fork(socket, other[-1]["response"]["id"], lane="x")

    assert "Two." == text_of(other[-1]["response"])
    assert ["One.", "Three."] == [text_of(one[-1]["response"]) for one in (first, second)]
    assert {"x"} == {event["stream_id"] for event in (*first, *second)}
    assert "Four." == text_of(forked)
    assert "Two." in told(upstream)


async def fork(socket: Socket, response_id: str, *, lane: str) -> dict[str, Any]:
    await socket.create("d", store=False, stream_id=lane, previous_response_id=response_id)
    return (await socket.rest(lane))[-1]["response"]  # type: ignore[no-any-return]


async def test_a_request_that_is_refused_is_so_in_its_turn(
    hub: Hub, chat_upstream: OpenAIUpstream
) -> None:
    """Else its error would look like the end of the answer before; and what it went on with is
    forgotten, as with any other that fails."""
    gate = Gate()
    chat_upstream.answers("One.")
    chat_upstream.answers("Two.", gate)
    async with gateway(hub, chat_upstream) as url, opened(url) as socket:
        first = await socket.answer(store=False)
        after = {"store": False, "previous_response_id": first["id"]}
        await socket.create()
        await socket.create(background=True, **after)
        await socket.create(**after)
        await within(gate.wait_reached())
        gate.open()
        ends = [(await socket.rest())[-1] for _ in range(3)]

    assert "Two." == text_of(ends[0]["response"])
    codes = [one["error"]["code"] for one in ends[1:]]
    assert ["unsupported_value", "previous_response_not_found"] == codes


async def test_a_key_of_the_connection_is_none_of_its_requests(
    hub: Hub, chat_upstream: OpenAIUpstream
) -> None:
    """Else each would be answered with the first one's answer."""
    chat_upstream.answers("One.")
    chat_upstream.answers("Two.")
    headers = {"idempotency-key": "k"}
    async with gateway(hub, chat_upstream) as url, opened(url, **headers) as socket:
        assert ["One.", "Two."] == [text_of(await socket.answer()) for _ in range(2)]


async def test_what_waits_has_a_bound(
    hub: Hub, chat_upstream: OpenAIUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one lane, and on all of them; what waits is answered all the same."""
    monkeypatch.setattr(sockets, "_MOST_WAITING", 1)
    monkeypatch.setattr(sockets, "_MOST_LANES", 2)
    gate = Gate()
    chat_upstream.says = ("a", gate)
    async with gateway(hub, chat_upstream) as url, opened(url) as socket:
        for lane in ("x", "x", "x", "y", "z"):
            await socket.create(stream_id=lane)
        refused = [await socket.rest("x"), await socket.rest("z")]
        gate.open()
        answered = [(await socket.rest("x"))[-1]["type"] for _ in range(2)]

    assert [(429, "too_many_requests")] * 2 == [
        (one[-1]["status"], one[-1]["error"]["code"]) for one in refused
    ]
    assert ["response.completed"] * 2 == answered


async def test_what_waits_is_no_larger_than_one_request(
    hub: Hub, chat_upstream: OpenAIUpstream
) -> None:
    """Together, on all lanes: else one connection could make the gateway hold on to gigabytes."""
    gate = Gate()
    chat_upstream.says = ("a", gate)
    limits = Limits(max_body_bytes=5000)
    async with gateway(hub, chat_upstream, limits=limits) as url, opened(url) as socket:
        for lane in ("x", "x", "y", "y"):
            await socket.create("x" * 3000, stream_id=lane)
        refused = await socket.rest("y")
        gate.open()
        answered = [(await socket.rest("x"))[-1]["type"] for _ in range(2)]

    assert (429, "too_many_requests") == (refused[-1]["status"], refused[-1]["error"]["code"])
    assert ["response.completed"] * 2 == answered


async def test_a_warm_up_is_gone_on_with(url: str, upstream: OpenAIUpstream) -> None:
    """It asks the upstream nothing; what it was told is told with the next turn."""
    upstream.answers("Fine.")
    async with opened(url) as socket:
        await socket.create("Be brief.", store=False, generate=False)
        warm = await socket.rest()
        assert 0 == upstream.count()
        before = warm[-1]["response"]["id"]
        answer = await socket.answer("How?", store=False, previous_response_id=before)

    assert ["response.created", "response.completed"] == [event["type"] for event in warm]
    assert ([], "completed") == (warm[-1]["response"]["output"], warm[-1]["response"]["status"])
    assert "Fine." == text_of(answer)
    assert "Be brief." in told(upstream)


async def test_who_leaves_stops_the_answer(hub: Hub, url: str, upstream: OpenAIUpstream) -> None:
    upstream.answers("One", Gate())
    async with opened(url) as socket:
        await socket.create()
        while (await socket.next())["type"] != "response.output_text.delta":
            pass

    async def hung_up() -> bool:
        return upstream.asked[-1].hung_up.is_set()

    await until(hung_up)


BAD: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "invalid_json"),
    "no object": ([], "invalid_json"),
    "no type": ({}, "invalid_value"),
    "another type": ({"type": "response.steer"}, "invalid_value"),
    "no lane": ({"type": "response.create", "stream_id": 1}, "invalid_value"),
    "a long lane": ({"type": "response.create", "stream_id": "x" * 513}, "invalid_value"),
    "background": ({"type": "response.create", "background": True}, "unsupported_value"),
    "a wrong store": ({"type": "response.create", "store": "no"}, "invalid_value"),
    "half a character": ('{"type": "response.create", "model": "\\ud800"}', "invalid_json"),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_cannot_be_asked_is_refused(
    hub: Hub, chat_upstream: OpenAIUpstream, case: str
) -> None:
    """With what is wrong; the next request is answered."""
    said, code = BAD[case]
    async with gateway(hub, chat_upstream) as url, opened(url) as socket:
        await socket.say(said)
        error = await socket.next()
        answer = await socket.answer()

    assert ("error", 400, code) == (error["type"], error["status"], error["error"]["code"])
    assert error["error"]["message"]
    assert "completed" == answer["status"]


async def test_a_body_that_is_too_large_is_refused(hub: Hub, chat_upstream: OpenAIUpstream) -> None:
    """What was said before counts, too, and is forgotten where it is more than that."""
    limits = Limits(max_body_bytes=4000)
    async with gateway(hub, chat_upstream, limits=limits) as url, opened(url) as socket:
        large = await socket.answer("x" * 5000)
        first = await socket.answer("x" * 3500, store=False)
        second = await socket.answer("x" * 500, store=False, previous_response_id=first["id"])

    assert [(413, "request_too_large")] * 2 == [
        (one["status"], one["error"]["code"]) for one in (large, second)
    ]


async def test_a_wrong_key_is_told(hub: Hub, chat_upstream: OpenAIUpstream) -> None:
    """Before there is a connection."""
    async with gateway(hub, chat_upstream, api_key="right", upstream_key="up") as url:
        with pytest.raises(InvalidStatus) as caught:
            async with opened(url, key="wrong"):
                pass
        async with opened(url, key="right") as socket:
            assert "completed" == (await socket.answer())["status"]
    assert 401 == caught.value.response.status_code
    assert b"invalid_api_key" in caught.value.response.body


async def test_pages_of_other_sites_are_kept_out(hub: Hub, chat_upstream: OpenAIUpstream) -> None:
    """Of a gateway for this machine alone: by their origin, and by the name that leads here."""
    app = create_gateway(hub, upstream=chat_upstream.base_url)
    async with served(LocalOnly(app, ()), lifespan="on") as url:
        port = url.rpartition(":")[2]
        elsewhere = connect(
            f"ws://evil.example:{port}/v1/responses", host="127.0.0.1", port=int(port)
        )
        of_a_page = connect(f"ws{url[4:]}/v1/responses", origin=Origin("https://evil.example"))
        for connecting in (elsewhere, of_a_page):
            with pytest.raises(InvalidStatus) as caught:
                await connecting
            assert 403 == caught.value.response.status_code
        async with opened(f"{url}/v1", origin=url) as socket:
            assert "completed" == (await socket.answer())["status"]


async def test_pages_of_other_sites_are_kept_out_of_one_that_others_reach(
    hub: Hub, chat_upstream: OpenAIUpstream
) -> None:
    """A page cannot read what it asks over HTTP, and can over a WebSocket. One that has to send a
    key is kept out where a proxy may add that to its cookies."""
    page = {"origin": "https://evil.example"}
    async with gateway(hub, chat_upstream) as url:
        await is_kept_out(url, **page)
        async with opened(url, origin=url.removesuffix("/v1")) as socket:
            assert "completed" == (await socket.answer())["status"]
    async with gateway(hub, chat_upstream, api_key="a-key", upstream_key="up") as url:
        await is_kept_out(url, **page, cookie="a=b")
        async with opened(url, **page) as socket:
            assert "completed" == (await socket.answer())["status"]


async def is_kept_out(url: str, **headers: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with opened(url, **headers):
            pass
    assert 403 == caught.value.response.status_code
    assert b"forbidden" in caught.value.response.body


async def test_an_upstream_that_breaks_off_is_told_once(
    hub: Hub, chat_upstream: OpenAIUpstream
) -> None:
    """The next turn is answered by what comes next."""
    async with gateway(hub, chat_upstream) as url, opened(url) as socket:
        chat_upstream.answers("One two.")
        chat_upstream.strike(BreakInside("two"), path="/v1/chat/")
        broken = await socket.answer()
        whole = await socket.answer()

    assert "failed" == broken["status"]
    assert "completed" == whole["status"]


@pytest.mark.parametrize("output", [None, {}])
async def test_an_end_without_an_output_is_one(hub: Hub, output: Any) -> None:
    """Its connection stays, and the next turn goes on with it."""
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "resp_u", "output": []}},
        {"type": "response.completed", "response": {"id": "resp_u", "output": output}},
    ]
    said = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events)
    with openai_upstream(dialects=["responses"]) as upstream:
        upstream.answers(Raw(said.encode()))
        async with gateway(hub, upstream) as url, opened(url) as socket:
            first = await socket.answer(store=False)
            second = await socket.answer(store=False, previous_response_id=first["id"])

    assert output == first["output"]
    assert "completed" == second["status"]


async def test_a_connection_does_not_last_for_ever(
    hub: Hub, chat_upstream: OpenAIUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is told to the end before, and why it is closed."""
    gate = Gate()
    chat_upstream.answers("One ", gate, "two.")
    async with gateway(hub, chat_upstream) as url:
        monkeypatch.setattr(sockets, "_LIFETIME", 0.5)
        async with opened(url) as socket:
            await socket.create()
            while (await socket.next())["type"] != "response.output_text.delta":
                pass
            monkeypatch.undo()
            gate.open()
            answer = (await socket.rest())[-1]["response"]
            error = await socket.next()
            with pytest.raises(ConnectionClosed):
                await socket.next()

    assert "One two." == text_of(answer)
    assert (400, "websocket_connection_limit_reached") == (error["status"], error["error"]["code"])


async def test_a_gateway_that_shuts_down_says_so(hub: Hub, chat_upstream: OpenAIUpstream) -> None:
    """The connection is closed, and its answer has no end: clients ask again elsewhere."""
    chat_upstream.answers("One ", Gate())
    async with gateway(hub, chat_upstream) as url, opened(url) as socket:
        await socket.create()
        while (await socket.next())["type"] != "response.output_text.delta":
            pass
        await hub.aclose()
        with pytest.raises(ConnectionClosed) as caught:
            while (event := await socket.next())["type"] == "response.output_text.delta":
                pass
            raise AssertionError(event)
    assert caught.value.rcvd is not None
    assert 1012 == caught.value.rcvd.code
