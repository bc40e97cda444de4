"""Chunks, cursors and the config: values that say no to what they cannot be."""

from __future__ import annotations

import pickle
from itertools import product, takewhile
from typing import Any

import pytest
from hypothesis import given, strategies as st

from streamhub import Chunk, Cursor, HubConfig, InvalidCursor
from streamhub.chunks import join, right_after
from streamhub.ids import new_generation
from streamhub.reading.replay import parse_after

HALVES = st.integers(0, 2**64 - 1)


@given(HALVES, HALVES)
def test_a_cursor_survives_being_written_and_read(epoch: int, offset: int) -> None:
    """What a client sends back as text is the cursor that it got."""
    cursor = Cursor(epoch, offset)

    assert cursor == Cursor.parse(str(cursor))
    assert cursor == pickle.loads(pickle.dumps(cursor))
    assert cursor == parse_after(str(cursor))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "-",
        "1-",
        "-1",
        "1-2-3",
        "a-b",
        "+1-2",
        "1--2",
        " 1-2",
        "1-2\n",
        "01-2",
        "1_0-2",
        "\u0661-\u0662",
        "0x1-2",
        "18446744073709551616-1",
        "1-18446744073709551616",
        "1" * 10_000,
    ],
)
def test_a_malformed_cursor_is_refused(text: str) -> None:
    """Nothing but two plain numbers is a cursor, and the error shows what was given."""
    with pytest.raises(InvalidCursor, match="malformed") as caught:
        parse_after(text)

    assert text == caught.value.cursor
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("given_", [5, 1.5, b"1-2", ("1", "2"), object()])
def test_a_cursor_of_another_type_is_refused(given_: Any) -> None:
    """Only a Cursor or its text says where to begin."""
    with pytest.raises(InvalidCursor, match=type(given_).__name__):
        parse_after(given_)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([None], [("1", 1, None)]),
        ([None, None, None], [("123", 3, None)]),
        (["a"], [("1", 1, "a")]),
        ([None, "a", None, None], [("1", 1, None), ("2", 2, "a"), ("34", 4, None)]),
        (["a", "a"], [("1", 1, "a"), ("2", 2, "a")]),
    ],
)
def test_a_batch_joins_rows_of_plain_chunks_only(
    events: list[str | None], expected: list[tuple[str, int, str | None]]
) -> None:
    """Chunks with an event type stay single, in their place; a row ends at its last cursor."""
    chunks = [Chunk(str(n), Cursor(7, n), event) for n, event in enumerate(events, 1)]

    assert expected == [(c.data, c.cursor.offset, c.event) for c in join(chunks)]


@pytest.mark.parametrize("after", range(7))
def test_what_follows_in_a_page_is_the_same_with_holes_and_without(after: int) -> None:
    """For every page of up to six places: the row that begins right after the place asked for."""
    for held in product([False, True], repeat=6):
        page = [Chunk("x", Cursor(7, offset)) for offset, one in enumerate(held, 1) if one]
        row = list(takewhile(lambda offset: held[offset - 1], range(after + 1, 7)))  # noqa: B023

        assert row == [chunk.cursor.offset for chunk in right_after(page, Cursor(7, after))]
        assert [] == right_after(page, Cursor(6, after))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lease", 0),
        ("lease", -1.0),
        ("lease", float("nan")),
        ("lease", float("inf")),
        ("lease", 0.001),
        ("lease", "15"),
        ("lease", True),
        ("retention", None),
        ("max_chunk_bytes", 0),
        ("max_chunk_bytes", 1.5),
        ("give_up_after", -3),
        ("linger", -0.1),
        ("linger", float("inf")),
        ("linger", 15.5),
        ("key_prefix", "a{b}"),
        ("key_prefix", "a\nb"),
        ("key_prefix", b"a"),
        ("count_subscribers", 1),
    ],
)
def test_a_config_that_cannot_work_is_refused(field: str, value: Any) -> None:
    """The error names the field and what was given."""
    with pytest.raises(ValueError, match=field) as caught:
        HubConfig(**{field: value})

    assert repr(value) in str(caught.value)


def test_generations_are_version_7_uuids_that_differ() -> None:
    """RFC 9562, 5.7: version and variant stand where they belong; 1,000 of them all differ."""
    generations = [new_generation() for _ in range(1000)]

    assert 1000 == len(set(generations))
    assert {"7"} == {generation[14] for generation in generations}
    assert {generation[19] for generation in generations} <= set("89ab")
