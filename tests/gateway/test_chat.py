"""Chat completions through the gateway: as the upstream sends them, and followed by who comes
again."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest

from streamhub import HubConfig, Status
from streamhub.formats.sse import EventParser
from streamhub.gateway import Limits
from streamhub.testing.waiting import patience, until, within

from ..conftest import MakeHub
from ..http.serving import nothing_is_held
from ..support.backends import BACKENDS, NewHub
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
    Refusal,
    Refused,
    SlowHeaders,
    Split,
    Thought,
    WrongLength,
    openai_upstream,
)
from .chatting import COMPLETION_ID, PATH, chat, data_of, gateway, opened

ANSWERS: dict[str, tuple[Any, ...]] = {
    "text": ("Hé, 世界 👍 two\n\nlines",),
    "tools": (Thought("Let me see."), Call("weather", {"city": "Köln", "unit": "°C"})),
    "refusal": (Refusal("I would rather not."),),
    "as it likes": (
        Raw(b'event: x.note\ndata: {"a":  1.50,"b":"\xc3\xa9"}\n\n'),
        Raw(b'id: 7\r\ndata:{"no":"space"}\r\n\r\n'),
        Raw(b": a comment\n\ndata: {\ndata: }\n\n"),
        "end",
    ),
}


@pytest.fixture(params=["memory"])
def new_hub(request: pytest.FixtureRequest) -> NewHub:
    """What differs between stores is tested with them."""
    name: str = request.param
    return BACKENDS[name](request)


@pytest.fixture
def upstream() -> Iterator[OpenAIUpstream]:
    with openai_upstream() as upstream:
        yield upstream


@pytest.mark.parametrize("says", ANSWERS)
@pytest.mark.parametrize("size", [None, 1])
async def test_who_stays_reads_what_the_upstream_sent(
    make_hub: MakeHub, says: str, size: int | None
) -> None:
    """Each event's data byte for byte, its type, the status and the headers, in whatever pieces the
    upstream sends them."""
    with openai_upstream() as alone, openai_upstream() as behind:
        for one in (alone, behind):
            one.answers(*ANSWERS[says])
            if size is not None:
                one.strike(Split(size))
        body = chat(stream_options={"include_usage": True})
        headers = {"authorization": "Bearer sk-one"}
        async with httpx.AsyncClient(verify=False) as client:
            direct = await client.post(f"{alone.url}{PATH}", json=body, headers=headers)
        async with gateway(behind, make_hub()) as [client]:
            through = await client.post(PATH, json=body)

    def told(response: httpx.Response) -> list[tuple[str, str]]:
        return [(event.event, event.data) for event in EventParser().feed(response.content)]

    assert told(direct) == told(through)
    assert [200, "req_1"] == [through.status_code, through.headers["x-request-id"]]
    assert "text/event-stream" == through.headers["content-type"].partition(";")[0]
    assert b"\nid:" not in through.content
    assert "Bearer sk-one" == behind.asked[0].authorization
    assert body == behind.asked[0].body


async def test_a_cut_answer_goes_on_with_its_key(
    make_hub: MakeHub, upstream: OpenAIUpstream
) -> None:
    """Cut after any event, on any instance, by the same request or by the answer's id: what comes
    then is the rest, and the upstream is asked once."""
    keys = (f"key {number}" for number in count())
    async with gateway(upstream, make_hub(), make_hub()) as [here, there]:
        whole = (await here.post(PATH, json=chat())).content
        length = len(EventParser().feed(whole))
        for cut in range(1, length + 1):
            for way in ("post", "get"):
                gate, key, before = Gate(), next(keys), upstream.count()
                upstream.answers("One two three", gate, " four five.")
                async with opened(here, chat(), key=key) as answer:
                    read = await answer.take(min(cut, 4))
                    if cut > 4:
                        gate.open()
                        read += await answer.take(cut - 4)
                    completion_id = answer.response.headers[COMPLETION_ID]
                gate.open()
                again: dict[str, Any] = {"after": read[-1].id, "completion_id": completion_id}
                if way == "post":
                    again |= {"body": chat(), "key": key}
                async with opened(there, **again) as answer:
                    read += await answer.rest()

                assert length == len({event.id for event in read}) == len(read)
                assert ["[DONE]", 1] == [read[-1].data, upstream.count() - before]
                said = [json.loads(data) for data in data_of(read)[:-1]]
                text = "".join(one["choices"][0]["delta"].get("content", "") for one in said)
                assert "One two three four five." == text


async def test_the_id_in_the_header_names_the_answer(
    make_hub: MakeHub, upstream: OpenAIUpstream
) -> None:
    """The same request with it follows the answer; without stream, an answer is given whole."""
    async with gateway(upstream, make_hub(), detach=True) as [client]:
        first = await client.post(PATH, json=chat())
        named = {COMPLETION_ID: first.headers[COMPLETION_ID]}
        again = await client.post(PATH, json=chat(), headers=named)
        folded = await client.get(f"{PATH}/{named[COMPLETION_ID]}")
        unknown = await client.post(PATH, json=chat(), headers={COMPLETION_ID: "chatcmpl-hub-1"})
        other = await client.post(PATH, json=chat(), headers={COMPLETION_ID: "chatcmpl-1"})

    assert first.content == again.content
    assert "One two three four five." == folded.json()["choices"][0]["message"]["content"]
    assert (404, "completion_not_found") == (unknown.status_code, code_of(unknown))
    assert (400, 1) == (other.status_code, upstream.count())


@pytest.mark.parametrize("new_hub", ["memory", "redis"], indirect=True)
async def test_requests_at_once_with_one_key_ask_once(
    make_hub: MakeHub, upstream: OpenAIUpstream
) -> None:
    """On two instances, streamed or not; and once again where the first answer has failed."""
    async with gateway(upstream, make_hub(), make_hub()) as clients:
        upstream.strike(Refused(500))
        failed = await clients[0].post(PATH, json=chat(), headers={"idempotency-key": "True"})
        assert 500 == failed.status_code
        for stream in (True, False):
            asks = [
                client.post(
                    PATH, json=chat(stream=stream), headers={"idempotency-key": f"{stream}"}
                )
                for client in clients * 2
            ]
            answers = await asyncio.gather(*asks)

            assert 1 == len({answer.content for answer in answers})
            assert {200} == {answer.status_code for answer in answers}

    assert 3 == upstream.count()


async def test_a_key_stands_for_one_request(make_hub: MakeHub, upstream: OpenAIUpstream) -> None:
    """Another body under it is refused, and not to be tried again; the same one may be written in
    another way. Somebody else's key is another one."""
    headers = {"idempotency-key": "k"}
    async with gateway(upstream, make_hub()) as [client]:
        first = await client.post(PATH, json=chat(), headers=headers)
        other = await client.post(PATH, json=chat("ho"), headers=headers)
        turned = json.dumps(dict(reversed(chat().items())), indent=1)
        same = await client.post(PATH, content=turned, headers=headers)
        others = {**headers, "authorization": "Bearer sk-two"}
        theirs = await client.post(PATH, json=chat("ho"), headers=others)
        path = f"{PATH}/{first.headers[COMPLETION_ID]}"
        stolen = await client.get(path, headers={"authorization": "Bearer sk-two"})

    assert (409, "idempotency_key_reuse") == (other.status_code, code_of(other))
    assert "false" == other.headers["x-should-retry"]
    assert (first.content, 200) == (same.content, theirs.status_code)
    assert (404, "completion_not_found") == (stolen.status_code, code_of(stolen))
    assert 2 == upstream.count()


