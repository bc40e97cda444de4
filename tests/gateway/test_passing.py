"""What the gateway does not answer itself: passed on as it is, both ways as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from streamhub import Hub
from streamhub.gateway import Limits
from streamhub.testing.waiting import patience, within

from ..http.serving import nothing_is_held, raw_request
from ..support.openai_upstream import (
    Gate,
    HangUp,
    Html,
    OpenAIUpstream,
    Refused,
    SlowHeaders,
    WrongLength,
    openai_upstream,
)
from .chatting import KEY, gateway


@pytest.fixture
def upstream() -> Iterator[OpenAIUpstream]:
    with openai_upstream() as upstream:
        yield upstream


async def test_it_is_what_the_upstream_answers(upstream: OpenAIUpstream) -> None:
    """Its status, its body, its headers but those of the connection; names with slashes stay as
    they were sent."""
    asks: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/v1/models", {}),
        ("GET", "/v1/models/team/b", {}),
        ("GET", "/v1/models/team%2Fb?a=%2F&b=1", {}),
        ("POST", "/v1/embeddings", {"json": {"model": "a/b", "input": "hi"}}),
        ("POST", "/v1/files", {"files": {"file": ("a.bin", bytes(range(256)))}}),
        ("GET", "/v1/files/file-1/content", {}),
        ("DELETE", "/v1/nowhere", {}),
        ("GET", "/v1/responses/resp_none/input_items/none", {}),
    ]
    headers = {**KEY, "cookie": "a=1", "te": "trailers", "openai-beta": "x", "user-agent": "t"}
    answers = []
    async with Hub() as hub, gateway(upstream, hub) as [client]:
        for base in (upstream.url, str(client.base_url)):
            for method, path, more in asks:
                answers.append(
                    await client.request(method, f"{base}{path}", headers=headers, **more)
                )

    half = len(asks)
    direct, through = answers[:half], answers[half:]
    assert [one.content for one in direct] == [one.content for one in through]
    assert [one.status_code for one in direct] == [one.status_code for one in through]
    for straight, passed in zip(direct, through, strict=True):
        expected = {**straight.headers, "x-request-id": passed.headers["x-request-id"]}
        expected.pop("transfer-encoding", None)
        assert expected == {k: v for k, v in passed.headers.items() if k != "transfer-encoding"}
    for straight_asked, asked in zip(upstream.asked[:half], upstream.asked[half:], strict=True):
        assert (straight_asked.path, straight_asked.query) == (asked.path, asked.query)
        assert len(straight_asked.raw) == len(asked.raw)
        assert {"x", "t", "Bearer sk-one"} <= set(asked.headers.values())
        assert set() == {"cookie", "te"} & set(asked.headers)


async def test_headers_hold_any_bytes(upstream: OpenAIUpstream) -> None:
    """They are sent on as they came, both ways; what ``Connection`` names is not."""
    upstream.strike(Refused(429, headers={"x-note": "€ é"}), method="GET")
    headers = {**KEY, "user-agent": "Zoë €".encode(), "connection": "x-mine", "x-mine": "a"}
    async with Hub() as hub, gateway(upstream, hub) as [client]:
        told = await client.get("/v1/models", headers=headers)  # type: ignore[arg-type]

    assert (429, "€ é") == (told.status_code, told.headers["x-note"])
    assert "Zoë €" == upstream.asked[0].headers["user-agent"]
    assert "x-mine" not in upstream.asked[0].headers


async def test_it_streams_both_ways(upstream: OpenAIUpstream) -> None:
    """An upload of a stated length or of none is sent on as it comes; a client that leaves in the
    middle of it leaves the upstream, too."""
    gate = asyncio.Event()

    async def upload(pieces: int = 3) -> AsyncIterator[bytes]:
        for number in range(pieces):
            yield b"%d" % number * 1000
            if number == 0:
                await gate.wait()

    async with Hub() as hub, gateway(upstream, hub) as [client]:
        sending = asyncio.create_task(client.post("/v1/files", content=upload()))
        await asyncio.sleep(0)
        gate.set()
        sent = await sending
        stated = await client.post("/v1/files", content=b"x" * 500_000)
        reader, writer = await raw_request(
            str(client.base_url),
            "/v1/files",
            "Authorization: Bearer k",
            "Content-Length: 1000",
            method="POST",
        )
        writer.write(b"x" * 10)
        await writer.drain()
        writer.close()
        await nothing_is_held(hub)
        # Two that were whole, and nothing of the third.
        assert [(3000, "chunked"), (500_000, None)] == [
            (len(one.raw), one.headers.get("transfer-encoding")) for one in upstream.asked
        ]

    assert [3000, 500_000] == [sent.json()["bytes"], stated.json()["bytes"]]
    assert reader is not None


async def test_who_leaves_stops_it(upstream: OpenAIUpstream) -> None:
    """Before the upstream has said anything."""
    slow = Gate()
    upstream.strike(SlowHeaders(slow), method="GET")
    async with Hub() as hub, gateway(upstream, hub) as [client]:
        asking = asyncio.create_task(client.get("/v1/models"))
        await within(slow.wait_reached())
        asking.cancel()
        assert await asyncio.to_thread(upstream.asked[0].hung_up.wait, patience())


async def test_faults(upstream: OpenAIUpstream) -> None:
    """An error and a page are passed on; no answer at all is told in the shape of the SDKs; and
    what breaks off does so for the client, too, instead of looking whole."""
    told = []
    async with Hub() as hub, gateway(upstream, hub) as [client]:
        for fault in (Refused(429, retry_after="3"), Html(503), HangUp()):
            upstream.strike(fault)
            told.append(await client.post("/v1/embeddings", json={"model": "m", "input": "hi"}))
        upstream.strike(WrongLength(9), method="GET")
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/v1/models")
        again = await client.get("/v1/models")
        dots = []
        for path in ("/v1/../admin", "/v1/%2e%2E/admin", "/v1/models/..%2f..%2f..%2fadmin"):
            reader, writer = await raw_request(
                str(client.base_url), path, "Authorization: Bearer k", "Connection: close"
            )
            dots.append((await within(reader.read())).split(b" ")[1])
            writer.close()
        elsewhere = await client.get("/v2/models")

    assert [429, 503, 502] == [one.status_code for one in told]
    assert ("3", "text/html") == (told[0].headers["retry-after"], told[1].headers["content-type"])
    assert "upstream_broke_off" == told[2].json()["error"]["code"]
    assert 200 == again.status_code
    assert [b"404"] * 3 == dots
    assert (404, "not_found") == (elsewhere.status_code, elsewhere.json()["error"]["code"])
    assert (3, 2) == (upstream.count(), upstream.count("GET"))


async def test_an_upload_that_is_too_large(upstream: OpenAIUpstream) -> None:
    """Is refused at once, or where it becomes too large."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * 500

    limits = Limits(max_upload_bytes=1000)
    async with Hub() as hub, gateway(upstream, hub, limits=limits) as [client]:
        refused = [
            await client.post("/v1/files", content=content) for content in (b"x" * 1001, pieces())
        ]

    assert {(413, "request_too_large")} == {
        (one.status_code, one.json()["error"]["code"]) for one in refused
    }
    assert 0 == len(upstream.asked)
