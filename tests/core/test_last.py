"""Where the last chunks of a log begin, and which of them are wanted: pure, by tables."""

from __future__ import annotations

import random

import pytest

from streamhub import Chunk, Cursor
from streamhub.reading.last import Last, Search
from streamhub.reading.only import Only

KINDS = {
    "t(": "text-start",
    "t.": "text-delta",
    "t)": "text-end",
    "r(": "reasoning-start",
    "r.": "reasoning-delta",
    "c(": "tool-input-start",
    "c.": "tool-input-delta",
    "c=": "tool-input-available",
}


def log(drawn: str) -> list[Chunk]:
    """``x`` is text, ``s`` a chunk of type ``status``, ``t(1`` the start of the text ``1`` …"""
    chunks = []
    for offset, word in enumerate(drawn.split(), 1):
        cursor = Cursor(1, offset)
        if word == "x":
            chunks.append(Chunk("x", cursor))
        elif word[:2] in KINDS:
            name = "toolCallId" if word[0] == "c" else "id"
            part = f'{{"type":"{KINDS[word[:2]]}","{name}":"{word[2:]}"}}'
            chunks.append(Chunk(part, cursor, "ui"))
        else:
            chunks.append(Chunk("{}", cursor, word))
    return chunks


def taken(chunks: list[Chunk], last: Last) -> int:
    search = Search(last)
    if not any(map(search.take, reversed(chunks))):
        search.end()
    return search.taken


LAST = {
    "nothing is there": ("", 3, 0),
    "there are fewer": ("s s", 3, 2),
    "what says something alone": ("s s s s", 2, 2),
    "a row of text that began here": ("s s x x", 2, 2),
    "a row that began a little before": ("s x x x", 2, 3),
    "a row that began just near enough": ("s x x x x", 2, 4),
    "a row that began too long ago": ("s x x x x x", 2, 2),
    "a row that is the whole log": ("x x x", 2, 3),
    "a row behind which others stand": ("s x x x s", 2, 4),
    "a part from its start": ("s t(1 t.1 t.1 t.1 t.1 t.1", 2, 6),
    "a part that has ended": ("s t(1 t.1 t)1 s", 2, 4),
    "a part that began here": ("s t(1 t.1", 2, 2),
    "what cuts another part in two": ("s r(1 r.1 t(1 r.1 t.1 t.1", 1, 6),
    "a part whose start cuts none": ("r(1 r.1 t(1 t.1 t.1", 1, 3),
    "a name that is used again": ("t(1 t.1 t)1 t(1 t.1 t.1", 1, 3),
    "parts of the same name that are others": ("t(1 r(1 c(1 c.1 c.1", 1, 3),
    "a call with all of its input": ("c(1 c.1 c.1 c=1", 1, 1),
    "a part that never began": ("s t.1 t.1 s t.1", 1, 4),
    "a part that never began and cuts another": ("s r(1 t.1 r.1 s t.1", 1, 5),
    "text in front of a part": ("s x x t(1 t.1 t.1", 2, 3),
    "what holds no part": ("s ui ui", 1, 1),
}


@pytest.mark.parametrize(("drawn", "count", "expected"), LAST.values(), ids=LAST)
def test_the_last_chunks_begin_where_a_part_begins(drawn: str, count: int, expected: int) -> None:
    """So many at least, and no more than are needed so that nothing is cut in two."""
    assert expected == taken(log(drawn), Last(count))


WANTED = {
    "only what is wanted counts": ("s x x s x x", ["s"], 2, 6),
    "… of text, too": ("s x s s x s", [None], 2, 5),
    "a start that is not wanted is a beginning": ("s t(1 s t.1 t.1", ["ui:text-delta"], 1, 4),
    "a part that is not wanted may be cut": ("t(1 t.1 s t.1 s", ["s"], 1, 1),
    "nothing of it is there": ("x x", ["s"], 1, 2),
}


@pytest.mark.parametrize(("drawn", "events", "count", "expected"), WANTED.values(), ids=WANTED)
def test_what_is_not_wanted_does_not_count(
    drawn: str, events: list[str | None], count: int, expected: int
) -> None:
    """``last`` is a number of those that the reader gets."""
    assert expected == taken(log(drawn), Last(count, Only.of(events)))


def test_no_beginning_cuts_a_part_in_two() -> None:
    """Whatever the log: of each part that what comes goes on with, the start comes, too, if there
    is one; and at least as many chunks as were asked for."""
    draw = random.Random(7)
    words = ["x", "s", *(f"{kind}{name}" for kind in KINDS for name in "12")]
    for _ in range(300):
        drawn = [draw.choice(words) for _ in range(draw.randrange(40))]
        chunks, count = log(" ".join(drawn)), draw.randrange(1, 8)
        size = taken(chunks, Last(count))
        come, before = drawn[len(drawn) - size :], drawn[: len(drawn) - size]
        assert min(count, len(drawn)) <= size
        begun: set[str] = set()
        for word in come:
            name = word[0] + word[2:]
            if word[1:2] == "(":
                begun.add(name)
            elif word[1:2] in (".", ")") and name not in begun:
                assert f"{word[0]}({word[2:]}" not in before, (drawn, count)


ONLY = {
    "a type": (["s"], "s"),
    "text": ([None], "x"),
    "text, by its name alone": (["message"], ""),
    "both": ([None, "s"], "x s"),
    "all parts": (["ui"], "t(1 t.1 c(1 c=1 ui"),
    "parts of a kind": (["ui:text-delta"], "t.1"),
    "parts whose kinds begin so": (["ui:tool-*"], "c(1 c=1"),
    "parts of any kind": (["ui:*"], "t(1 t.1 c(1 c=1"),
}


@pytest.mark.parametrize(("events", "expected"), ONLY.values(), ids=ONLY)
def test_events_names_types_and_kinds_of_parts(events: list[str | None], expected: str) -> None:
    """None is text; ``ui:`` and a kind names parts of that kind, with a star those that begin so.
    What holds no part has no kind."""
    only = Only.of(events)
    chunks = log("x s t(1 t.1 c(1 c=1 ui")

    assert [(one.data, one.event) for one in log(expected)] == [
        (one.data, one.event) for one in only.among(chunks)
    ]


@pytest.mark.parametrize("events", ["status", b"status", 7, [7], [b"status"], object()])
def test_what_names_no_types_is_refused(events: object) -> None:
    """Above all a lone text, whose letters would be taken for types."""
    with pytest.raises(TypeError, match=r"event"):
        Only.of(events)  # type: ignore[arg-type]


def test_no_type_at_all_is_refused() -> None:
    """Who wants to hear of the end alone waits for that."""
    with pytest.raises(ValueError, match="at least one"):
        Only.of([])


@pytest.mark.parametrize("count", [0, -1, True, 1.5, "3", None])
def test_what_is_no_number_of_chunks_is_refused(count: object) -> None:
    """The error says how to begin behind all of them."""
    with pytest.raises(ValueError, match='after="now"'):
        Last.of(count, None)  # type: ignore[arg-type]