async def test_a_client_that_leaves(make_hub: MakeHub, upstream: OpenAIUpstream) -> None:
    """Stops its answer, which nobody can come back for, before its beginning as well; with a key,
    or with a gateway that detaches, it goes on."""
    hub = make_hub()
    async with (
        gateway(upstream, hub) as [client],
        gateway(upstream, hub, detach=True) as [detached],
    ):
        upstream.answers("one", STALL)
        async with opened(client, chat()) as answer:
            await answer.take(2)
        asked = await asyncio.to_thread(upstream.wait_asked)
        assert await asyncio.to_thread(asked.hung_up.wait, patience())

        slow = Gate()
        upstream.strike(SlowHeaders(slow))
        asking = asyncio.create_task(client.post(PATH, json=chat()))
        await within(slow.wait_reached())
        asking.cancel()
        asked = await asyncio.to_thread(upstream.wait_asked, 2)
        assert await asyncio.to_thread(asked.hung_up.wait, patience())

        for one, key in ((client, "k"), (detached, None)):
            gate = Gate()
            upstream.answers("one", gate, " two")
            async with opened(one, chat(), key=key) as answer:
                await answer.take(2)
                completion_id = answer.response.headers[COMPLETION_ID]
            gate.open()
            whole = await one.get(f"{PATH}/{completion_id}")
            assert "one two" == whole.json()["choices"][0]["message"]["content"]

    infos = [info async for info in hub.sessions()]
    assert [Status.CANCELLED] * 2 + [Status.FINISHED] * 2 == sorted(one.status for one in infos)
    await nothing_is_held(hub)


