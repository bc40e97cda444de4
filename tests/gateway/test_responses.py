"""The Responses API through a gateway, by the official client, unchanged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from starlette.applications import Starlette
from starlette.routing import Mount

from streamhub import Hub, HubConfig
from streamhub.gateway import Limits, create_gateway
from streamhub.gateway.events_response import EventsResponse
from streamhub.gateway.responses import creating
from streamhub.testing.waiting import patience, until, within

from ..conftest import MakeHub
from ..http.serving import served
from ..support.openai_upstream import (
    STALL,
    BreakInside,
    Call,
    Fails,
    Gate,
    HangUp,
    Html,
    OpenAIUpstream,
    Raw,
    Redirect,
    Refused,
    SlowHeaders,
    WrongLength,
    openai_upstream,
)
from .gateways import client_of, gateway, numbers, read

pytestmark = pytest.mark.parametrize("new_hub", ["memory"], indirect=True)


@pytest.fixture
def upstream() -> Iterator[OpenAIUpstream]:
    with openai_upstream() as upstream:
        yield upstream


@pytest.fixture
async def url(hub: Hub, upstream: OpenAIUpstream) -> AsyncIterator[str]:
    async with gateway(hub, upstream) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncOpenAI]:
    async with client_of(url) as client:
        yield client


async def create(client: AsyncOpenAI, **options: Any) -> Any:
    return await within(client.responses.create(model="m", input="hi", **options))


async def resumed(client: AsyncOpenAI, response_id: str, after: int) -> list[dict[str, Any]]:
    stream = await client.responses.retrieve(response_id, stream=True, starting_after=after)
    return await within(read(stream))


async def test_a_stream_is_resumed_after_every_event(
    client: AsyncOpenAI, upstream: OpenAIUpstream
) -> None:
    """While the answer is written, and after it: what comes is what follows, and the upstream was
    asked once."""
    gate = Gate()
    upstream.answers("One two ", gate, "three.", Call("look", {"at": "é"}))
    begun = await create(client, stream=True, background=True)
    await within(gate.wait_reached())
    first = await within(read(begun, 6))
    response_id = first[0]["response"]["id"]

    resuming = [asyncio.ensure_future(resumed(client, response_id, n)) for n in range(6)]
    gate.open()
    whole = await within(read(await client.responses.retrieve(response_id, stream=True)))

    assert list(range(len(whole))) == numbers(whole)
    assert whole[:6] == first
    assert ["response.created", "response.completed"] == [whole[0]["type"], whole[-1]["type"]]
    assert [whole[n + 1 :] for n in range(6)] == [await within(one) for one in resuming]
    for number in range(6, len(whole)):
        assert whole[number + 1 :] == await resumed(client, response_id, number)
    assert 1 == upstream.count()
    assert {response_id} == {one["response"]["id"] for one in whole if "response" in one}


async def test_a_place_beyond_the_end(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """Is told as one once the answer has ended, not as an answer that was lost."""
    upstream.answers("One two", gate := Gate())
    answer = await create(client, background=True)
    stream = await client.responses.retrieve(answer.id, stream=True, starting_after=10**14)
    reading = asyncio.ensure_future(read(stream))
    await within(gate.wait_reached())
    gate.open()

    [error] = await within(reading)
    assert ("error", "starting_after_beyond_end") == (error["type"], error["code"])


async def test_its_helper_follows_an_answer(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """The client's own, which reads from the start and passes over what its user has."""
    answer = await create(client, background=True)
    following = client.responses.stream(response_id=answer.id, starting_after=4)

    async with following as stream:
        seen = [event.sequence_number async for event in stream]
        final = await stream.get_final_response()

    assert list(range(5, 5 + len(seen))) == seen
    assert (answer.id, "One two three four five.") == (final.id, final.output_text)
    assert 1 == upstream.count()


async def test_whoever_waits_gets_the_whole_answer(
    client: AsyncOpenAI, upstream: OpenAIUpstream
) -> None:
    """Neither streamed nor in the background; it can be fetched later, with what was asked."""
    answer = await create(client, metadata={"a": "b"})
    later = await client.responses.retrieve(answer.id)
    asked = await client.responses.input_items.list(answer.id)

    assert ("completed", "One two three four five.") == (answer.status, answer.output_text)
    assert answer == later
    assert ["hi"] == [part.text for item in asked.data for part in item.content]
    assert {"a": "b"} == answer.metadata
    assert 5 == upstream.tokens


