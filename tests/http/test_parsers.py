"""What clients make of what is sent: the parsers that they use, on responses of a real server."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import sseclient
from httpx_sse import connect_sse

from streamhub import Hub
from streamhub.formats.sse import EventParser
from streamhub.http import UIMessageStreamResponse, create_app
from streamhub.parts import PART_EVENT

from .conftest import Open
from .serving import path_of, stored

#: All that str.splitlines takes for a line break, but for those that Server-Sent Events know.
BREAKS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
TEXTS = [
    *[f"a{one}b" for one in BREAKS],
    # What would be fields of their own if the line broke there.
    *[f"a{one}event: end" for one in BREAKS],
    *[f"{one}{one}data: x" for one in BREAKS],
    "\ufeffa",
    "a\0b",
    " a: b",
    "",
    "a\nb\n\nc\n",
]
BROWSER = Path(__file__).parents[1] / "browser"
NODE = Path(sys.executable).with_name("node")

EVENTSOURCE_PARSER = """
import { createParser } from "eventsource-parser";
const seen = [];
const onEvent = ({ event, data }) => seen.push([event ?? "message", data]);
const parser = createParser({ onEvent });
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
for await (const piece of process.stdin) parser.feed(decoder.decode(piece, { stream: true }));
console.log(JSON.stringify(seen));
"""

Seen = list[tuple[str, str]]


def with_httpx_sse(url: str) -> Seen:
    with httpx.Client() as client, connect_sse(client, "GET", url) as source:
        return [(one.event or "message", one.data) for one in source.iter_sse()]


def with_sseclient(url: str) -> Seen:
    with httpx.stream("GET", url) as response:
        client = sseclient.SSEClient(response.iter_bytes())
        return [(one.event, one.data) for one in client.events()]


def with_eventsource_parser(url: str) -> Seen:
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", EVENTSOURCE_PARSER],
        cwd=BROWSER,
        input=httpx.get(url).content,
        capture_output=True,
        check=True,
    )
    return [(event, data) for event, data in json.loads(done.stdout)]


def with_curl(url: str) -> Seen:
    done = subprocess.run(["curl", "-sN", url], capture_output=True, check=True)
    return [(one.event, one.data) for one in EventParser().feed(done.stdout)]


PARSERS = [
    with_httpx_sse,
    with_sseclient,
    # What ``make test`` alone installs.
    pytest.param(with_eventsource_parser, marks=pytest.mark.slow),
    pytest.param(with_curl, marks=pytest.mark.slow),
]
Parse = Callable[[str], Seen]


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_text_arrives_as_it_was_published(
    hub: Hub, open_client: Open, session_id: str, parse: Parse
) -> None:
    """Whatever it holds: no parser takes for a line break what is none of the standard's."""
    client = await open_client(create_app(hub))
    stream, _ = await hub.register(session_id)
    await stored(stream, *TEXTS)
    await stream.close()
    seen = await asyncio.to_thread(parse, f"{client.base_url}{path_of(session_id)}")

    # By the standard a text without data is an event of empty data; some parsers drop it.
    wanted = [("message", text) for text in TEXTS if text]
    assert wanted == [one for one in seen if one[1] and one[0] == "message"]
    assert "end" == seen[-1][0]


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_lines_of_json_are_not_cut(hub: Hub, open_client: Open, session_id: str) -> None:
    """By ``iter_lines`` of httpx, which breaks lines as Unicode does; nor is an end's reason."""
    client = await open_client(create_app(hub, show_errors=True))
    stream, _ = await hub.register(session_id)
    await stored(stream, *TEXTS)
    await stream.publish("x", event=f"tool{BREAKS}")
    await stream.fail(f"why{BREAKS}not")
    async with client.stream(
        "GET", path_of(session_id), headers={"accept": "application/x-ndjson"}
    ) as response:
        lines = [json.loads(line) async for line in response.aiter_lines() if line]

    assert TEXTS == [line["data"] for line in lines[:-2]]
    assert (f"tool{BREAKS}", f"why{BREAKS}not") == (lines[-2]["event"], lines[-1]["error"])


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_parts_of_messages_are_not_cut(hub: Hub, open_client: Open, session_id: str) -> None:
    """By readers that break lines as Unicode does: text, parts of the application's own, data."""
    stream, _ = await hub.register(session_id)
    await stored(stream, f"a{BREAKS}")
    part = {"type": "data-x", "data": f"b{BREAKS}"}
    await stream.publish(json.dumps(part, ensure_ascii=False), event=PART_EVENT)
    await stream.publish(f"c{BREAKS}", event="tool")
    await stream.fail(f"d{BREAKS}")
    client = await open_client(
        UIMessageStreamResponse(stream, error_text=lambda status, reason: reason)
    )
    lines = (await client.get("/")).text.splitlines()
    parts = [json.loads(line[len("data: ") :]) for line in lines if line.startswith("data: {")]

    assert {"", "data: [DONE]"} == {line for line in lines if not line.startswith("data: {")}
    assert f"a{BREAKS}" in [one.get("delta") for one in parts]
    assert [f"b{BREAKS}", f"c{BREAKS}"] == [one["data"] for one in parts if "data" in one]
    assert f"d{BREAKS}" == parts[-1]["errorText"]
