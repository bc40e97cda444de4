"""The recent: what live messages become."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from streamhub import Chunk, Cursor
from streamhub.reading.recent_chunks import RecentChunks

EPOCH = 1_700_000_000_000


def chunks(first: int, last: int, epoch: int = EPOCH) -> list[Chunk]:
    return [Chunk(str(n), Cursor(epoch, n)) for n in range(first, last + 1)]


def offsets(found: list[Chunk]) -> list[int]:
    return [chunk.cursor.offset for chunk in found]


def test_a_message_of_no_chunks_changes_nothing() -> None:
    """However large it says that it is."""
    recent = RecentChunks(5, 10)
    recent.extend(EPOCH, 0, chunks(1, 2), 2)
    assert 2 == recent.extend(EPOCH, 2, [], 20)
    assert 2 == recent.extend(EPOCH + 1, 9, [], 20)
    assert chunks(1, 2) == recent.after(0)


@pytest.mark.parametrize(
    ("messages", "after", "expected"),
    [
        ([], 0, []),
        ([(0, 3)], 0, [1, 2, 3]),
        ([(0, 3)], 2, [3]),
        ([(0, 3)], 3, []),
        ([(0, 3), (3, 5)], 2, [3, 4, 5]),
        ([(0, 3), (0, 3)], 0, [1, 2, 3]),  # a repeated message
        ([(0, 3), (1, 5)], 0, [1, 2, 3, 4, 5]),  # one that overlaps
        ([(0, 3), (6, 8)], 6, [7, 8]),  # a hole: begins anew after it
        ([(0, 3), (6, 8)], 2, []),  # and who is before it reads the log
        ([(4, 6)], 9, []),  # a reader ahead of a store that is being repaired
    ],
)
def test_messages_become_one_row_without_holes(
    messages: list[tuple[int, int]], after: int, expected: list[int]
) -> None:
    """Whatever messages come twice, overlap or are missing: what is handed out has no hole."""
    recent = RecentChunks(max_chunks=100, max_bytes=1000)

    for base, last in messages:
        recent.extend(EPOCH, base, chunks(base + 1, last), 1)

    assert expected == offsets(recent.after(after))


def test_another_term_replaces_everything() -> None:
    """Chunks of two terms are never in one row here: who is in between reads the log."""
    recent = RecentChunks(max_chunks=100, max_bytes=1000)
    recent.extend(EPOCH, 0, chunks(1, 3), 1)

    recent.extend(EPOCH + 1, 0, chunks(1, 2, EPOCH + 1), 1)

    assert [1, 2] == offsets(recent.after(0))


@pytest.mark.parametrize("each", [1, 2, 3, 9])
def test_old_chunks_go_when_there_are_too_many(each: int) -> None:
    """The newest chunks stay, as many as asked for; never more than twice as many, but for those
    of one message."""
    recent = RecentChunks(max_chunks=4, max_bytes=1000)

    for base in range(0, 20 * each, each):
        recent.extend(EPOCH, base, chunks(base + 1, base + each), each)

        last = base + each
        first = recent.end - 4 if last >= 4 else 0
        assert list(range(first + 1, last + 1)) == offsets(recent.after(first))
        oldest = last - max(8, each)
        assert oldest <= 0 or not recent.after(oldest - 1)


@pytest.mark.parametrize("in_event", [False, True], ids=["data", "event type"])
def test_old_chunks_go_when_they_are_too_large(in_event: bool) -> None:
    """The limit in bytes holds whatever the number of chunks, except for the newest message."""
    recent = RecentChunks(max_chunks=1000, max_bytes=100)

    for offset, size in enumerate([30, 30, 30, 30, 300, 30, 30, 30, 30, 30], 1):
        text, cursor = "x" * size, Cursor(EPOCH, offset)
        chunk = Chunk("", cursor, text) if in_event else Chunk(text, cursor)
        recent.extend(EPOCH, offset - 1, [chunk], size)

        held = [
            sum(len(one.data) + len(one.event or "") for one in recent.after(start))
            for start in range(offset)
        ]
        assert size <= max(held) <= max(100, size)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=40),
    st.integers(1, 30),
    st.integers(0, 80),
)
def test_a_reader_gets_the_next_chunk_or_none(
    messages: list[tuple[int, int]], limit: int, after: int
) -> None:
    """For every history of messages, what follows a cursor begins right after it, unbroken."""
    recent = RecentChunks(max_chunks=limit, max_bytes=10_000)
    for base, count in messages:
        recent.extend(EPOCH, base, chunks(base + 1, base + count), count)

    found = offsets(recent.after(after))

    assert found == list(range(after + 1, after + 1 + len(found)))
    assert len(found) <= max(2 * limit, 20)
