"""Hostile values, on streams beside others: chunks, ids, cursors, metadata and raw Redis contents.

What is refused at the door is in ``tests/core/test_bad_input.py``, damaged records and garbage on
the channels in ``tests/redis/test_damage.py``, sizes in ``tests/core/test_values.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamhub import (
    Chunk,
    Cursor,
    CursorExpired,
    HubConfig,
    InvalidCursor,
    LiveStream,
    ProducerLost,
    SessionCorrupted,
    Status,
    StreamHubError,
    StreamReplaced,
)
from streamhub.testing.waiting import bounded, unhurried

from ..support.redis_server import RedisServer
from ..support.redis_stage import BOUND, Stage, assert_whole, chunks, claimed, meta, opened, taken

MiB = 1024 * 1024
SHAPES = [
    "",
    "\x00",
    "\x00" * 1000,
    *("\n", "\r", "\r\n", "\n\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"),
    *("é", "…", "🙂", "🙂" * 1000, "e\u0301", "\u202e", "\ufeff", "\uffff", "\U0010ffff"),
    *("data: x\n\n", "id: 1\nevent: end\n\n", ":", "[DONE]", "$-1\r\n", "*0\r\n", "+OK\r\n"),
    *("{", "}", '{"a": 1}', "\\", '"', "'", "]]>", "</script>", "%s%d%n", "${x}"),
    *("nil", "None", "null", "0", "-1", "1e999", "NaN", "1-1", "\x90\xa1", "\x7f", "\x1b[2J"),
    "🙂" * (MiB // 4 - 10),
    "x" * (MiB - 40),
]


@pytest.fixture
async def stage(redis_server: RedisServer, redis_url: str) -> AsyncIterator[Stage]:
    """On the shared server: nothing here harms more than the keys of its own sessions."""
    async with bounded(2 * BOUND), Stage(redis_server) as stage:
        yield stage


async def test_chunks_of_every_shape_arrive_as_they_were(stage: Stage) -> None:
    """Live, replayed, as the text, and after a repair; with event types as odd as themselves."""
    config = HubConfig(lease=unhurried(0.5), max_stream_bytes=16 * MiB)
    stream = await claimed(stage.hub(config), "chat")
    live = await opened(stage.hub(config), "chat")
    events = [None if n % 3 else f"e{n} 🙂:" for n in range(len(SHAPES))]

    async def publish() -> None:
        async with stream:
            for n, (data, event) in enumerate(zip(SHAPES, events, strict=True)):
                if n == len(SHAPES) // 2:
                    await stream.flush()
                    await stage.client.delete(meta("chat"), chunks("chat"))
                await stream.publish(data, event=event)

    publishing = asyncio.create_task(publish())
    received = [chunk async for chunk in live]
    await publishing
    replayed = [chunk async for chunk in await opened(stage.hub(config), "chat")]
    for seen in (received, replayed):
        assert_whole(seen, SHAPES)
        assert events == [chunk.event for chunk in seen]
    plain = [data for data, event in zip(SHAPES, events, strict=True) if event is None]
    assert "".join(plain) == await stream.text()


IDS = [
    "{", "}", "{}", "}{", "{a}", "a}b{c", "{}:meta", "x}:meta", "x:chunks", "*", "[a-z]?", "\\",
    " ", "..", "../../etc", "%00", "a\u202eb", "🙂" * 128, "x" * 512, "é", "e\u0301", "None",
]  # fmt: skip


async def test_sessions_with_odd_names_do_not_meet(stage: Stage) -> None:
    """Each holds its own chunk, is listed once, under its name, and is removed alone."""
    hub, other = stage.hub(), stage.hub()
    for session_id in IDS:
        async with await claimed(hub, session_id) as stream:
            await stream.publish(f"of {session_id}")
    assert sorted(IDS) == sorted([info.session_id async for info in other.sessions()])
    for n, session_id in enumerate(IDS, 1):
        reader = await other.get(session_id)
        assert reader is not None
        assert f"of {session_id}" == await reader.text()
        assert await other.remove(session_id)
        assert len(IDS) - n == len([info async for info in other.sessions()])


def _cursors(end: Cursor) -> dict[str, type[StreamHubError]]:
    most = 2**64 - 1
    return {
        f"{end.term}-{end.offset + 1}": StreamReplaced,
        f"{end.term}-{most}": StreamReplaced,
        f"{end.term - 1}-1": StreamReplaced,
        f"{end.term + 1}-0": StreamReplaced,
        "0-0": StreamReplaced,
        f"{most}-{most}": StreamReplaced,
        f"{most + 1}-0": InvalidCursor,
        f" {end}": InvalidCursor,
        f"{end}\n": InvalidCursor,
        f"+{end}": InvalidCursor,
        f"0{end}": InvalidCursor,
        "１-１": InvalidCursor,  # noqa: RUF001 - digits, but not ours
        "NOW": InvalidCursor,
        "$": InvalidCursor,
        "x" * 1_000_000: InvalidCursor,
    }


async def test_cursors_of_every_kind_are_refused_by_name(stage: Stage) -> None:
    """Far ahead, of other epochs, over 64 bits, nearly right, endless: never an empty replay."""
    stream = await claimed(stage.hub(), "chat")
    await stream.publish("only")
    await stream.close()
    end = (await stream.info()).last
    for text, error in _cursors(end).items():
        with pytest.raises(error):
            await anext(stream.subscribe(after=text))
    assert [] == [chunk async for chunk in stream.subscribe(after=str(end))]


METADATA: list[Any] = [
    "", "\x00", "🙂" * 1000, 0, -1, 1e300, 2**53, True, [], {}, [[[[[[]]]]]], {"": ""},
    {"\u2028": "\ud7ff"}, {"gen": "x", "status": "done", "cancel": "1"}, "x" * 100_000,
]  # fmt: skip


async def test_metadata_of_every_shape_is_what_it_was(stage: Stage) -> None:
    """Also after a repair, and whatever fields of a record it looks like."""
    stream = await claimed(stage.hub(), "chat")
    for value in METADATA:
        await stream.set_metadata(value)
        assert value == await stream.metadata()
    await stage.client.delete(meta("chat"), chunks("chat"))
    await stream.publish("repaired")
    await stream.flush()
    assert (METADATA[-1], Status.ACTIVE) == (await stream.metadata(), (await stream.info()).status)


async def _epoch(stage: Stage) -> int:
    return int(await stage.client.hget(meta("broken"), "epoch"))


async def _hole(stage: Stage) -> None:
    entries = await stage.client.xrange(chunks("broken"))
    await stage.client.xdel(chunks("broken"), entries[2][0])


async def _truncated(stage: Stage) -> None:
    await stage.client.xtrim(chunks("broken"), maxlen=2, approximate=False)


async def _foreign_entry(stage: Stage) -> None:
    await stage.client.xadd(chunks("broken"), {"d": "astray"}, id=f"{await _epoch(stage) + 1}-1")


async def _entry_without_data(stage: Stage) -> None:
    await stage.client.xadd(chunks("broken"), {"x": "y"}, id=f"{await _epoch(stage)}-6")


async def _entry_of_bytes(stage: Stage) -> None:
    await stage.client.xadd(chunks("broken"), {"d": b"\xff\xfe"}, id=f"{await _epoch(stage)}-6")


async def _record_behind(stage: Stage) -> None:
    await stage.client.hset(meta("broken"), "last", 1)


async def _record_ahead(stage: Stage) -> None:
    await stage.client.hset(meta("broken"), "last", 100)


async def _fields_gone(stage: Stage) -> None:
    await stage.client.hdel(meta("broken"), "epoch", "last", "lease")


async def _log_of_another_type(stage: Stage) -> None:
    await stage.client.delete(chunks("broken"))
    await stage.client.rpush(chunks("broken"), "a", "b", "c", "d", "e")


DAMAGES = [
    _hole,
    _truncated,
    _foreign_entry,
    _entry_without_data,
    _entry_of_bytes,
    _record_behind,
    _record_ahead,
    _fields_gone,
    _log_of_another_type,
]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_log_is_mended_by_its_producer_or_an_error_to_all(
    stage: Stage, damage: Any
) -> None:
    """Nobody is handed a chunk that was not published, or a row with a hole; a stream beside it
    is not touched. Where the producer goes on, its readers get everything."""
    hub, elsewhere = stage.hub(), stage.hub()
    broken, whole = await claimed(hub, "broken"), await claimed(hub, "whole")
    data = [f"{n} " for n in range(5)]
    for stream in (broken, whole):
        for text in data:
            await stream.publish(text)
        await stream.flush()
    open_before = await opened(elsewhere, "broken")
    received = await taken(open_before, 1)

    await damage(stage)
    mended = await _produces_on(broken)
    await whole.publish("after ")
    await whole.close()

    assert_whole([chunk async for chunk in await opened(elsewhere, "whole")], [*data, "after "])
    expected = [*data, "after "]
    received += await _read_on(open_before)
    late = await _read_on(broken.subscribe())
    for seen in (received, late):
        assert expected[: len(seen)] == [chunk.data for chunk in seen]
    if mended:
        assert_whole(received, expected)
        assert_whole(late, expected)


async def _produces_on(stream: LiveStream) -> bool:
    """Whether the producer could; if not, it was told why."""
    try:
        async with bounded(BOUND):
            await stream.publish("after ")
            await stream.close()
    except SessionCorrupted:
        return False
    return True


async def _read_on(subscription: Any) -> list[Chunk]:
    """What it hands out until its end, or until it says what is wrong."""
    seen: list[Chunk] = []
    try:
        async with bounded(BOUND):
            async for chunk in subscription:
                seen.append(chunk)
    except (SessionCorrupted, CursorExpired, ProducerLost, StreamReplaced):
        pass
    return seen
