"""What waits to be stored and what is kept: batches, room, and going on after a loss."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from streamhub import HubConfig, StreamTooLarge
from streamhub.chunks import Item, Terms, size_of
from streamhub.producing.outbox import MetadataBox, Outbox
from streamhub.stores.base import Append, Claim, WriteOp

CLAIM = Claim("s", "g", Terms.first(7), replaced=None, lease=15.0, retention=60.0)


def outbox(*items: Item, config: HubConfig | None = None, past: int = 0) -> Outbox:
    """One that has taken these in; the first ``past`` of them were stored before its time."""
    made = Outbox(CLAIM, config or HubConfig(), items[:past])
    for item in items[past:]:
        made.items.append(item)
        made.sizes.append(made.sizes[-1] + size_of(item))
    return made


def ranges(appends: Sequence[WriteOp]) -> list[tuple[int, int]]:
    return [(op.base, op.base + len(op.items)) for op in appends if isinstance(op, Append)]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([1], [(0, 1)]),
        ([1] * 512, [(0, 512)]),
        ([1] * 513, [(0, 512), (512, 513)]),
        ([1] * 6_000, [(base, base + 512) for base in range(0, 4_096, 512)]),
        ([262_144, 1], [(0, 1), (1, 2)]),
        ([262_143, 1, 1], [(0, 2), (2, 3)]),
        ([400_000, 400_000], [(0, 1), (1, 2)]),
        ([200_000, 100_000, 100_000, 400_000, 1], [(0, 1), (1, 3), (3, 4), (4, 5)]),
    ],
)
def test_appends_are_bounded_in_chunks_and_in_bytes(
    sizes: list[int], expected: list[tuple[int, int]]
) -> None:
    """None holds the server for long, and a chunk over the bound goes alone."""
    made = outbox(*("x" * size for size in sizes))
    appends = made.take_appends()
    assert expected == ranges(appends)
    assert [sum(sizes[:end]) for _, end in expected] == [
        op.total_bytes for op in appends if isinstance(op, Append)
    ]
    assert (expected[-1][1] if expected else 0) == made.sent


@pytest.mark.parametrize("item", ["a", "äx", ("", "note"), ("äx", "note")])
@pytest.mark.parametrize("before", [0, 1, 3])
def test_one_chunk_makes_the_same_append_as_one_of_many(before: int, item: Item) -> None:
    """What waits alone goes a way of its own; the other way makes the same of it."""
    alone = outbox(*"abc"[:before], item, past=before)
    gathered = outbox(*"abc"[:before], item, past=before)
    # Where a chunk is held to be another's, it is sent by the way of those.
    gathered._own = before + 1
    assert alone.take_appends() == gathered.take_appends()
    assert (before + 1, before + 1) == (alone.sent, gathered.sent)


def test_an_append_does_not_go_beyond_a_term() -> None:
    """What is put back has the terms that wrote it, however little each of them wrote."""
    terms = Terms(5, ((5, 0), (6, 2), (7, 3)))
    made = Outbox(msgspec.structs.replace(CLAIM, terms=terms), HubConfig(), ["a", "b", "c"])
    for item in "de":
        made.items.append(item)
        made.sizes.append(made.sizes[-1] + 1)
    assert [("de", 7)] == texts(made)
    made.go_on_after(0)
    assert [("ab", 5), ("c", 6), ("de", 7)] == texts(made)
    made.go_on_after(1)
    assert [("b", 5), ("c", 6), ("de", 7)] == texts(made)
    made.go_on_after(2)
    assert [("c", 6), ("de", 7)] == texts(made)
    made.go_on_after(4)
    assert [("e", 7)] == texts(made)


@pytest.mark.parametrize("kept", [0, 1])
def test_one_chunk_that_is_put_back_alone_has_its_own_term(kept: int) -> None:
    """The newest of the past, which another claim wrote, is the only one that is missing."""
    terms = Terms(5, ((5, 0), (7, kept + 1)))
    made = Outbox(msgspec.structs.replace(CLAIM, terms=terms), HubConfig(), "ab"[: kept + 1])
    made.go_on_after(kept)
    assert [("ab"[kept], 5)] == texts(made)


def texts(made: Outbox) -> list[tuple[str, int]]:
    """What the appends hold that it makes now, and under which term."""
    appends = [op for op in made.take_appends() if isinstance(op, Append)]
    return [("".join(str(item) for item in op.items), op.term) for op in appends]


def test_what_is_on_its_way_is_not_taken_twice() -> None:
    """Until the store says that it has less."""
    made = outbox("a", "b", "c")
    assert [(0, 3)] == ranges(made.take_appends())
    assert [] == made.take_appends()
    made.go_on_after(1)
    assert [(1, 3)] == ranges(made.take_appends())


def test_the_past_is_kept_and_counts_as_stored() -> None:
    """What earlier generations wrote is written again only where it is lost."""
    made = outbox("a", ("b", "note"), "c", past=2)
    assert (2, 2, 3) == (made.stored, made.sent, made.last)
    assert 1 == made.unstored_bytes
    assert [(2, 3)] == ranges(made.take_appends())
    made.go_on_after(0)
    (append,) = made.take_appends()
    assert isinstance(append, Append)
    assert ["a", ("b", "note"), "c"] == append.items


@pytest.mark.parametrize(
    ("stored", "total", "room"),
    [
        (0, 10, True),
        (0, 11, False),
        (4, 14, True),
        (4, 15, False),
        (6, 16, True),
        (6, 20, True),
    ],
)
def test_g10_room_is_what_may_wait_beyond_what_is_stored(
    stored: int, total: int, room: bool
) -> None:
    """At most ``max_pending_bytes``; but where nothing waits, one chunk of any size."""
    made = outbox(*"abcdef", config=HubConfig(max_pending_bytes=10, max_stream_bytes=20))
    made.stored = made.sent = stored
    assert room is made.has_room(total)
    if room:
        assert made.full_at == min(stored + 10, 20)


def test_g10_a_stream_that_would_be_too_long_is_refused() -> None:
    """With the length that it would have, and the limit."""
    made = outbox("a", config=HubConfig(max_stream_bytes=20))
    with pytest.raises(StreamTooLarge, match=r"21 bytes.*\(20\)"):
        made.has_room(21)


def test_what_was_lost_leaves_room_to_be_asked_for_again() -> None:
    """It counts as waiting, so that what was room before is none."""
    made = outbox(*"abcdef", config=HubConfig(max_pending_bytes=10))
    made.stored = made.sent = 6
    assert made.has_room(16)
    made.go_on_after(0)
    assert 0 == made.full_at
    assert not made.has_room(16)


def test_metadata_that_was_set_meanwhile_still_waits() -> None:
    """Only what was on its way is stored when it arrives."""
    box = MetadataBox(None)
    first = box.set("1")
    assert "1" == box.send()
    second = box.set("2")
    box.arrived()
    assert (True, False, True) == (box.is_stored(first), box.is_stored(second), box.waits)
    assert "2" == box.send()
    box.arrived()
    assert (True, False) == (box.is_stored(second), box.waits)