async def test_a_cancel(make_hub: MakeHub, upstream: OpenAIUpstream) -> None:
    """From any instance: it closes the upstream's request, is told to who follows, may be repeated,
    and is refused for what is complete."""
    upstream.answers("one", STALL)
    async with gateway(upstream, make_hub(), make_hub()) as [here, there]:
        async with opened(here, chat(), key="k") as answer:
            await answer.take(2)
            path = f"{PATH}/{answer.response.headers[COMPLETION_ID]}"
            cancelled = [(await there.post(f"{path}/cancel")).json() for _ in range(2)]
            rest = await answer.rest()
        assert await asyncio.to_thread(upstream.asked[0].hung_up.wait, patience())
        whole = await here.get(path)
        again = await here.post(PATH, json=chat(), headers={"idempotency-key": "k"})
        complete = await here.post(PATH, json=chat(), headers={"idempotency-key": "other"})
        late = await here.post(f"{PATH}/{complete.headers[COMPLETION_ID]}/cancel")
        unknown = await here.post(f"{PATH}/chatcmpl-7/cancel")

    assert ["cancelled"] * 2 == [one["status"] for one in cancelled]
    assert "cancelled" == json.loads(rest[-1].data)["error"]["code"]
    assert (409, "cancelled") == (whole.status_code, code_of(whole))
    assert '"code":"cancelled"' in again.text
    assert (400, "completion_ended") == (late.status_code, code_of(late))
    assert (404, 2) == (unknown.status_code, upstream.count())


FAULTS = [
    (Html(), 502, "upstream_answers_html"),
    (Redirect("https://elsewhere.example"), 502, "upstream_redirects"),
    (HangUp(), 502, "upstream_broke_off"),
    (BreakInside("世"), 200, "upstream_broke_off"),
    (BreakInside("Köln"), 200, "upstream_broke_off"),
    (WrongLength(-300), 200, "upstream_ended_early"),
]


@pytest.mark.parametrize(("fault", "status", "code"), FAULTS)
async def test_an_upstream_that_fails(
    make_hub: MakeHub, upstream: OpenAIUpstream, fault: Any, status: int, code: str
) -> None:
    """Is told in the shape that the SDKs raise: as the answer, or as the last event after what
    came. Who asks again with the same key asks anew."""
    upstream.says = ("Hé 世界", Call("weather", {"city": "Köln"}, deltas=1))
    upstream.strike(fault)
    headers = {"idempotency-key": "k"}
    async with gateway(upstream, make_hub()) as [client]:
        failed = await client.post(PATH, json=chat(), headers=headers)
        whole = await client.post(PATH, json=chat(), headers=headers)

    error = failed.json() if status != 200 else json.loads(events_of(failed)[-1])
    assert (status, code) == (failed.status_code, error["error"]["code"])
    assert {"message", "type", "param", "code"} == error["error"].keys()
    if status == 200:
        assert events_of(whole)[1][20:] == events_of(failed)[1][20:]
    assert ["[DONE]", 2] == [events_of(whole)[-1], upstream.count()]


async def test_an_upstream_that_refuses(make_hub: MakeHub, upstream: OpenAIUpstream) -> None:
    """Its status, its headers and its body are passed on, also to who waits for the same answer on
    another instance; the next request asks anew."""
    gate, other = Gate(), make_hub()
    upstream.strike(SlowHeaders(gate))
    upstream.strike(Refused(429, "Slow down.", "rate_limit_exceeded", retry_after="3"))
    headers = {"idempotency-key": "k"}
    async with gateway(upstream, make_hub(), other) as [here, there]:
        upstream.answers("one", Fails())
        first = asyncio.create_task(here.post(PATH, json=chat(), headers=headers))
        await within(gate.wait_reached())
        waits = asyncio.create_task(there.post(PATH, json=chat(), headers=headers))

        async def is_followed() -> bool:
            return other.statistics().subscribers > 0

        await until(is_followed)
        refused = await there.post(PATH, json=chat(), headers={"idempotency-key": "l"})
        gate.open()
        told, heard = await first, await waits
        again = await there.post(PATH, json=chat(), headers={"idempotency-key": "l"})

    assert (429, "3") == (refused.status_code, refused.headers["retry-after"])
    assert "rate_limit_exceeded" == code_of(refused)
    assert 1 == told.text.count('"error"')
    assert events_of(told) == events_of(heard)
    assert (200, 3) == (again.status_code, upstream.count())