async def test_a_client_that_leaves_stops_what_is_in_the_foreground(
    client: AsyncOpenAI, upstream: OpenAIUpstream
) -> None:
    """At once, streamed or not; what is told of it later is that it was cancelled."""
    upstream.answers("One two", STALL)
    first = await within(read(await create(client, stream=True), 5))
    asked = upstream.wait_asked()
    response_id = first[0]["response"]["id"]

    async def stopped() -> bool:
        return "cancelled" == str((await client.responses.retrieve(response_id)).status)

    await until(stopped)
    assert await asyncio.to_thread(asked.hung_up.wait, patience())
    upstream.answers("One two", STALL)
    waiting = asyncio.ensure_future(create(client))
    waited = await asyncio.to_thread(upstream.wait_asked, 2)
    waiting.cancel()
    assert await asyncio.to_thread(waited.hung_up.wait, patience())


async def test_a_detached_answer_goes_on(hub: Hub, upstream: OpenAIUpstream) -> None:
    """Where the gateway is told to keep what its clients leave."""
    gate = Gate()
    upstream.answers("One two", gate, " three")
    async with gateway(hub, upstream, detach=True) as url, client_of(url) as client:
        first = await within(read(await create(client, stream=True), 5))
        gate.open()
        rest = await resumed(client, first[0]["response"]["id"], 4)

    assert list(range(5, 5 + len(rest))) == numbers(rest)
    assert "response.completed" == rest[-1]["type"]
    assert rest[-1]["response"]["output"][0]["content"][0]["text"] == "One two three"


