"""The board: all sessions, read by one for all who look, as long as somebody does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import pytest
import redis.asyncio

from streamhub import (
    Hub,
    HubClosed,
    HubConfig,
    SessionCorrupted,
    SessionInfo,
    Status,
    StoreUnavailable,
)
from streamhub.board import Look, Page, Query
from streamhub.board.board import Board
from streamhub.board.history import Happening, happened, recorded
from streamhub.board.query import page_of
from streamhub.board.row import Row, drawn, model_of
from streamhub.chunks import Terms
from streamhub.stores.memory import MemoryStore
from streamhub.stores.wrapped import WrappedStore
from streamhub.testing.waiting import until, within

from ..conftest import MakeHub
from ..support.redis_stage import meta


async def seen(look: Look, query: Query, when: Callable[[Page], bool]) -> Page:
    """The page, as soon as it is as it is to be."""

    async def wait() -> Page:
        while not when(page := look.page(query)):
            await look.wait_news()
        return page

    return await within(wait())


def info(**facts: object) -> SessionInfo:
    terms: Terms = facts.pop("terms", Terms.first(1))  # type: ignore[assignment]
    offset: int = facts.pop("chunks", 0)  # type: ignore[assignment]
    given: dict[str, object] = {"status": Status.ACTIVE, "generation": "g", "lease": 10.0}
    given = {**given, "lease_mark": 1, **facts}
    return SessionInfo("s", terms=terms, last=terms.cursor(offset), **given)  # type: ignore[arg-type]


def test_a_row_is_the_same_while_its_session_is() -> None:
    """Time alone changes no row: age, silence and lease are told as points in time."""
    row, seen_first = drawn(info(chunks=3), "m", None, None, now=100.0)
    again, _ = drawn(info(chunks=3, lease=7.0), "m", row, seen_first, now=103.0)

    assert (110.0, None, 100.0) == (row.lease_until, row.last_chunk, row.since)
    assert again == Row(**{**{f: getattr(row, f) for f in row.__struct_fields__}, "rate": 0.0})


def test_a_rate_is_measured_over_the_last_seconds() -> None:
    """What was fast and has stalled is slow after some seconds, and its silence has a beginning."""
    row, known = drawn(info(), None, None, None, now=0.0)
    told: list[float] = []
    for now in range(1, 31):
        row, known = drawn(info(chunks=min(now, 10) * 20), None, row, known, now=float(now))
        assert row.rate is not None
        told.append(row.rate)

    assert ([20.0] * 10, 0.0) == (told[:10], told[-1])
    assert told[10:] == sorted(told[10:], reverse=True)
    assert 10.0 == row.last_chunk


def test_another_stream_in_the_session_begins_another_row() -> None:
    """What was measured of the stream before says nothing of this one."""
    row, known = drawn(info(chunks=5), None, None, None, now=0.0)
    row, known = drawn(info(chunks=9), None, row, known, now=2.0)
    other = SessionInfo("s", Status.ACTIVE, "h", Terms.first(2), Terms.first(2).cursor(1))
    row, _ = drawn(other, None, row, known, now=4.0)

    assert (None, None, 4.0) == (row.rate, row.last_chunk, row.since)


@pytest.mark.parametrize(
    ("metadata", "model"),
    [
        ({"model": "gpt"}, "gpt"),
        ({"model": {"id": "a", "name": "b"}}, "a"),
        ({"model": 5, "model_name": "claude"}, "claude"),
        ({"model": "x" * 500}, "x" * 120),
        ({"model": ["x"]}, None),
        (["model"], None),
        (None, None),
    ],
)
def test_metadata_names_a_model_or_none(metadata: object, model: str | None) -> None:
    """Whatever an application writes there, the board shows a short text or nothing."""
    assert model == model_of(metadata)


ROWS = [
    Row(session_id="a", status="active", owner="Ann", model="gpt", chunks=5, rate=2.0, since=10.0),
    Row(session_id="b", status="lost", owner="Bob", chunks=7, since=5.0, version=4),
    Row(session_id="c", status="failed", owner="Ann", chunks=1, error="Boom: GPT", version=3),
    Row(session_id="d", status="damaged", error="unreadable"),
]


@pytest.mark.parametrize(
    ("query", "ids", "found"),
    [
        (Query(sort="session", descending=False), "abcd", 4),
        (Query(sort="chunks"), "bacd", 4),
        (Query(sort="chunks", descending=False), "cabd", 4),
        (Query(sort="status", descending=False), "dbca", 4),
        (Query(sort="silence"), "dbac", 4),
        (Query(text="gpt", sort="session", descending=False), "ac", 2),
        (Query(text=" BOB "), "b", 1),
        (Query(owner="Ann", sort="chunks"), "ac", 2),
        (Query(statuses=frozenset({"lost", "damaged"}), sort="session"), "db", 2),
        (Query(sort="session", descending=False, offset=1, limit=2), "bc", 4),
    ],
)
def test_a_query_finds_filters_and_sorts(query: Query, ids: str, found: int) -> None:
    """Search, filters, order and pages; what has no value comes last."""
    page = page_of(ROWS, query, version=4)

    assert (ids, found) == ("".join(row.session_id for row in page.rows), found)
    assert found == page.found


def test_a_page_counts_beside_its_status_filter_and_tells_what_has_changed() -> None:
    """Counts are of what the filter by status could show; changes are of the page alone."""
    page = page_of(ROWS, Query(owner="Ann", statuses=frozenset({"failed"})), version=4)

    assert {"active": 1, "failed": 1} == page.counts
    assert {"Ann": 2, "Bob": 1} == page.owners
    assert ["c"] == [row.session_id for row in page.changed_since(2)]
    assert [] == page.changed_since(3)


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize(("offset", "limit"), [(0, 3), (2, 3), (5, 40), (58, 5), (70, 50), (99, 9)])
def test_a_page_of_many_rows_is_a_part_of_all_in_order(
    offset: int, limit: int, descending: bool
) -> None:
    """Whether a few are picked out or all are put in order; those without a value come last."""
    rows = [
        Row(session_id=f"{n:03}", status="active", chunks=None if n % 5 == 0 else n * 7 % 20)
        for n in range(100)
    ]
    valued = [row for row in rows if row.chunks is not None]
    valued.sort(key=lambda row: row.chunks or 0, reverse=descending)
    ordered = valued + [row for row in rows if row.chunks is None]
    query = Query(sort="chunks", descending=descending, offset=offset, limit=limit)

    assert ordered[offset : offset + limit] == list(page_of(rows, query, version=1).rows)


@pytest.mark.parametrize("wrong", [{"sort": "x"}, {"statuses": frozenset({"x"})}, {"offset": -1}])
def test_a_query_for_what_no_board_has_is_refused(wrong: dict[str, object]) -> None:
    """The error names what is allowed."""
    with pytest.raises(ValueError, match=r"one of|no page"):
        Query(**wrong)  # type: ignore[arg-type]


class Counting(WrappedStore):
    listed = 0
    looked = 0

    def sessions(self, *, owner: str | None = None, foreign: bool = False) -> AsyncIterator[str]:
        self.listed += 1
        return super().sessions(owner=owner, foreign=foreign)


async def test_nothing_is_read_while_nobody_looks_and_once_for_all_who_do() -> None:
    """Lookers share one reader, which begins with the first and ends with the last."""
    store = Counting(MemoryStore())
    async with Hub(store) as hub:
        await hub.register("s")
        board = hub.board()
        assert 0 == store.listed
        async with board.look() as one:
            await seen(one, Query(), lambda page: page.complete)
            listed = store.listed
            async with board.look() as two:
                assert one.page(Query()) is two.page(Query())
                assert listed == store.listed
                assert 1 == hub.statistics().tasks
        await idle(hub)
        listed = store.listed
        await idle(hub)
        assert (listed, board) == (store.listed, hub.board())


class Weighing(WrappedStore):
    """Remembers how much metadata it was asked for at once."""

    most = 0

    async def look(
        self, session_ids: Sequence[str], *, metadata: bool = False
    ) -> Sequence[SessionInfo | SessionCorrupted | StoreUnavailable | None]:
        if metadata:
            self.most = max(self.most, sum(await self.metadata_sizes(session_ids)))
        return await super().look(session_ids, metadata=metadata)


async def test_what_a_board_reads_and_keeps_at_once_is_bounded() -> None:
    """However much metadata the sessions have, and whatever is asked while nothing changes."""
    store = Weighing(MemoryStore())
    async with Hub(store) as hub:
        for number in range(100):
            await hub.register(f"{number}", metadata={"model": "m", "rest": "x" * 15_000})
        board = hub.board()
        async with board.look() as look:
            await seen(look, Query(text="m"), lambda page: page.complete and page.found == 100)
            pages = [look.page(Query(text=f"{number}")) for number in range(1_000)]

            assert 10_000 < store.most <= 256 * 1024
            assert pages[-1] is look.page(Query(text="999"))
            assert pages[0] is not look.page(Query(text="0"))


async def idle(hub: Hub) -> None:
    async def check() -> bool:
        return not hub.statistics().tasks

    await until(check)


async def test_the_board_shows_what_becomes_of_sessions(make_hub: MakeHub) -> None:
    """Claims, chunks, models that are named later, ends and removals, on every store."""
    hub, other = (make_hub(HubConfig(host="host-1")) for _ in range(2))
    query = Query(sort="session", descending=False)
    stream, _ = await hub.register("a", owner="Ann", metadata={"model": "gpt"})
    failing, _ = await hub.register("b")
    async with other.board().look() as look:
        page = await seen(look, query, lambda page: page.complete and page.total == 2)
        first = page.rows[0]
        assert ("Ann", "gpt", "host-1", "active") == (
            first.owner,
            first.model,
            first.host,
            first.status,
        )
        await stream.publish("x")
        await failing.fail("no more credit")
        page = await seen(
            look, query, lambda page: (page.rows[0].chunks, page.rows[1].status) == (1, "failed")
        )
        assert page.rows[0].last_chunk is not None
        assert "no more credit" == page.rows[1].error
        assert page.rows[0] in page.changed_since(first.version)
        await hub.remove("b")
        page = await seen(look, query, lambda page: page.total == 1)
        assert ["failed", "gone"] == [one.kind for one in other.board().history("b")]
        await stream.close()
        await seen(look, query, lambda page: page.rows[0].status == "finished")


@pytest.mark.parametrize("new_hub", ["redis"], indirect=True)
async def test_a_repair_is_seen(make_hub: MakeHub, redis_client: redis.asyncio.Redis) -> None:
    """What the store had lost and its producer has put back was gone, and is back."""
    # It is the next chunk that finds the loss, and no renewal before.
    hub, other = make_hub(HubConfig(lease=300.0)), make_hub()
    stream, _ = await hub.register("s")
    await stream.publish("x")
    await within(stream.flush())
    board = other.board()
    async with board.look() as look:
        await seen(look, Query(), lambda page: page.complete and page.total == 1)
        await redis_client.flushall()
        await seen(look, Query(), lambda page: page.total == 0)
        await stream.publish("y")
        await seen(look, Query(), lambda page: [row.chunks for row in page.rows] == [2])
    assert ["gone", "back"] == [one.kind for one in board.history("s")]


@pytest.mark.parametrize("new_hub", ["redis"], indirect=True)
async def test_a_damaged_record_is_a_row_that_says_so(
    hub: Hub, redis_client: redis.asyncio.Redis
) -> None:
    """It hides nothing of the others; metadata that cannot be read only leaves out the model."""
    await hub.register("bad")
    await hub.register("odd", metadata={"model": "m"})
    await redis_client.hset(meta("bad"), "terms", "rubbish")
    await redis_client.hset(meta("odd"), "metadata", "{")
    async with hub.board().look() as look:
        query = Query(sort="session", descending=False)
        page = await seen(look, query, lambda page: page.complete)

    assert [("bad", "damaged"), ("odd", "active")] == [
        (row.session_id, row.status) for row in page.rows
    ]
    assert "rubbish" in (page.rows[0].error or "")


class Away(WrappedStore):
    away = False

    def sessions(self, *, owner: str | None = None, foreign: bool = False) -> AsyncIterator[str]:
        if self.away:
            raise StoreUnavailable("the store", "gone")
        return super().sessions(owner=owner, foreign=foreign)


async def test_rows_stay_while_the_store_is_away_and_the_page_says_so() -> None:
    """What is known is better than nothing, if one knows that it is old."""
    store = Away(MemoryStore())
    async with Hub(store) as hub:
        await hub.register("s")
        async with hub.board().look() as look:
            await seen(look, Query(), lambda page: page.complete)
            store.away = True
            page = await seen(look, Query(), lambda page: page.away is not None)
            assert ("s", True) == (page.rows[0].session_id, "gone" in (page.away or ""))
            store.away = False
            await seen(look, Query(), lambda page: page.away is None)


async def test_who_waits_for_news_hears_that_the_hub_closes() -> None:
    """Nobody waits for ever for a reader that has ended."""
    hub = Hub()
    await hub.register("s")
    async with hub.board().look() as look:
        await seen(look, Query(), lambda page: page.complete)
        await hub.aclose()
        with pytest.raises(HubClosed):
            while True:
                look.page(Query())
                await within(look.wait_news())


async def test_more_sessions_than_a_board_holds_are_counted() -> None:
    """Its memory has a bound, and it says what it leaves out."""
    async with Hub() as hub:
        for n in range(5):
            await hub.register(f"s{n}")
        engine = hub._started()
        async with Board(engine.store, engine.spawn, most_rows=3).look() as look:
            page = await seen(look, Query(), lambda page: page.complete)
            assert (3, 2) == (page.total, page.left_out)
            # Who asks for one of them by its name sees it all the same.
            while look.row("s4") is None:
                await within(look.wait_news())


def test_what_the_record_tells_of_a_session() -> None:
    """Its claims, by the terms that wrote, and its end."""
    terms = Terms(1_000, ((1_000, 0), (5_000, 7)))
    found = recorded(
        SessionInfo(
            "s", Status.FAILED, "g2", terms, terms.cursor(9), host="h", ended=8.0, error="why"
        )
    )

    assert [
        Happening("claimed", 1.0, False, 0),
        Happening("taken_over", 5.0, False, 7, "g2", "h"),
        Happening("failed", 8.0, False, 9, reason="why"),
    ] == found


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (None, info(), []),
        (info(), None, ["gone"]),
        (info(chunks=1), info(chunks=5), []),
        (info(chunks=5), info(chunks=2), ["shrunk"]),
        (info(), info(status=Status.LOST, lease=0.0), ["lost"]),
        (info(), info(status=Status.LOST, lease=0.0, lease_mark=0), ["released"]),
        (info(status=Status.LOST, lease=0.0), info(lease_mark=2), ["back"]),
        (info(), info(cancelling=True), ["cancelling"]),
        (info(cancelling=True), info(status=Status.CANCELLED, lease=None), ["cancelled"]),
        (info(), info(generation="h"), ["taken_over"]),
        (info(status=Status.LOST, lease=0.0), info(generation="h"), ["taken_over"]),
        (info(), info(generation="h", status=Status.FINISHED), ["taken_over", "finished"]),
        (info(status=Status.FINISHED), info(generation="h", terms=Terms.first(2)), ["claimed"]),
    ],
)
def test_what_two_looks_find_different_has_happened(
    before: SessionInfo | None, after: SessionInfo | None, kinds: list[str]
) -> None:
    """Each loss, take-over, repair and end that was seen, and nothing twice."""
    assert kinds == [one.kind for one in happened(before, after, 9.0)]
