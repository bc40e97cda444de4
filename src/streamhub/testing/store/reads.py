"""What can be seen of sessions: their standing, their chunks, their ids."""

from __future__ import annotations

import pytest

from ...chunks import Chunk, Cursor, SessionInfo, Status
from ...stores.base import Release, Store
from ..scene import Scene
from .steps import append, claim, listed, look, read, texts

__all__ = ["ReadTests"]

#: Parts of session ids that are easily taken for something else.
ODD_IDS = [
    "a b",
    "{x}",
    "}{",
    "{}",
    "a:meta",
    "*",
    "[a-z]?\\*",
    "%s%00",
    "chat/ä€😀",
    "x" * 400,
]


class ReadTests(Scene):
    async def test_a_look_answers_in_the_order_asked(self, store: Store, session: str) -> None:
        """Each session is answered in its place, and unknown ones with None."""
        ids = [f"{session}:{n}" for n in range(6)]
        for known in ids[::2]:
            await claim(store, known)
        answers = await store.look([*ids, ids[0]])
        expected = [ids[0], None, ids[2], None, ids[4], None, ids[0]]
        assert expected == [i.session_id if isinstance(i, SessionInfo) else i for i in answers]

    async def test_metadata_is_looked_up_on_request_only(self, store: Store, session: str) -> None:
        """A look that does not ask for the metadata does not carry it."""
        await claim(store, session, metadata='{"a": [1, "é"]}')
        assert None is (await look(store, session)).metadata
        assert {"a": [1, "é"]} == (await look(store, session, metadata=True)).metadata

    async def test_a_session_without_metadata_shows_none(self, store: Store, session: str) -> None:
        """Metadata that was never set is None."""
        await claim(store, session)
        assert None is (await look(store, session, metadata=True)).metadata

    async def test_the_size_of_metadata_is_told_before_it_is_read(
        self, store: Store, session: str
    ) -> None:
        """About, at least for what is large; 0 where there is none, be it the session."""
        large, none, unknown = (f"{session}:{n}" for n in range(3))
        await claim(store, large, metadata=f'"{"x" * 100_000}"')
        await claim(store, none)
        sizes = await store.metadata_sizes([none, large, unknown, large])
        assert 4 == len(sizes)
        assert all(size >= 100_000 for size in sizes[1::2])
        assert [] == list(await store.metadata_sizes([]))

    async def test_memory_is_told_in_bytes_or_not_at_all(self, store: Store, session: str) -> None:
        """About: more than the text of a large session, and nothing of one that is not there."""
        large, unknown = (f"{session}:{n}" for n in range(2))
        await append(store, await claim(store, large), ["x" * 100_000])
        taken, none, again = await store.memory([large, unknown, large])
        assert taken is None or taken >= 100_000
        assert (None, taken) == (none, again)
        assert [] == list(await store.memory([]))

    async def test_reading_goes_on_after_any_cursor(self, store: Store, session: str) -> None:
        """From each place in the log a reader gets exactly what follows it."""
        claimed = await claim(store, session)
        items = [str(n) for n in range(1, 13)]
        await append(store, claimed, items)
        for offset in range(13):
            chunks = await read(store, claimed, after=offset)
            assert items[offset:] == [chunk.data for chunk in chunks]

    @pytest.mark.parametrize("limit", [1, 7, 100, 101])
    async def test_pages_of_any_size_make_up_the_log(
        self, store: Store, session: str, limit: int
    ) -> None:
        """No page is larger than asked for, none is smaller but the last."""
        claimed = await claim(store, session)
        items = [f"{n} " for n in range(100)]
        await append(store, claimed, items)
        pages: list[list[Chunk]] = []
        after = 0
        while page := await read(store, claimed, after=after, limit=limit):
            pages.append(page)
            after = page[-1].cursor.offset
        assert items == [chunk.data for page in pages for chunk in page]
        sizes = [len(page) for page in pages]
        assert [limit] * (len(sizes) - 1) == sizes[:-1]
        assert sizes[-1] <= limit

    async def test_large_chunks_do_not_make_a_page_short(self, store: Store, session: str) -> None:
        """A page is complete however many bytes it has, so that a short one means the end."""
        claimed = await claim(store, session)
        items = ["x" * 50_000] * 40
        await append(store, claimed, items)
        assert 40 == len(await read(store, claimed, limit=40))

    async def test_there_is_nothing_after_the_end(self, store: Store, session: str) -> None:
        """Behind the newest chunk, and in an unknown session, the log is empty."""
        claimed = await claim(store, session)
        assert [] == await read(store, claimed)
        await append(store, claimed, ["a"])
        assert [] == await read(store, claimed, after=1)
        assert [] == await read(store, claimed, after=99)
        assert [] == await store.read(f"{session}:unknown", Cursor(1, 0), 10)

    async def test_a_joined_read_makes_one_chunk_of_each_row(
        self, store: Store, session: str
    ) -> None:
        """Rows end at chunks with an event type, which stay in their place, and at the limit."""
        claimed = await claim(store, session)
        await append(store, claimed, ["a", "é😀", ("x", "tool"), ("", "tool"), "", "c\n", "d"])
        epoch = claimed.epoch
        tools = [Chunk("x", Cursor(epoch, 3), "tool"), Chunk("", Cursor(epoch, 4), "tool")]

        async def joined(after: int, limit: int) -> list[Chunk]:
            return await store.read_joined(session, Cursor(epoch, after), limit)

        first, rest = Chunk("aé😀", Cursor(epoch, 2)), Chunk("c\nd", Cursor(epoch, 7))
        assert [first, *tools, rest] == await joined(0, 100)
        assert [first, *tools, rest] == await joined(0, 7)
        assert [first, *tools, Chunk("c\n", Cursor(epoch, 6))] == await joined(0, 6)
        assert [first] == await joined(0, 2)
        assert [Chunk("a", Cursor(epoch, 1))] == await joined(0, 1)
        assert [Chunk("é😀", Cursor(epoch, 2)), *tools] == await joined(1, 3)
        assert [rest] == await joined(4, 100)

    async def test_a_joined_read_is_of_one_epoch(self, store: Store, session: str) -> None:
        """Behind the end, in an unknown session and in another epoch it finds nothing."""
        first = await claim(store, session)
        await append(store, first, ["old"] * 5)
        await store.write([Release(first, last=5)])
        second = await claim(store, session)
        await append(store, second, ["new"] * 3)
        start = Cursor(second.epoch, 0)
        assert [Chunk("new" * 3, Cursor(second.epoch, 3))] == await store.read_joined(
            session, start, 10
        )
        assert [] == await store.read_joined(f"{session}:unknown", start, 10)
        for cursor in (
            Cursor(second.epoch, 3),
            Cursor(second.epoch, 99),
            Cursor(first.epoch, 0),
            Cursor(first.epoch, 5),
            Cursor(second.epoch + 1, 0),
            Cursor(0, 0),
        ):
            assert [] == await store.read_joined(session, cursor, 10)

    async def test_there_is_nothing_after_a_cursor_of_another_epoch(
        self, store: Store, session: str
    ) -> None:
        """Whoever lags behind a restart is handed nothing of the new log, from wherever."""
        first = await claim(store, session)
        await append(store, first, ["old"] * 5)
        await store.write([Release(first, last=5)])
        second = await claim(store, session)
        await append(store, second, ["new"] * 10)
        for term in (first.epoch, second.epoch + 1, 0):
            for offset in (0, 3, 5, 10):
                assert [] == await store.read(session, Cursor(term, offset), 100)
        generation = second.generation
        start = Cursor(second.epoch, 0)
        assert 10 == len(await store.read(session, start, 100, generation=generation))
        assert [] == await store.read(session, start, 100, generation=first.generation)

    async def test_every_session_is_listed_once(
        self, store: Store, other: Store, session: str
    ) -> None:
        """Active, ended and lost sessions of all instances are listed, removed ones are not."""
        ids = sorted(f"{session}:{n:03}" for n in range(120))
        for n, session_id in enumerate(ids):
            await claim((store, other)[n % 2], session_id)
        await store.remove(ids[3])
        found = [known for known in await listed(store) if known.startswith(session)]
        assert sorted({*ids} - {ids[3]}) == sorted(found)

    @pytest.mark.parametrize("odd", ODD_IDS, ids=range(len(ODD_IDS)))
    async def test_any_session_id_is_kept_as_it_is(
        self, store: Store, session: str, odd: str
    ) -> None:
        """Braces, wildcards, spaces and non-ASCII text make session ids like any other."""
        for session_id in (f"{odd}{session}", f"{session}{odd}"):
            claimed = await claim(store, session_id, metadata="1")
            await append(store, claimed, ["a"])
            assert session_id == (await look(store, session_id)).session_id
            assert ["a"] == await texts(store, claimed)
            assert 1 == (await listed(store)).count(session_id)
            assert await store.remove(session_id)
            assert [None] == await store.look([session_id])

    async def test_sessions_with_similar_ids_do_not_touch_each_other(
        self, store: Store, session: str
    ) -> None:
        """What happens to one session happens to no other."""
        ids = [session, f"{session}:meta", f"{{{session}}}", f"{session}:chunks", f"{session} "]
        claims = [await claim(store, session_id) for session_id in ids]
        for n, claimed in enumerate(claims):
            await append(store, claimed, [str(n)])
        await store.remove(ids[0])
        for n, claimed in enumerate(claims[1:], 1):
            assert [str(n)] == await texts(store, claimed)
            assert Status.ACTIVE is (await look(store, claimed.session_id)).status
