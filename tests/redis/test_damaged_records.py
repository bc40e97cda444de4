"""A record that holds what streamhub did not write is the matter of its own session alone."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar, get_args

import httpx
import pytest
import redis.asyncio
import redis.exceptions

from streamhub import (
    Hub,
    HubConfig,
    ProducerFenced,
    SessionCorrupted,
    SessionInfo,
    SessionNotFound,
    Status,
)
from streamhub.http import create_app
from streamhub.stores.base import Takeover
from streamhub.testing.waiting import bounded, unhurried

from ..support.cli_process import cli
from ..support.redis_cluster import RedisCluster
from ..support.redis_server import RedisServer
from ..support.redis_stage import BOUND, Stage, channel, chunks, claimed, meta

T = TypeVar("T")

#: Of producers that are to do nothing by themselves while a test looks.
QUIET = HubConfig(lease=unhurried(600.0))

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
    *(b"", b"x", b"\xff", b"\xed\xa0\x80", b"nan", b"inf", b"-1", b"1.5", b"1e3", b" 1\n", b"\x00"),
    *(b"9" * 14, b"9" * 15, b"9" * 16, b"9" * 400, b"done", b"active", b"0"),
]
FIELDS = [
    *("gen", "status", "claim", "epoch", "last", "lease", "outcome", "error", "cancel", "reason"),
    *("owner", "created", "bytes", "base", "replaced", "term", "keep", "request", "followers"),
]


@pytest.fixture
async def stage(redis_server: RedisServer, redis_url: str) -> AsyncIterator[Stage]:
    """On the shared server: nothing here harms more than the keys of its own sessions."""
    async with bounded(4 * BOUND), Stage(redis_server) as stage:
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
    streams = await asyncio.gather(*(claimed(hub, name, owner="o", metadata="m") for name in names))
    await asyncio.gather(*(stream.close() for stream in streams[::2]))
    async with stage.client.pipeline(transaction=False) as pipeline:
        for name, fields in zip(names, wrong, strict=True):
            pipeline.hset(meta(name), mapping=fields)
        await pipeline.execute()
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


@pytest.mark.parametrize("takeover", get_args(Takeover))
async def test_a_claim_over_a_damaged_record_is_whole_or_changes_nothing(
    stage: Stage, takeover: Takeover
) -> None:
    """Whichever field is damaged, it is granted to a producer that works, refused, or raises
    SessionCorrupted and leaves the session as it was: no lease without a producer."""
    hub, claiming = stage.hub(QUIET), stage.hub(QUIET)

    async def claim_anew(number: int, field: str, value: bytes) -> str:
        name = f"broken:{number}"
        stream = await claimed(hub, name, owner="o", metadata="m")
        await stream.publish("old ")
        await stream.fail("on purpose")
        await stage.client.hset(meta(name), field, value)
        before = await everything(stage.client, name)
        try:
            again, created = await claiming.register(name, takeover=takeover)
        except SessionCorrupted:
            if before != await everything(stage.client, name):
                # That the log is another's was seen by reading it: the claim is given back.
                assert "epoch" == field
                assert b"0" == await stage.client.hget(meta(name), "lease")
            return "corrupted"
        if not created:
            assert before == await everything(stage.client, name)
            return "refused"
        await again.publish("new")
        await again.close()
        assert await again.text() in ("new", "old new")
        assert Status.FINISHED == (await again.info()).status
        return "granted"

    damages = itertools.product(FIELDS, [*VALUES, METADATA[0]])
    outcomes = await at_once(claim_anew, ((n, *damage) for n, damage in enumerate(damages)))
    assert {"corrupted", "granted"} <= {*outcomes}


async def at_once(work: Callable[..., Awaitable[T]], cases: Iterable[tuple[Any, ...]]) -> list[T]:
    """What it comes to for each, a few of them at a time."""
    turn = asyncio.Semaphore(16)

    async def in_turn(*case: Any) -> T:
        async with turn:
            return await work(*case)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(in_turn(*case)) for case in cases]
    return [task.result() for task in tasks]


async def everything(client: Any, name: str) -> list[Any]:
    return [await client.hgetall(meta(name)), await client.xrange(chunks(name))]


Put = Callable[[Any, str], Awaitable[Any]]

OF_WRONG_TYPES: dict[str, Put] = {
    "string": lambda client, key: client.set(key, "x", px=60_000),
    "list": lambda client, key: client.rpush(key, "gen", "x"),
    "set": lambda client, key: client.sadd(key, "gen", "claim"),
    "zset": lambda client, key: client.zadd(key, {"gen": 1}),
    "hash": lambda client, key: client.hset(key, "other", "x"),
    "stream": lambda client, key: client.xadd(key, {"gen": "x"}),
}


def of_tombstone(value: bytes) -> Put:
    return lambda client, key: client.hset(key, "generation", value)


WRONG: dict[str, dict[str, Put]] = {
    "meta": OF_WRONG_TYPES,
    "chunks": OF_WRONG_TYPES,
    "removed": OF_WRONG_TYPES | {f"of {value!r:.20}": of_tombstone(value) for value in VALUES},
}


async def replaced(client: Any, key: str, put: Put) -> None:
    """A producer may put the key back in between; then it is replaced again."""
    while True:
        await client.delete(key)
        with suppress(redis.exceptions.ResponseError):
            await put(client, key)
            await client.pexpire(key, 60_000)
            return


async def cured(hub: Hub, client: Any, name: str) -> None:
    """Removed for good, then claimed, written and ended as any other."""
    await hub.remove(name)
    assert not await hub.remove(name)
    assert await hub.get(name) is None
    stream = await claimed(hub, name, metadata={"new": True})
    await stream.publish("new")
    await stream.close()
    assert "new" == await stream.text()
    assert {"new": True} == (await stream.info()).metadata
    for kind in ("meta", "chunks", "removed"):
        assert -1 != await client.pttl(channel(name, kind))


async def cures_every_combination(hub: Hub, client: Any) -> None:
    as_it_was: list[str | None] = [None]
    kinds = [*itertools.product(*([*as_it_was, *WRONG[key]] for key in WRONG))]
    # All pairs of damage, and a tenth of what has three kinds at once.
    drawn = random.Random(5).sample(kinds, len(kinds) // 10)
    pairs = [kind for kind in kinds if None in kind]

    async def damage_and_cure(number: int, kind: tuple[str | None, ...]) -> None:
        name = f"broken:{number}"
        stream = await claimed(hub, name)
        await stream.publish("old")
        await stream.flush()
        if number % 2:
            await stream.close()
        for key, wrong in zip(WRONG, kind, strict=True):
            if wrong is not None:
                await replaced(client, channel(name, key), WRONG[key][wrong])
        await cured(hub, client, name)

    chosen = sorted({*drawn, *pairs}, key=str)
    await at_once(damage_and_cure, enumerate(chosen))


@pytest.mark.slow
async def test_remove_cures_a_session_of_any_wrong_types(stage: Stage) -> None:
    """In any combination, tombstones included: afterwards it can be claimed, and no key stays."""
    await cures_every_combination(stage.hub(QUIET), stage.client)


@pytest.mark.slow
async def test_remove_cures_a_session_of_any_wrong_types_in_a_cluster(
    redis_cluster: RedisCluster, cluster_url: str
) -> None:
    """As on one server."""
    node = redis_cluster.nodes[0]
    async with (
        bounded(6 * BOUND),
        Hub.from_url(cluster_url, config=QUIET) as hub,
        redis.asyncio.RedisCluster.from_url(node.url) as client,
    ):
        await cures_every_combination(hub, client)


@pytest.mark.slow
@pytest.mark.parametrize("status", [Status.ACTIVE, Status.FINISHED])
async def test_remove_cures_a_session_with_any_garbage_in_its_record(
    stage: Stage, status: Status
) -> None:
    """Each field with each value: what it leaves behind is nothing that the next claim trips on."""
    hub = stage.hub(QUIET)

    async def damage_and_cure(number: int, field: str, value: bytes) -> None:
        name = f"broken:{number}"
        stream = await claimed(hub, name)
        await stream.publish("old")
        await stream.flush()
        if status is Status.FINISHED:
            await stream.close()
        await stage.client.hset(meta(name), field, value)
        await cured(hub, stage.client, name)

    damages = itertools.product(FIELDS, [*VALUES, METADATA[0]])
    await at_once(damage_and_cure, ((n, *damage) for n, damage in enumerate(damages)))


@pytest.mark.parametrize("wrong", OF_WRONG_TYPES)
async def test_g2_a_producer_whose_damaged_session_was_removed_stays_out(
    stage: Stage, wrong: str
) -> None:
    """Nothing of its record could be read: its repair does not undo the removal."""
    producing, hub = stage.hub(QUIET), stage.hub(QUIET)
    stream = await claimed(producing, "broken")
    await stream.publish("old")
    await stream.flush()
    await replaced(stage.client, meta("broken"), OF_WRONG_TYPES[wrong])

    assert await hub.remove("broken")

    with pytest.raises(ProducerFenced):
        await stream.publish("more")
        await stream.flush()
    assert await hub.get("broken") is None


async def test_a_session_that_is_removed_again_and_again_can_be_removed(stage: Stage) -> None:
    """Also once its tombstone holds an odd number of names, and the oldest make room."""
    hub = stage.hub(QUIET)
    tombstone = channel("broken", "removed")
    for count in (201, 202, 203):
        await claimed(hub, "broken")
        await stage.client.delete(tombstone)
        await stage.client.hset(tombstone, mapping={f"gone:{n}": n for n in range(count)})
        assert await hub.remove("broken")
        assert 110 > await stage.client.hlen(tombstone)
