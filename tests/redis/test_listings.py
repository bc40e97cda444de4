"""Long logs are listed a part at a time, and each part is joined as it comes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions
from hypothesis import given, strategies as st

from streamhub import Hub
from streamhub.chunks import Cursor, join, right_after
from streamhub.stores.redis import RedisStore
from streamhub.stores.redis.connections.protocol import Listing, RawConnection
from streamhub.stores.redis.layout import log as layout

EPOCH = 7

#: What a log may hold at a place: nothing, a chunk, one with an event type, an entry of another.
places = st.sampled_from(
    [
        *[[b"d", b"a"], [b"d", "é😀".encode()], [b"d", b""]] * 4,
        [b"d", b"\r\n*2\r\n$3\r\n7-9\r\n*2\r\n$1\r\nd\r\n"],
        [b"d", b"x", b"e", b"tool"],
        None,
    ]
)


def listed(log: list[list[bytes] | None], start: int, count: int) -> list[Any]:
    """What XRANGE answers: up to ``count`` entries after the place ``start``."""
    entries = [
        [f"{EPOCH}-{offset}".encode(), fields]
        for offset, fields in enumerate(log, 1)
        if fields is not None and offset > start
    ]
    return [*entries, [f"{EPOCH + 1}-1".encode(), [b"d", b"of another epoch"]]][:count]


#: A log, and how it is listed in parts, of which some were shortened as they came.
divided = given(
    log=st.lists(places, max_size=12),
    start=st.integers(0, 12),
    size=st.integers(1, 5),
    shortened=st.lists(st.booleans(), min_size=13, max_size=13),
)


@divided
def test_parts_of_a_log_join_to_what_the_whole_is(
    log: list[list[bytes] | None], start: int, size: int, shortened: list[bool]
) -> None:
    """Wherever it is divided, and whichever parts were joined as they came: the row of chunks up to
    the first empty place, and nothing from behind it."""
    after = Cursor(EPOCH, start)
    replies = [listed(log, at, size) for at in range(start, len(log) + 1, size)]
    parts = [
        layout.row(reply) if short else reply
        for reply, short in zip(replies, shortened, strict=False)
    ]

    whole = layout.entries("chat", listed(log, start, 100))
    assert join(right_after(whole, after)) == layout.joined("chat", parts, after)


@divided
def test_parts_of_a_log_are_what_the_whole_is_where_nothing_is_missing(
    log: list[list[bytes] | None], start: int, size: int, shortened: list[bool]
) -> None:
    """Wherever it is divided, and whichever parts became chunks as they came; else it is said."""
    replies = [listed(log, at, size) for at in range(start, max(len(log), start + 1), size)]
    parts = [
        layout.page(reply) if short else reply
        for reply, short in zip(replies, shortened, strict=False)
    ]

    found = layout.pages("chat", parts, Cursor(EPOCH, start))

    assert found in (None, layout.entries("chat", listed(log, start, size * len(parts))))
    if start < len(log) and None not in log[start:]:
        assert found is not None


def test_a_part_that_came_before_the_log_grew_leaves_no_hole() -> None:
    """The log was put back between two parts: what the first would hold is not left out."""
    log: list[list[bytes] | None] = [[b"d", b"a"]] * 4

    assert layout.pages("chat", [[], listed(log, 2, 2)], Cursor(EPOCH, 0)) is None


async def test_no_chunks_are_an_empty_list(redis_url: str, session_id: str) -> None:
    """Redis answers with a null to who asks for no entries."""
    async with Hub.from_url(redis_url) as hub:
        stream, _ = await hub.register(session_id)
        cursor = await stream.publish("a")
        await stream.flush()
        store = RedisStore.from_url(redis_url)
        found = await store.read(session_id, Cursor(cursor.term, 0), 0)
        await store.aclose()

    assert [] == found


@pytest.mark.parametrize("joined", [False, True])
async def test_who_asks_for_a_great_many_chunks_pays_for_those_that_are_there(
    redis_url: str, redis_client: redis.asyncio.Redis, session_id: str, joined: bool
) -> None:
    """A limit of ten million takes no more than a hundred commands."""
    data = [f"{n} " for n in range(700)]
    async with Hub.from_url(redis_url) as hub:
        stream, _ = await hub.register(session_id)
        cursors = [await stream.publish(text) for text in data]
        await stream.flush()
        store = RedisStore.from_url(redis_url)
        await redis_client.config_resetstat()
        read = store.read_joined if joined else store.read
        found = await read(session_id, Cursor(cursors[0].term, 0), 10_000_000)
        stats = await redis_client.info("commandstats")
        await store.aclose()

    assert (["".join(data)] if joined else data) == [chunk.data for chunk in found]
    assert stats["cmdstat_xrange"]["calls"] <= 100


@pytest.mark.parametrize(
    "reply",
    [
        None,
        5,
        b"OK",
        [],
        [None],
        [[b"7-1", None]],
        [[b"7-1", []]],
        [[b"7-1", [b"d"]]],
        [[b"odd", [b"d", b"a"]]],
        [[b"7-1", [b"d", b"a"]], [b"7-3", [b"d", b"c"]]],
        [[b"7-1", [b"d", b"a"]], [b"8-2", [b"d", b"b"]]],
        [[b"7-1", [b"d", b"a"]], [b"7-2", [b"x", b"b"]]],
        [[b"7-1", [b"d", b"a", b"e", b"tool"]]],
    ],
)
def test_what_is_no_row_of_plain_chunks_stays_as_it_is(reply: Any) -> None:
    """Holes, event types, other epochs, entries of others, damage: for whoever asked to judge."""
    assert reply is layout.row(reply)
    assert reply is layout.page(reply)


class Upper(Listing):
    @staticmethod
    def shorten(reply: Any) -> Any:
        return reply.upper()


class Connection:
    """Stands in for one of redis-py: holds what is sent, and answers when it is told to."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        transport = SimpleNamespace(
            write=lambda data: self.sent.extend(data.split()[2::3]),
            set_protocol=lambda _: None,
        )
        self._writer = SimpleNamespace(transport=transport)
        self.raw = RawConnection(self)

    def answer(self, *replies: bytes) -> None:
        data = b"".join(b"$%d\r\n%s\r\n" % (len(reply), reply) for reply in replies)
        self.raw.get_buffer(0)[: len(data)] = data
        self.raw.buffer_updated(len(data))


