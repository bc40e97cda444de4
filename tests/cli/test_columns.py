"""What a terminal shows of rows and of texts, and how it makes them fit."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from streamhub.board import Row
from streamhub.cli.columns import cells, columns_of, cut, fitted, span
from streamhub.cli.top.text_tail import TextTail

ROW = Row(
    session_id="漢字" * 30,
    status="active",
    owner="alice",
    model="gpt-5",
    host="gpu-7",
    chunks=123_456,
    bytes=7_000_000_000_000,
    rate=12_345.6,
    created=0.0,
    last_chunk=90.0,
    lease_until=107.0,
    subscribers=3,
)


@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 120, 400])
@pytest.mark.parametrize("sort", ["created", "subscribers", "bytes"])
def test_rows_fit_and_what_is_sorted_by_stays(width: int, sort: str) -> None:
    """Whatever the width, no line is wider; the column that rows are sorted by is among the last
    to go."""
    columns = columns_of([ROW], sort)  # type: ignore[arg-type]
    texts = [cells(ROW, columns, 100.0)]
    fit = fitted(columns, texts, width, sort)  # type: ignore[arg-type]
    line = " ".join(
        cut(texts[0][columns.index(column)], size, right=column.is_number) for column, size in fit
    )

    assert cell_len(line) <= width
    if width >= 20:
        assert sort in [column.sort for column, _ in fit]
    if width >= 120:
        assert columns == [column for column, _ in fit]
        assert {"123k", "12346", "1m", "10s", "7s", "7000G"} <= set(line.split())


def test_columns_that_say_nothing_are_left_out() -> None:
    """Unless rows are sorted by them."""
    row = Row(session_id="a", status="finished")

    assert ["session", "status", "chunks", "age", "silent", "bytes"] == [
        column.title for column in columns_of([row], "created")
    ]
    assert "host" in [column.title for column in columns_of([row], "host")]


def test_times_take_four_characters() -> None:
    """In the largest unit that they have one of."""
    times = (-3, 0.9, 59, 60, 3599, 3600, 86_399, 86_400, 999 * 86_400)
    assert ["0s", "0s", "59s", "1m", "59m", "1h", "23h", "1d", "999d"] == [span(t) for t in times]


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        (["hello wor", "ld and ", "on"], ["hello ", "world and ", "on"]),
        (["a" * 23], ["a" * 10, "a" * 10, "aaa"]),
        (["one\n", "\ntwo\r\n"], ["one", "", "two", ""]),
        (["漢字漢字漢字"], ["漢字漢字漢", "字"]),
        (["\x1b[2J\u202e"], ["\\x1b[2J\\u2", "02e"]),
        (["a\tb"], ["a       b"]),
    ],
)
def test_a_text_is_laid_out_as_it_grows(pieces: list[str], lines: list[str]) -> None:
    """Piece by piece as at once, broken at spaces, and with control characters spelled out."""
    tail, whole = TextTail(), TextTail()
    tail.lines(10)
    for piece in pieces:
        tail.add(piece)
    whole.add("".join(pieces))

    assert lines == list(tail.lines(10)) == list(whole.lines(10))


def test_a_text_is_bounded() -> None:
    """What is kept is its end, be it one line or many, in one piece or in many."""
    for pieces in (["x" * 1_000_000], ["x" * 100] * 300, ["x\n" * 100] * 300):
        tail = TextTail(most=10_000)
        for piece in pieces:
            tail.add(piece)
        tail.add("the end")
        first, *others = tail.lines(80)
        kept = "".join(others)
        assert "… what came before is not shown" == first
        assert kept.endswith("the end")
        assert len(kept) <= 10_000 + 2048