async def test_a_cancel_stops_the_upstream(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """Wherever it goes on: in its background, too. Once more changes nothing, and what has ended
    cannot be cancelled."""
    upstream.answers("One two", gate := Gate())
    answer = await create(client, background=True)
    await within(gate.wait_reached())
    reading = asyncio.ensure_future(resumed(client, answer.id, 3))

    cancelled = await within(client.responses.cancel(answer.id))

    assert ("cancelled", "One two") == (cancelled.status, cancelled.output_text)
    assert cancelled == await client.responses.cancel(answer.id)
    assert cancelled == await client.responses.retrieve(answer.id)
    last = (await within(reading))[-1]
    assert ("response.incomplete", "cancelled") == (last["type"], last["response"]["status"])
    assert 1 == upstream.count("POST", "/v1/responses/")
    done = await create(client)
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a completed"):
        await client.responses.cancel(done.id)


async def test_a_cancel_comes_before_the_first_event(
    client: AsyncOpenAI,
    upstream: OpenAIUpstream,
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An upstream that is slow to answer goes on in its background all the same, unless it is told
    not to."""
    monkeypatch.setattr(creating, "_BEGINNING", 0.05)
    upstream.answers("One", STALL)
    upstream.strike(SlowHeaders(gate := Gate()))
    answer = await create(client, background=True)
    cancelling = asyncio.ensure_future(client.responses.cancel(answer.id))

    async def is_asked() -> bool:
        return any([info.cancelling async for info in hub.sessions()])

    await until(is_asked)
    gate.open()
    cancelled = await within(cancelling)

    assert ("queued", "cancelled") == (answer.status, cancelled.status)
    assert 1 == upstream.count("POST", "/v1/responses/")


@pytest.mark.parametrize("stream", [True, False])
async def test_an_operator_cancels_what_has_not_begun(
    client: AsyncOpenAI, upstream: OpenAIUpstream, hub: Hub, stream: bool
) -> None:
    """Its client is told that as an end, not to ask again; and is given it once more by its key."""
    upstream.strike(SlowHeaders(gate := Gate()))
    keyed: dict[str, Any] = {"stream": stream, "extra_headers": {"idempotency-key": "k"}}
    asking = asyncio.ensure_future(create(client, **keyed))
    await within(gate.wait_reached())
    [session] = [await hub.get(info.session_id) async for info in hub.sessions()]
    assert session is not None
    await session.cancel()
    answers = [await asking, await create(client, **keyed)]
    if stream:
        read_all = [(await within(read(one)))[-1]["response"] for one in answers]
    else:
        read_all = [one.to_dict() for one in answers]

    assert ["cancelled"] * 2 == [one["status"] for one in read_all]
    assert 1 == upstream.count()


async def test_what_was_not_to_be_stored_is_gone(
    client: AsyncOpenAI, upstream: OpenAIUpstream, hub: Hub
) -> None:
    """With the end of its only reading."""
    answer = await create(client, store=False)
    streamed = await within(read(await create(client, store=False, stream=True)))

    assert "response.completed" == streamed[-1]["type"]
    for response_id in (answer.id, streamed[0]["response"]["id"]):
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(response_id)

    async def nothing_stays() -> bool:
        return [] == [info async for info in hub.sessions()]

    await until(nothing_stays)
    with pytest.raises(openai.BadRequestError, match="store"):
        await create(client, store=False, background=True)


async def test_deleted_is_deleted(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """Here and upstream, while it is written as well."""
    upstream.answers("One", Gate())
    for answer in (await create(client, background=True), await create(client)):
        await within(client.responses.delete(answer.id))
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(answer.id)

    assert 2 == upstream.count("DELETE", "/v1/responses/")


async def test_the_response_before_is_the_upstreams(
    client: AsyncOpenAI, upstream: OpenAIUpstream
) -> None:
    """Its name there stands in for the one that the client knows."""
    first = await create(client)
    second = await create(client, previous_response_id=first.id)

    assert first.id == second.previous_response_id
    assert upstream.asked[1].body["previous_response_id"].startswith("resp_0000")
    with pytest.raises(openai.BadRequestError) as unknown:
        await create(client, previous_response_id=f"resp_{'0' * 32}")
    assert "previous_response_not_found" == unknown.value.code
    with pytest.raises(openai.BadRequestError, match="not found"):
        await create(client, previous_response_id="a\n")


async def test_an_answer_is_its_keys_alone(
    client: AsyncOpenAI, url: str, upstream: OpenAIUpstream, hub: Hub
) -> None:
    """For any other it is not there, whatever is tried; and the key itself is stored nowhere."""
    answer = await create(client, background=True)
    async with client_of(url, "another") as other:
        for attempt in (
            other.responses.retrieve(answer.id),
            other.responses.cancel(answer.id),
            other.responses.delete(answer.id),
            other.responses.retrieve(answer.id, stream=True),
            other.responses.input_items.list(answer.id),
        ):
            with pytest.raises(openai.NotFoundError) as refused:
                await attempt
            assert "response_not_found" == refused.value.code
        with pytest.raises(openai.BadRequestError):
            await create(other, previous_response_id=answer.id)

    assert answer.id == (await client.responses.retrieve(answer.id)).id
    kept = [info async for info in hub.sessions()]
    streams = [await hub.get(info.session_id) for info in kept]
    said = [one for stream in streams if stream async for one in stream.subscribe()]
    assert "a-key" not in f"{kept} {said}"
    assert "One two three four five." in f"{said}"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("?stream=true&starting_after=-1", 400, "invalid_value"),
        ("?stream=true&starting_after=x", 400, "invalid_value"),
        ("?stream=true&starting_after=1000", 400, "starting_after_beyond_end"),
        ("?starting_after=1", 400, "invalid_value"),
        ("?stream=yes", 400, "invalid_value"),
        ("/input_items?limit=0", 400, "invalid_value"),
        ("/input_items?order=up", 400, "invalid_value"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    client: AsyncOpenAI, url: str, path: str, status: int, code: str
) -> None:
    """With what is wrong about it."""
    answer = await create(client)
    headers = {"authorization": "Bearer a-key"}
    async with httpx.AsyncClient(headers=headers) as raw:
        got = await raw.get(f"{url}/responses/{answer.id}{path}")

    assert (status, code) == (got.status_code, got.json()["error"]["code"])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"[]", 400, "invalid_json"),
        (b'{"stream": "yes"}', 400, "invalid_value"),
        (b'{"model": 7}', 400, "invalid_value"),
        (b'{"input": "\xff"}', 400, "invalid_json"),
        (b'{"temperature": 1e999}', 400, "invalid_json"),
        (b'{"input": "\\ud800"}', 400, "invalid_json"),
        (b'{"input": ' + b"[" * 1500, 400, "invalid_json"),
        (b'{"previous_response_id": "%s"}' % (b"a" * 600), 400, "previous_response_not_found"),
        (b" " * 3000, 413, "request_too_large"),
    ],
)
async def test_a_body_that_makes_no_sense_is_refused(
    hub: Hub, upstream: OpenAIUpstream, body: bytes, status: int, code: str
) -> None:
    """Before the upstream is asked."""
    limits = Limits(max_body_bytes=2000)
    async with gateway(hub, upstream, limits=limits) as url, httpx.AsyncClient() as raw:
        # With a key more is read of it.
        got = [
            await raw.post(f"{url}/responses", content=body, headers=headers)
            for headers in ({}, {"idempotency-key": "k"})
        ]

    assert [(status, code)] * 2 == [(one.status_code, one.json()["error"]["code"]) for one in got]
    assert [] == upstream.asked


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Refused(429, "Slow.", "rate_limit_exceeded", retry_after="7"), 429, "rate_limit_exceeded"),
        (Refused(500, code="overloaded"), 500, "overloaded"),
        (Html(), 502, "upstream_answers_html"),
        (Redirect("http://127.0.0.1:9/"), 502, "upstream_redirects"),
        (HangUp(), 502, "upstream_broke_off"),
    ],
)
@pytest.mark.parametrize("options", [{"stream": True}, {"background": True}])
async def test_an_upstream_that_refuses_is_passed_on(
    client: AsyncOpenAI, upstream: OpenAIUpstream, hub: Hub, fault: Any, status: int, code: str,
    options: dict[str, bool],
) -> None:  # fmt: skip
    """As the error of the request: nothing has begun, and nothing stays."""
    upstream.strike(fault)
    with pytest.raises(openai.APIStatusError) as refused:
        await create(client, **options)

    assert (status, code) == (refused.value.status_code, refused.value.code)
    if isinstance(fault, Refused):
        assert fault.retry_after == refused.value.response.headers.get("retry-after")
    assert [] == [info async for info in hub.sessions()]


@pytest.mark.parametrize("fault", [BreakInside("three"), WrongLength(50)])
async def test_an_upstream_that_breaks_off_fails_the_answer(
    client: AsyncOpenAI, upstream: OpenAIUpstream, fault: Any
) -> None:
    """With an error and its code as the last events, which keep what there was."""
    upstream.strike(fault)
    events = await within(read(await create(client, stream=True)))
    kept = await client.responses.retrieve(events[0]["response"]["id"])

    if isinstance(fault, WrongLength):
        # All of it had come before that.
        assert "completed" == kept.status
        return
    assert list(range(len(events))) == numbers(events)
    assert ["error", "response.failed"] == [event["type"] for event in events[-2:]]
    assert "upstream_broke_off" == events[-2]["code"]
    assert ("failed", "One two") == (kept.status, kept.output_text)
    assert kept.error is not None
    assert "server_error" == kept.error.code
    upstream.strike(fault)
    with pytest.raises(openai.InternalServerError) as failed:
        await create(client)
    assert "upstream_broke_off" == failed.value.code


async def test_an_answer_that_fails_upstream_is_told_as_it_was(
    client: AsyncOpenAI, upstream: OpenAIUpstream
) -> None:
    """Nothing is added to it."""
    upstream.answers("One", Fails("Crashed.", "server_error"))
    events = await within(read(await create(client, stream=True)))

    assert ["response.failed"] == [
        e["type"] for e in events if e["type"] in ("error", "response.failed")
    ]
    assert "Crashed." == events[-1]["response"]["error"]["message"]


async def test_a_broken_connection_is_nothing_to_who_is_in_the_background(
    client: AsyncOpenAI, upstream: OpenAIUpstream
) -> None:
    """The gateway goes on after the last event that it has, and the model is paid once."""
    upstream.strike(BreakInside("three"))
    events = await within(read(await create(client, stream=True, background=True)))

    assert list(range(len(events))) == numbers(events)
    assert "response.completed" == events[-1]["type"]
    text = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
    assert "One two three four five." == text
    assert (1, 5) == (upstream.count(), upstream.tokens)


async def test_a_name_of_any_length(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """Is the upstream's to judge."""
    upstream.strike(Refused(400, "No such model.", "model_not_found"))
    with pytest.raises(openai.BadRequestError, match="No such model"):
        await within(client.responses.create(model="m" * 2_000_000, input="hi", background=True))


async def test_what_hides_the_lengths_of_deltas_can_be_left_out(
    client: AsyncOpenAI, upstream: OpenAIUpstream
) -> None:
    """By whoever reads it."""
    said = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
    said += b'"delta":"x","obfuscation":"abc","item_id":"i","output_index":0,"content_index":0}\n\n'
    upstream.answers("One", Raw(said))
    answer = await create(client, background=True)
    shown = [
        await within(
            read(
                await client.responses.retrieve(
                    answer.id, stream=True, starting_after=4, include_obfuscation=included
                )
            )
        )
        for included in (True, False)
    ]

    told = [next(event for event in events if event.get("delta") == "x") for events in shown]
    assert ["abc", None] == [event.get("obfuscation") for event in told]
    assert numbers(shown[0]) == numbers(shown[1])


async def test_an_answer_expires(make_hub: MakeHub, upstream: OpenAIUpstream) -> None:
    """After its retention it is not there, as if it had never been."""
    hub = make_hub(HubConfig(retention=0.2))
    async with gateway(hub, upstream) as url, client_of(url) as client:
        answer = await create(client)

        async def is_gone() -> bool:
            try:
                await client.responses.retrieve(answer.id)
            except openai.NotFoundError as missing:
                return "response_not_found" == str(missing.code)
            return False

        await until(is_gone)
        with pytest.raises(openai.NotFoundError):
            await client.responses.cancel(answer.id)


async def test_a_mounted_gateway_serves_as_well(hub: Hub, upstream: OpenAIUpstream) -> None:
    """Below any path, and with keys of its own."""
    app = create_gateway(
        hub, upstream=upstream.base_url, api_key=["ours"], upstream_key="upstreams"
    )

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        async with app.router.lifespan_context(app):
            yield

    around = Starlette(routes=[Mount("/llm", app)], lifespan=life)
    async with served(around, lifespan="on") as url:
        async with client_of(f"{url}/llm/v1", "ours") as client:
            answer = await create(client)
        async with client_of(f"{url}/llm/v1", "theirs") as client:
            with pytest.raises(openai.AuthenticationError):
                await create(client)

    assert "completed" == answer.status
    assert ["Bearer upstreams"] == [asked.authorization for asked in upstream.asked]


async def test_a_silent_answer_is_kept_alive(hub: Hub) -> None:
    """By comments, which no client takes for an event, and which are stored nowhere."""

    class Silent:
        def __init__(self) -> None:
            self.said = [b"data: 1\n\n", b"data: 2\n\n"]
            self.waited = 0

        async def next(self) -> bytes | None:
            if self.waited < 3 and len(self.said) == 1:
                try:
                    await asyncio.Event().wait()
                finally:
                    self.waited += 1
            return self.said.pop(0) if self.said else None

        async def aclose(self) -> None:
            pass

    async with served(EventsResponse(Silent(), keep_alive=0.02)) as url, httpx.AsyncClient() as raw:
        got = await within(raw.get(url))

    assert "data: 1\n\n:\n:\n:\ndata: 2\n\n" == got.text


async def test_a_key_stands_for_one_request(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """Who asks again with it, because of the network or a time-out, follows the same answer, which
    is paid once; and its leaving is no end of it."""
    upstream.answers("One two", gate := Gate(), " three")
    keyed = {"extra_headers": {"Idempotency-Key": "a"}}
    first = await within(read(await create(client, stream=True, **keyed), 5))
    again = await create(client, stream=True, **keyed)
    waiting = asyncio.ensure_future(create(client, stream=True, **keyed))
    gate.open()
    whole = await within(read(again))

    assert first == whole[:5]
    assert whole == await within(read(await within(waiting)))
    assert "response.completed" == whole[-1]["type"]
    with pytest.raises(openai.ConflictError) as other:
        await client.responses.create(model="m", input="something else", **keyed)
    assert "idempotency_key_reuse" == other.value.code
    # The official clients would try again, for seconds.
    assert "false" == other.value.response.headers["x-should-retry"]
    assert 1 == upstream.count()


async def test_what_has_failed_is_asked_for_again_with_its_key(
    client: AsyncOpenAI, upstream: OpenAIUpstream
) -> None:
    """Under numbers of its own."""
    keyed = {"extra_headers": {"Idempotency-Key": "a"}}
    upstream.strike(BreakInside("three"))
    failed = await within(read(await create(client, stream=True, **keyed)))
    again = await within(read(await create(client, stream=True, **keyed)))

    assert "response.failed" == failed[-1]["type"]
    assert list(range(len(failed), len(failed) + len(again))) == numbers(again)
    assert ("response.completed", failed[0]["response"]["id"]) == (
        again[-1]["type"],
        again[-1]["response"]["id"],
    )


async def test_a_key_has_so_many_answers_at_once(hub: Hub, upstream: OpenAIUpstream) -> None:
    """Also of those in the background; an end makes place."""
    upstream.answers("One", gate := Gate())
    limits = Limits(max_answers_per_key=1)
    async with gateway(hub, upstream, limits=limits) as url, client_of(url) as client:
        answer = await create(client, background=True)
        with pytest.raises(openai.RateLimitError) as refused:
            await create(client)
        gate.open()
        await within(read(await client.responses.retrieve(answer.id, stream=True)))

        async def has_place() -> bool:
            try:
                return bool(await create(client))
            except openai.RateLimitError:
                return False

        await until(has_place)
    assert "too_many_answers" == refused.value.code


async def test_half_a_character_is_no_end(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """Some models part one between two deltas, where JSON can hold what UTF-8 cannot."""
    said = b'data: {"type":"response.output_text.delta","delta":"\\ud83d","item_id":"i",'
    said += b'"output_index":0,"content_index":0,"sequence_number":5}\n\n'
    upstream.answers("One", Raw(said))
    events = await within(read(await create(client, stream=True)))

    assert "response.completed" == events[-1]["type"]
    assert "\ufffd" in [event.get("delta") for event in events]


def delta(said: str, **more: Any) -> Raw:
    """An event that is told to the client as it is."""
    at = {"item_id": "i", "output_index": 0, "content_index": 0, "delta": said, **more}
    event = json.dumps({"type": "response.output_text.delta", **at})
    return Raw(b"data: %s\n\n" % event.encode().replace(b'"1e999"', b"1e999"))


async def test_events_that_are_odd(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """Numbers that do not rise, or are no numbers of anything, are told; and who asks for the whole
    answer gets it."""
    upstream.answers(delta("a", sequence_number=0), delta("b", sequence_number=0, at="1e999"), "c")
    events = await within(read(await create(client, stream=True)))
    kept = await client.responses.retrieve(events[0]["response"]["id"])

    assert list(range(len(events))) == numbers(events)
    assert ["a", "b", "c"] == [one["delta"] for one in events if "delta" in one]
    assert "completed" == kept.status


@pytest.mark.parametrize(
    "event",
    [
        {"type": "request"},
        {"type": ""},
        {"type": "a\r\nevent: b"},
        {"type": "response.completed"},
        {"type": "response.completed", "response": None},
    ],
)
async def test_what_is_no_event_fails_the_answer(
    client: AsyncOpenAI, upstream: OpenAIUpstream, event: dict[str, Any]
) -> None:
    """As what the upstream has done wrong, and without holes."""
    said = Raw(b"data: %s\n\n" % json.dumps(event).encode())
    for _ in range(2):
        upstream.answers("One", said, "two")
    events = await within(read(await create(client, stream=True)))
    with pytest.raises(openai.InternalServerError) as failed:
        await create(client)

    assert list(range(len(events))) == numbers(events)
    assert ["upstream_unexpected"] * 2 == [events[-2]["code"], failed.value.code]
    assert 502 == failed.value.status_code


async def test_an_error_is_why_an_answer_breaks_off(
    client: AsyncOpenAI, upstream: OpenAIUpstream
) -> None:
    """Not that the upstream says no more after it."""
    said = b'data: {"type":"error","code":"rate_limit_exceeded","message":"Slow down."}\n\n'
    upstream.strike(BreakInside("two"))
    upstream.answers("One ", Raw(said), "two")
    with pytest.raises(openai.InternalServerError, match="Slow down") as failed:
        await create(client)

    assert "rate_limit_exceeded" == failed.value.code


async def test_an_upstream_without_a_background_gets_one_here(
    client: AsyncOpenAI, upstream: OpenAIUpstream
) -> None:
    """The gateway goes on for it, and its client is told nothing of that."""
    told = "Background mode is not supported."
    upstream.strike(Refused(400, told, "unsupported", "invalid_request_error"))
    events = await within(read(await create(client, stream=True, background=True)))

    assert "response.completed" == events[-1]["type"]
    assert [True, None] == [asked.body.get("background") for asked in upstream.asked]


async def test_an_upstream_that_is_busy_is_attached_to_a_little_later(
    client: AsyncOpenAI, upstream: OpenAIUpstream
) -> None:
    """It has the answer in its background, and it was paid for."""
    upstream.strike(BreakInside("three"))
    upstream.strike(Refused(503), method="GET")
    upstream.strike(HangUp(), method="GET")
    events = await within(read(await create(client, stream=True, background=True)))

    assert list(range(len(events))) == numbers(events)
    assert "response.completed" == events[-1]["type"]
    assert (1, 5) == (upstream.count(), upstream.tokens)
