"""Sessions whose keys or messages hold what streamhub did not write: named, left alone, cleared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from itertools import product

import pytest
from msgspec.msgpack import encode

from streamhub import (
    Cursor,
    HubConfig,
    ProducerFenced,
    SessionCorrupted,
    Status,
)
from streamhub.chunks import Terms
from streamhub.producing.producer import Producer
from streamhub.stores.base import Claim, Granted, HasHoles, Restore, Restored, Stored
from streamhub.testing.waiting import bounded, patience, unhurried, until

from ..support.redis_server import RedisServer
from ..support.redis_stage import (
    BOUND,
    Stage,
    assert_whole,
    channel,
    chunks,
    claimed,
    meta,
    opened,
    taken,
)

META, CHUNKS = meta("broken"), chunks("broken")
#: Of producers that are to do nothing by themselves while a test looks.
QUIET = HubConfig(lease=60.0)


@pytest.fixture
async def stage(redis_server: RedisServer, redis_url: str) -> AsyncIterator[Stage]:
    """On the shared server: nothing here harms more than the keys of its own sessions."""
    async with bounded(2 * BOUND), Stage(redis_server) as stage:
        yield stage


@pytest.mark.parametrize(
    "field", ["epoch", "last", "lease", "bytes", "terms", "granted", "created"]
)
@pytest.mark.parametrize(
    "value", [b"x", b"1.5", b"\xff", b"9" * 400], ids=["word", "fraction", "bytes", "endless"]
)
async def test_a_record_with_garbage_is_corrupted(stage: Stage, field: str, value: bytes) -> None:
    """Looking at it raises SessionCorrupted; other sessions are listed and read as before."""
    hub, other = stage.hub(QUIET), stage.hub(QUIET)
    for session_id in ("broken", "whole"):
        stream = await claimed(hub, session_id)
        await stream.publish("kept")
        await stream.flush()
    await stage.client.hset(META, field, value)
    with pytest.raises(SessionCorrupted, match="broken"):
        await other.get("broken")
    assert ["whole"] == [info.session_id async for info in other.sessions()]
    assert {"whole"} == await other.active(["whole", "broken"])
    whole = await other.get("whole")
    assert whole is not None
    assert "kept" == await whole.text()


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *product(["epoch", "term"], ["{right}1", "1", "0{right}", "{right}.0"]),
        ("terms", "7-0"),
        ("terms", "7-0 {right}1"),
    ],
)
async def test_g7_a_record_whose_terms_were_changed_is_mended(
    stage: Stage, field: str, wrong: str
) -> None:
    """Its producer goes on in its own term, whether the number is another or is only written in
    another way; its next renewal at the latest puts the record right."""
    stream = await claimed(stage.hub(HubConfig(lease=unhurried(1.0))), "broken")
    cursor = await stream.publish("1 ")
    await stream.flush()
    right = await stage.client.hget(META, field)
    assert right is not None
    await stage.client.hset(META, field, wrong.format(right=right.decode()))

    for n in range(2, 4):
        assert Cursor(cursor.term, n) == await stream.publish(f"{n} ")
        await stream.flush()

    entries = await stage.client.xrange(CHUNKS)
    assert [f"{cursor.term}-{n}".encode() for n in range(1, 4)] == [key for key, _ in entries]
    async with bounded(BOUND):
        while await stage.client.hget(META, field) != right:
            await stage.client.ping()


@pytest.mark.parametrize("lease", [None, b"", b"x", b"\xff"])
async def test_g1_a_broken_lease_is_not_taken_for_a_lapsed_one(
    stage: Stage, lease: bytes | None
) -> None:
    """While the producer may live, claiming and cancelling raise SessionCorrupted and change
    nothing."""
    producing, hub = stage.hub(QUIET), stage.hub(QUIET)
    stream = await claimed(producing, "broken")
    await stream.publish("kept")
    await stream.flush()
    reader = await hub.get("broken")
    assert reader is not None
    if lease is None:
        await stage.client.hdel(META, "lease")
    else:
        await stage.client.hset(META, "lease", lease)
    before = (await stage.client.hgetall(META), await stage.client.xrange(CHUNKS))

    for takeover in ("restart", "continue"):
        with pytest.raises(SessionCorrupted, match="broken"):
            await hub.register("broken", takeover=takeover)
    with pytest.raises(SessionCorrupted, match="broken"):
        await reader.cancel()

    assert before == (await stage.client.hgetall(META), await stage.client.xrange(CHUNKS))


@pytest.mark.parametrize("field", ["epoch", "last", "lease"])
async def test_a_damaged_session_can_be_removed(stage: Stage, field: str) -> None:
    """remove() answers True and leaves a tombstone alone, which fences the living producer."""
    producing, hub = stage.hub(), stage.hub()
    stream = await claimed(producing, "broken")
    await stream.publish("lost")
    await stream.flush()
    await stage.client.hset(META, field, "x")

    assert await hub.remove("broken")

    tombstone = channel("broken", "removed")
    assert [tombstone.encode()] == await stage.client.keys("streamhub:{*")
    assert 0 < await stage.client.pttl(tombstone) <= 3_615_000
    with pytest.raises(ProducerFenced) as fenced:
        await stream.publish("more")
        await stream.flush()
    assert fenced.value.current is None
    assert [tombstone.encode()] == await stage.client.keys("streamhub:{*")
    assert not await hub.remove("broken")


@pytest.mark.parametrize("wrong", ["meta", "chunks"])
async def test_a_session_with_keys_of_another_type_can_be_removed(stage: Stage, wrong: str) -> None:
    """Whatever stands under its names is gone afterwards, and it can be claimed anew."""
    hub = stage.hub()
    async with await claimed(hub, "broken") as stream:
        await stream.publish("old")
    key = channel("broken", wrong)
    # In one step, or the producer puts it back in between.
    await stage.client.set(key, "a string", px=60_000)
    assert await hub.remove("broken")
    assert 0 == await stage.client.exists(META, CHUNKS)
    async with await claimed(hub, "broken") as again:
        await again.publish("new")
    assert "new" == await again.text()


@pytest.mark.parametrize("key", [META, CHUNKS])
async def test_keys_of_another_type_are_corrupted(stage: Stage, key: str) -> None:
    """Reading and producing raise SessionCorrupted, and the other session goes on."""
    hub = stage.hub()
    broken, whole = await claimed(hub, "broken"), await claimed(hub, "whole")
    subscription = whole.subscribe()
    for stream in (broken, whole):
        await stream.publish("1")
        await stream.flush()
    # In one step, or the producer puts it back in between.
    await stage.client.set(key, "a string", px=60_000)
    with pytest.raises(SessionCorrupted):
        await broken.publish("2")
        await broken.flush()
    with pytest.raises(SessionCorrupted):
        await broken.text()
    async with whole:
        await whole.publish("2")
    assert ["1", "2"] == [chunk.data async for chunk in subscription]


@pytest.mark.parametrize("ahead", [False, True], ids=["last entry gone", "entry too far ahead"])
async def test_g7_a_log_that_takes_no_next_entry_is_mended(stage: Stage, ahead: bool) -> None:
    """The record fits the entries, but Redis remembers a later id: all chunks are put back."""
    stream = await claimed(stage.hub(QUIET), "broken")
    data = [f"{n} " for n in range(5)]
    for text in data:
        await stream.publish(text)
    await stream.flush()
    reading = await opened(stage.hub(QUIET), "broken")
    received = await taken(reading, 5)
    if ahead:
        epoch = received[0].cursor.term
        await stage.client.xadd(CHUNKS, {"d": "astray"}, id=f"{epoch}-99")
        await stage.client.xdel(CHUNKS, f"{epoch}-99")
    else:
        await stage.client.xdel(CHUNKS, str(received[-1].cursor))
        await stage.client.hset(META, "last", 4)

    async with stream:
        await stream.publish("after ")
        await stream.flush()
        assert "".join([*data, "after "]) == await stream.text()
    received += [chunk async for chunk in reading]
    assert_whole(received, [*data, "after "])


async def test_a_log_that_is_lost_again_each_time_is_given_up() -> None:
    """Mendings in vain end in SessionCorrupted instead of going on for ever; one that lasts
    begins the count anew."""
    claim = Claim("chat", "generation", Terms.first(1), None, 15.0, 60.0)
    producer = Producer(Granted(claim, 0), HubConfig())
    await producer.publish("1", None)

    def mend_in_vain(times: int) -> None:
        for _ in range(times):
            (append,) = producer.next_ops()
            producer.apply(append, HasHoles())
            if producer.done:
                return
            (restore,) = producer.next_ops()
            assert isinstance(restore, Restore)
            producer.apply(restore, Restored(0))

    mend_in_vain(15)
    (append,) = producer.next_ops()
    producer.apply(append, Stored(1))
    await producer.publish("2", None)
    mend_in_vain(15)
    assert not producer.done
    mend_in_vain(100)
    with pytest.raises(SessionCorrupted, match="mended"):
        await producer.flush()


_GARBAGE = [
    b"",
    b"?",
    b"\xff\xfe",
    b"a",
    b"\x95",
    encode(["1", 0, 5, "1", ["a"]])[:-1],
    encode(["1", 0, 5, "1", [b"a"]]),
    encode(["1", 0, 5, "1", ["a"]]).replace(b"a", b"\xff"),
    encode(["1", 0, 5]),
    encode(["1", 0, 5, "1", ["a"], "more"]),
    encode(["1", "y", "z", "1", []]),
    encode(["x", 0, 5, "1", ["a"]]),
    encode(["9" * 5_000, 0, 5, "1", ["a"]]),
    encode(["1", 0.5, 5, "1", ["a"]]),
    encode(["1", 0, 5, "1", [1]]),
    encode(["1", 0, 5, "1", [["a", "b", "c"]]]),
    encode(["1", 0, 5, "1", ["a"]]),
    encode([str(2**64), -1, 5, "1", ["a"]]),
    b"c",
    b"c 1 2 3",
    b"c 1 1 1 1 \xff",
    b"e",
    b"e 1 x finished ",
    b"e 1 1 finished ",
    b"e 1 1 finished \xff",
]


async def test_g3_garbage_on_the_live_channel_is_ignored(stage: Stage) -> None:
    """Chunks that come after it arrive live: no look, due in a minute, and no new connection
    makes up for them."""
    stream = await claimed(stage.hub(QUIET), "broken")
    await stream.publish("0 ")
    await stream.flush()
    subscription = await opened(stage.hub(QUIET), "broken")
    received = await taken(subscription, 1)
    listening = {one["id"] for one in await stage.client.client_list(_type="pubsub")}

    for n, garbage in enumerate(_GARBAGE, 1):
        assert 1 == await stage.client.publish(channel("broken", "live"), garbage)
        await stream.publish(f"{n} ")
        received += await taken(subscription, 1)

    assert_whole(received, [f"{n} " for n in range(len(_GARBAGE) + 1)])
    assert listening == {one["id"] for one in await stage.client.client_list(_type="pubsub")}


async def test_g3_a_message_of_no_chunks_is_ignored(stage: Stage) -> None:
    """Be it in its place: nobody who waits for chunks is woken with none."""
    stream = await claimed(stage.hub(QUIET), "broken")
    subscription = await opened(stage.hub(QUIET), "broken")
    cursor = await stream.publish("1")
    received = await taken(subscription, 1)
    waiting = asyncio.create_task(taken(subscription, 1))
    await asyncio.sleep(0)

    nothing = encode([str(cursor.term), cursor.offset, 60_000, "1", []])
    assert 1 == await stage.client.publish(channel("broken", "live"), nothing)
    await stream.publish("2")

    assert_whole(received + await waiting, ["1", "2"])


async def test_g9_garbage_on_the_cancel_channel_cancels_nothing(stage: Stage) -> None:
    """The record decides, and a real cancel is still heard."""
    stream = await claimed(stage.hub(QUIET), "broken")
    await stream.publish("1")
    await stream.flush()
    for garbage in _GARBAGE:
        assert 1 == await stage.client.publish(channel("broken", "cancel"), garbage)
    await stream.publish("2")
    await stream.flush()
    reader = await stage.hub(QUIET).get("broken")
    assert reader is not None
    assert Status.CANCELLED == await reader.cancel(wait=patience(BOUND))
    assert "12" == await reader.text()


async def test_an_end_that_cannot_be_read_holds_up_no_other(stage: Stage) -> None:
    """A worker gets what comes after it; it is tried again, and given up in the end."""
    hub = stage.hub(QUIET)
    for session_id in ("broken", "whole"):
        stream = await claimed(hub, session_id)
        await stream.publish("kept")
        await stream.close()
        if session_id == "broken":
            ((entry, _),) = await stage.client.xrange(CHUNKS)
            await stage.client.delete(CHUNKS)
            await stage.client.xadd(CHUNKS, {"other": "x"}, id=entry)

    async with hub.ends("damage", max_attempts=1) as ends, bounded(BOUND):
        end = await anext(ends)
        assert "whole" == end.session_id
        await end.done()
        waiting = asyncio.create_task(anext(ends))

        async def reasons() -> list[str]:
            return [dead.error async for dead in ends.dead()]

        await until(lambda: _is_any(reasons()))
        waiting.cancel()
        (reason,) = await reasons()
        assert "unreadable log entry" in reason


async def _is_any(found: Awaitable[list[str]]) -> bool:
    return bool(await found)