async def turns() -> None:
    """Let all that is due in the event loop come to pass."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_few_listings_are_under_way_at_a_time() -> None:
    """Answers have the next ones sent, and what others ask for comes in between."""
    connection = Connection()
    raw = connection.raw
    names = "abcdefghijkl"
    listing = raw.exchange([Upper((name,)) for name in names])
    assert b"ab" == b"".join(connection.sent)
    await turns()
    assert b"abcdef" == b"".join(connection.sent)

    other = raw.exchange([("x",), ("y",)])
    await turns()
    connection.answer(b"a1")
    await turns()
    assert b"xy" == b"".join(connection.sent[6:])
    connection.answer(b"b1")
    await turns()
    assert b"ghij" == b"".join(connection.sent[8:])

    connection.answer(b"c1", b"d1", b"e1", b"f1", b"x1", b"y1")
    assert [b"x1", b"y1"] == await other
    connection.answer(b"g1", b"h1", b"i1", b"j1", b"k1", b"l1")
    assert [name.upper().encode() + b"1" for name in names] == await listing


async def test_those_who_ask_for_many_listings_take_turns() -> None:
    """Who asks for few does not wait for all of those before."""
    connection = Connection()
    many = connection.raw.exchange([Upper((name,)) for name in "abcdefghijklmnop"])
    few = connection.raw.exchange([Upper((name,)) for name in "xyz"])
    await turns()
    assert b"abcdef" == b"".join(connection.sent)
    connection.answer(b"a", b"b")
    await turns()
    assert b"xyzg" == b"".join(connection.sent[6:])
    connection.answer(*(name.encode() for name in "cdefxyz"))
    assert [name.encode() for name in "XYZ"] == await few
    await turns()
    assert b"hijk" == b"".join(connection.sent[10:])
    connection.answer(*(name.encode() for name in "ghijk"))
    connection.answer(*(name.encode() for name in "lmnop"))
    assert [name.encode() for name in "ABCDEFGHIJKLMNOP"] == await many


async def test_listings_that_were_not_sent_yet_fail_with_the_connection() -> None:
    """Nobody waits for ever for what is not asked for any more."""
    connection = Connection()
    listings = [
        connection.raw.exchange([Upper((name,)) for name in names])
        for names in ("abcdefgh", "ijklmnop")
    ]
    await turns()
    assert b"abcdef" == b"".join(connection.sent)
    connection.raw.connection_lost(None)
    for listing in listings:
        with pytest.raises(redis.exceptions.ConnectionError, match="closed by the server"):
            await listing


async def test_no_more_is_listed_for_one_who_has_left() -> None:
    """What is on its way to him goes to nobody else, and who comes next gets his own."""
    connection = Connection()
    leaving = connection.raw.exchange([Upper((name,)) for name in "abcdefghijkl"])
    await turns()
    leaving.cancel()
    others = [
        connection.raw.exchange([Upper(("x",))]),
        connection.raw.exchange([("y",)]),
    ]
    await turns()
    connection.answer(*(name.encode() for name in "abcdef"), b"y1")
    await turns()
    connection.answer(b"x1")
    assert [[b"X1"], [b"y1"]] == await asyncio.gather(*others)
    assert b"abcdefyx" == b"".join(connection.sent)
