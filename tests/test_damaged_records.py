"""A record that holds what streamhub did not write is the matter of its own session alone."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator

import httpx
import pytest

from streamhub import HubConfig, SessionCorrupted, SessionInfo, SessionNotFound
from streamhub.http import create_app

from .cli_process import cli
from .redis_server import RedisServer
from .redis_stage import BOUND, Stage, claimed, meta

#: Of producers that are to do nothing by themselves while a test looks.
QUIET = HubConfig(lease=60.0)

DEEP = b"[" * 1_000 + b"]" * 1_000
METADATA = [
    DEEP,
    b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    b"[" * 200_000,
    b"[" * 101 + b"]" * 101,
    b'"\\ud800"',
    b'{"\\udfff":1}',
    b'"\xff"',
    b"\xff\xfe",
    b"NaN",
    b"[Infinity]",
    b"1e999",
    b"9" * 5_000,
    b"9" * 4_000,
    b"-" + b"9" * 400,
    b"{'a': 1}",
    b"\x00",
    b"\xef\xbb\xbf1",
    b"nil",
    b" ",
]
VALUES = [
    *(b"", b"x", b"\xff", b"\xed\xa0\x80", b"nan", b"inf", b"-inf", b"-1", b"1.5", b"1e3", b"0x10"),
    *(b"9" * 14, b"9" * 15, b"9" * 16, b"9" * 400, "\u0663".encode(), b" 1", b"1\n", b"\x00"),
    *(b"done", b"active", b"finished", b"lost", b"1", b"0"),
]
FIELDS = [
    *("gen", "status", "claim", "epoch", "last", "lease", "outcome", "error", "cancel", "reason"),
    *("owner", "created", "bytes", "base", "replaced", "term", "keep"),
]


@pytest.fixture
async def stage(redis_server: RedisServer, redis_url: str) -> AsyncIterator[Stage]:
    """On the shared server: nothing here harms more than the keys of its own sessions."""
    async with asyncio.timeout(4 * BOUND), Stage(redis_server) as stage:
        yield stage


async def damage(stage: Stage) -> list[str]:
    """Sessions with a record of every kind of damage, and of several at once by a fixed draw."""
    draw = random.Random(14)
    hub = stage.hub(QUIET)
    wrong: list[dict[str, bytes]] = [{"metadata": value} for value in METADATA]
    wrong += [{field: value} for field in FIELDS for value in VALUES]
    wrong += [
        {field: draw.choice(VALUES) for field in draw.sample(FIELDS, draw.randint(2, 6))}
        for _ in range(100)
    ]
    names = [f"broken:{n}" for n in range(len(wrong))]
    for number, (name, fields) in enumerate(zip(names, wrong, strict=True)):
        stream = await claimed(hub, name, owner="o", metadata={"n": number})
        if number % 2:
            await stream.close()
        await stage.client.hset(meta(name), mapping=fields)
    for number, kind in enumerate(("string", "list", "set", "zset", "stream", "empty")):
        name = f"type:{number}"
        names.append(name)
        match kind:
            case "string":
                await stage.client.set(meta(name), "x", px=60_000)
            case "list":
                await stage.client.rpush(meta(name), "gen", "x")
            case "set":
                await stage.client.sadd(meta(name), "gen")
            case "zset":
                await stage.client.zadd(meta(name), {"gen": 1})
            case "stream":
                await stage.client.xadd(meta(name), {"gen": "x"})
            case "empty":
                await stage.client.hset(meta(name), "other", "x")
    return names


async def test_a_damaged_record_is_told_of_its_own_session_alone(stage: Stage) -> None:
    """Whatever is in it: whoever asks for it gets an answer or SessionCorrupted, and a listing
    holds all the others."""
    names = await damage(stage)
    hub = stage.hub(QUIET)
    await claimed(hub, "whole", metadata={"whole": True})

    answered: dict[str, SessionInfo] = {}
    told: dict[str, str] = {}
    for name in names:
        try:
            stream = await hub.get(name)
            if stream is not None:
                answered[name] = await stream.info()
            elif name == "type:5":
                told[name] = f"{name}: a hash of other fields is no session"
        except (SessionCorrupted, SessionNotFound) as error:
            told[name] = str(error)
    listed = {info.session_id: info async for info in hub.sessions()}

    assert {*answered, "whole"} == {*listed}
    assert {*names} == {*answered, *told}
    assert [] == [text for name, text in told.items() if name not in text or len(text) > 1_000]
    assert {"whole": True} == listed["whole"].metadata
    assert f"broken:{METADATA.index(DEEP)}" not in listed
    assert len(names) > len(answered) > 100
    assert await hub.active([*names, "whole"]) >= {"whole"}


async def test_damaged_records_are_left_out_of_a_listing_over_http(stage: Stage) -> None:
    """And each by itself is answered as JSON, whole or as a problem."""
    names = await damage(stage)
    hub = stage.hub(QUIET)
    await claimed(hub, "whole")
    expected = {info.session_id async for info in hub.sessions()}
    transport = httpx.ASGITransport(create_app(hub))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        listed = await client.get("/sessions?limit=1000")
        codes = [(await client.get(f"/sessions/{name}")).status_code for name in names]

    assert 200 == listed.status_code
    assert expected == {one["session_id"] for one in listed.json()["sessions"]}
    assert {200, 404, 502} == {*codes}
    assert len(expected) - 1 == codes.count(200)


@pytest.mark.slow
async def test_damaged_records_are_left_out_of_a_listing_on_the_command_line(stage: Stage) -> None:
    """For people and as JSON; and each that is listed can be shown."""
    await damage(stage)
    hub = stage.hub(QUIET)
    await claimed(hub, "whole")
    expected = {info.session_id async for info in hub.sessions()}
    table = await cli("ls", url=stage.server.url)
    listed = await cli("ls", "--json", url=stage.server.url)
    latest = await claimed(hub, "latest")
    await latest.close()
    await stage.client.hset(meta("latest"), "created", b"9" * 15)
    shown = await cli("show", "latest", url=stage.server.url)

    assert (0, len(expected) + 1) == (table.code, len(table.out.splitlines()))
    assert 0 == listed.code
    assert expected == {json.loads(line)["session_id"] for line in listed.out.splitlines()}
    assert "Traceback" not in shown.err
    assert "damaged" in shown.err