async def test_an_upstream_that_stalls(make_hub: MakeHub, upstream: OpenAIUpstream) -> None:
    """In the middle, and before its beginning."""
    upstream.answers("one", STALL)
    slow = Gate()
    async with gateway(upstream, make_hub(), limits=Limits(upstream_timeout=0.3)) as [client]:
        middle = await client.post(PATH, json=chat())
        upstream.strike(SlowHeaders(slow))
        before = await client.post(PATH, json=chat())
        away = "http://127.0.0.1:9/v1"
        async with gateway(away, make_hub()) as [lost]:
            unreachable = await lost.post(PATH, json=chat())

    assert "upstream_timeout" == json.loads(events_of(middle)[-1])["error"]["code"]
    assert (504, "upstream_timeout") == (before.status_code, code_of(before))
    assert (502, "upstream_unreachable") == (unreachable.status_code, code_of(unreachable))


async def test_an_answer_that_is_not_streamed(make_hub: MakeHub, upstream: OpenAIUpstream) -> None:
    """Is passed on; with a key, it is given again. It has to be JSON, and whole."""
    async with gateway(upstream, make_hub()) as [client]:
        plain = await client.post(PATH, json=chat(stream=False))
        headers = {"idempotency-key": "k"}
        kept = [await client.post(PATH, json=chat(stream=False), headers=headers) for _ in range(2)]
        path = f"{PATH}/{kept[0].headers[COMPLETION_ID]}"
        known = await client.get(path)
        told = []
        for fault in (Html(), WrongLength(9), Refused(400, "Too long.", "context_length_exceeded")):
            upstream.strike(fault)
            told.append(await client.post(PATH, json=chat(stream=False)))

    assert "chat.completion" == plain.json()["object"]
    assert kept[0].content == kept[1].content == known.content
    assert [(502, "upstream_answers_html"), (502, "upstream_broke_off"),
            (400, "context_length_exceeded")] == [
        (one.status_code, code_of(one)) for one in told
    ]  # fmt: skip
    assert 5 == upstream.count()


async def test_half_a_character(make_hub: MakeHub, upstream: OpenAIUpstream) -> None:
    """Is passed on as it was sent, and both halves are one in the whole answer; nor do numbers that
    are too large for most, or names that no store takes, take anything away."""
    halves = [
        Raw(
            b'event: a\0b\ndata: {"x":1e999,"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n'
            % one
        )
        for one in (b"\\ud83d", b"\\ude00")
    ]
    upstream.answers("a", *halves, "b")
    async with gateway(upstream, make_hub()) as [client]:
        streamed = await client.post(PATH, json=chat())
        whole = await client.get(f"{PATH}/{streamed.headers[COMPLETION_ID]}")

    assert b"\\ud83d" in streamed.content
    assert "[DONE]" == events_of(streamed)[-1]
    assert "a😀b" == whole.json()["choices"][0]["message"]["content"]


async def test_an_upstream_that_compresses(make_hub: MakeHub) -> None:
    """Though it was not asked to: what is passed on is not compressed, and does not say so."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).lower())
        size = int(heads[-1].split(b"content-length: ")[1].split(b"\r\n")[0])
        streamed = json.loads(await reader.readexactly(size))["stream"]
        kind = "text/event-stream" if streamed else "application/json"
        body = gzip.compress(b"data: [DONE]\n\n" if streamed else b'{"a":1}')
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Encoding: gzip\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with gateway(url, make_hub()) as [client]:
            asks = [(True, {}), (False, {}), (False, {"idempotency-key": "k"})]
            told = [
                await client.post(PATH, json=chat(stream=stream), headers=headers)
                for stream, headers in asks
            ]

    assert [b"data: [DONE]\n\n", b'{"a":1}', b'{"a":1}'] == [one.content for one in told]
    assert {None} == {one.headers.get("content-encoding") for one in told}
    assert all(b"accept-encoding: identity" in head for head in heads)


async def test_limits(make_hub: MakeHub, upstream: OpenAIUpstream) -> None:
    """A body that is too large, an answer that is, and a key with as many answers under way as it
    may have: to follow one of them takes no room, nor does somebody else's."""
    upstream.answers("one", STALL)
    limits = Limits(max_body_bytes=20_000, max_answers_per_key=1)
    small = HubConfig(max_stream_bytes=1500, max_chunk_bytes=1000)
    async with (
        gateway(upstream, make_hub(), limits=limits) as [client],
        gateway(upstream, make_hub(small)) as [cramped],
    ):
        large = await client.post(PATH, json=chat("x" * 20_000))
        async with opened(client, chat(), key="k") as answer:
            await answer.take(2)
            refused = [
                await client.post(PATH, json=chat(stream=stream), headers=headers)
                for stream in (True, False)
                for headers in ({}, {"idempotency-key": "l"})
            ]
            other = await client.post(PATH, json=chat(), headers={"authorization": "Bearer sk-2"})
            async with opened(client, chat(), key="k") as follower:
                await follower.take(2)
            await client.post(f"{PATH}/{answer.response.headers[COMPLETION_ID]}/cancel")
        after = await client.post(PATH, json=chat())
        long = await cramped.post(PATH, json=chat())
        upstream.answers("x" * 2000)
        wide = await cramped.post(PATH, json=chat())

    assert (413, "request_too_large") == (large.status_code, code_of(large))
    assert {(429, "1", "too_many_answers")} == {
        (one.status_code, one.headers["retry-after"], code_of(one)) for one in refused
    }
    assert (200, 200, 5) == (other.status_code, after.status_code, upstream.count())
    for one in (long, wide):
        assert "answer_too_large" == json.loads(events_of(one)[-1])["error"]["code"]


@pytest.mark.parametrize(
    ("asks", "param"),
    [
        ({"content": "{"}, None),
        ({"content": "[]"}, None),
        ({"json": chat(stream="yes")}, "stream"),  # type: ignore[arg-type]
        ({"json": chat(), "headers": {"idempotency-key": "k" * 300}}, None),
    ],
)
async def test_what_is_no_request(
    make_hub: MakeHub, upstream: OpenAIUpstream, asks: Any, param: str | None
) -> None:
    """Is refused before anybody is asked."""
    async with gateway(upstream, make_hub()) as [client]:
        refused = await client.post(PATH, **asks)

    assert (400, param) == (refused.status_code, refused.json()["error"]["param"])
    assert 0 == upstream.count()


async def test_places_that_are_none(make_hub: MakeHub, upstream: OpenAIUpstream) -> None:
    """A cursor that is malformed, an id that is unknown, a switch that is neither."""
    async with gateway(upstream, make_hub()) as [client]:
        done = await client.post(PATH, json=chat(), headers={"idempotency-key": "k"})
        path = f"{PATH}/{done.headers[COMPLETION_ID]}"
        malformed = await client.get(f"{path}?stream=true", headers={"last-event-id": "x"})
        switch = await client.get(f"{path}?stream=maybe")
        no_ids = ("0" * 500, "%0a", "x", "0" * 32)
        unknown = [await client.get(f"{PATH}/chatcmpl-hub-{one}") for one in no_ids]
        theirs = await client.get(f"{PATH}/chatcmpl-1")

    assert (400, "invalid_cursor") == (malformed.status_code, code_of(malformed))
    assert (400, "stream") == (switch.status_code, switch.json()["error"]["param"])
    assert {(404, "completion_not_found")} == {(it.status_code, code_of(it)) for it in unknown}
    assert (404, "unknown_url") == (theirs.status_code, code_of(theirs))


@pytest.mark.parametrize("new_hub", ["memory", "redis"], indirect=True)
async def test_an_answer_begun_anew_is_glued_to_nothing(
    make_hub: MakeHub, upstream: OpenAIUpstream
) -> None:
    """Who holds a place in the one that failed is told, and reads the other one from its start."""
    upstream.answers("one", Fails())
    async with gateway(upstream, make_hub()) as [client]:
        async with opened(client, chat(), key="k") as answer:
            failed = await answer.rest()
        upstream.answers("uno dos")
        async with opened(client, chat(), key="k", after=failed[1].id) as answer:
            told = await answer.rest()
        async with opened(client, chat(), key="k") as answer:
            anew = await answer.rest()

    assert ["answer_restarted"] == [json.loads(one.data)["error"]["code"] for one in told]
    assert "uno" in anew[1].data
    assert 2 == upstream.count()


def code_of(response: httpx.Response) -> Any:
    return response.json()["error"]["code"]


def events_of(response: httpx.Response) -> list[str]:
    return data_of(EventParser().feed(response.content))
