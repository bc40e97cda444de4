"""Server-Sent Events as text: what the encoder writes, what the parser reads."""

from __future__ import annotations

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import given, strategies as st

from streamhub.formats import sse
from streamhub.formats.sse import HEARTBEAT, Event, EventParser, encode, encode_retry

TEXT = st.text(
    st.one_of(st.sampled_from("\r\n\0:\ufeff\u2028\x85 é😀"), st.characters(codec="utf-8"))
)


def parsed(*pieces: bytes) -> list[Event]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def by_httpx_sse(body: bytes) -> list[tuple[str, str, str]]:
    """What another parser makes of it."""
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    return [(e.data, e.event, e.id) for e in EventSource(response).iter_sse()]


@pytest.mark.parametrize(
    ("data", "written"),
    [
        ("", b"data: \n\n"),
        ("a", b"data: a\n\n"),
        (" a", b"data:  a\n\n"),
        ("a\nb", b"data: a\ndata: b\n\n"),
        ("a\r\nb", b"data: a\ndata: b\n\n"),
        ("a\rb", b"data: a\ndata: b\n\n"),
        ("a\n\rb", b"data: a\ndata: \ndata: b\n\n"),
        ("\n", b"data: \ndata: \n\n"),
        ("\n\n", b"data: \ndata: \ndata: \n\n"),
        ("a\n", b"data: a\ndata: \n\n"),
        ("a\0b", b"data: a\0b\n\n"),
        ("id: 7\nevent: end", b"data: id: 7\ndata: event: end\n\n"),
        ("a\x0b\x0c\x1c\x85\u2028\u2029b", "data: a\x0b\x0c\x1c\x85\u2028\u2029b\n\n".encode()),
        ("Grüße 😀", "data: Grüße 😀\n\n".encode()),
        ("\ufeff", "data: \ufeff\n\n".encode()),
    ],
)
def test_data_is_split_on_the_line_breaks_of_the_standard_and_no_others(
    data: str, written: bytes
) -> None:
    """CR, LF and CRLF each begin a new ``data`` line; nothing in a chunk can make a field."""
    assert written == encode(data)


@pytest.mark.parametrize("field", ["id", "event"])
@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a", "a"),
        ("", ""),
        ("a\nb", "a b"),
        ("a\r\nb", "a  b"),
        ("a\rdata: x", "a data: x"),
        ("a\0b", "a b"),
        ("ü😀", "ü😀"),
    ],
)
def test_fields_of_one_line_stay_on_one_line(field: str, value: str, written: str) -> None:
    """Neither a line break nor NUL leaves the id or the event type."""
    assert f"{field}: {written}\ndata: x\n\n".encode() == encode("x", **{field: value})


def test_the_id_comes_first() -> None:
    """All fields of one event, and its blank line."""
    assert b"id: 1-2\nevent: tool\ndata: x\n\n" == encode("x", event="tool", id="1-2")


@given(data=TEXT, event=st.none() | TEXT, id=st.none() | TEXT)
def test_what_is_encoded_is_read_the_same_by_other_parsers(
    data: str,
    event: str | None,
    id: str | None,  # noqa: A002
) -> None:
    """One event, with its data but for the kind of line break, and nothing else."""
    one_line = str.maketrans({"\r": " ", "\n": " ", "\0": " "})
    body = encode(data, event=event, id=id)
    wanted = (
        data.replace("\r\n", "\n").replace("\r", "\n"),
        (event or "").translate(one_line) or "message",
        (id or "").translate(one_line),
    )
    (ours,) = parsed(body)

    assert wanted == (ours.data, ours.event, ours.id)
    # It splits lines on more than the standard does, so that it cannot read all that is legal.
    if not any(mark in body.decode() for mark in "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"):
        assert [wanted] == by_httpx_sse(body)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"data: a\n\n", [Event("a")]),
        (b"data:a\r\rdata:b\r\n\r\n", [Event("a"), Event("b")]),
        (b"data\n\n", [Event("")]),
        (b"data: a\ndata:  b\n\n", [Event("a\n b")]),
        (b"data: a", []),
        (b"data: a\n", []),
        (b": comment\n\ndata: a\n\n", [Event("a")]),
        (b"event: x\n\ndata: a\n\n", [Event("a")]),
        (b"event: x\ndata: a\n\n", [Event("a", "x")]),
        (b"event:\ndata: a\n\n", [Event("a")]),
        (b"id: 1\n\ndata: a\n\n", [Event("a", id="1")]),
        (
            b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
            [Event("a", id="1"), Event("b", id="1"), Event("c")],
        ),
        (b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n", [Event("a", id="1"), Event("b", id="1")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event("a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [Event("b")]),
        (b"data: \xff\n\n", [Event("\ufffd")]),
        (b" data: a\n\nDATA: a\n\nunknown: a\n\n", []),
        (b"data: a\x0b\x0c\xe2\x80\xa8\n\n", [Event("a\x0b\x0c\u2028")]),
    ],
)
def test_the_parser_reads_as_the_standard_says(body: bytes, found: list[Event]) -> None:
    """Whole, and byte by byte: a line break or a letter may lie in two pieces."""
    assert found == parsed(body)
    assert found == parsed(*[body[n : n + 1] for n in range(len(body))])


@given(st.lists(st.tuples(TEXT, TEXT)), st.data())
def test_pieces_may_be_split_anywhere(sent: list[tuple[str, str]], data: st.DataObject) -> None:
    """The events do not depend on how the network cuts them, empty pieces included."""
    body = HEARTBEAT.join(encode(text, id=id_) for text, id_ in sent).replace(b"\n", b"\r\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]

    assert parsed(body) == parsed(*pieces)


def test_heartbeats_and_retry_are_no_events() -> None:
    """Whatever parser reads them, alone or right before a chunk."""
    body = encode_retry(1.5) + HEARTBEAT + HEARTBEAT + encode("a", id="1-1") + HEARTBEAT

    assert [Event("a", id="1-1")] == parsed(body)
    assert [("a", "message", "1-1")] == by_httpx_sse(body)


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        (b"retry: 1500", 1.5),
        (b"retry: 0", 0.0),
        (b"retry: -1", None),
        (b"retry: 1.5", None),
        (b"retry:", None),
        ("retry: ٣".encode(), None),
        (b"retry: " + b"9" * 10_000, None),
    ],
)
def test_retry_is_a_whole_number_of_milliseconds(line: bytes, seconds: float | None) -> None:
    """Anything else is passed over, as the standard says."""
    parser = EventParser()
    parser.feed(line + b"\n\n")

    assert seconds == parser.retry


def test_the_last_event_id_is_known_without_an_event() -> None:
    """An id alone counts once its blank line is there."""
    parser = EventParser()
    parser.feed(b"id: 5\n")
    before = parser.last_event_id
    parser.feed(b"\n")

    assert ("", "5") == (before, parser.last_event_id)


@pytest.mark.parametrize("field", [b"data: ", b": ", b"x"])
def test_an_event_without_end_is_refused(field: bytes) -> None:
    """What a server sends takes no more memory than the limit, be it one line or many."""
    for body in (field + b"x" * 200, (field + b"x" * 20 + b"\n") * 10):
        with pytest.raises(ValueError, match="max_event_bytes"):
            EventParser(max_event_bytes=100).feed(body)


def test_events_up_to_the_limit_pass_one_after_the_other() -> None:
    """The limit is one of each event, not of all."""
    parser = EventParser(max_event_bytes=100)
    body = b"data: " + b"x" * 94 + b"\n\n"

    assert [["x" * 94]] * 5 == [[e.data for e in parser.feed(body)] for _ in range(5)]


def test_a_long_line_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pieces it comes in: else one of a few MB would hold up all that goes on beside
    it."""
    searched = []

    class LineBreak:
        def split(self, text: str) -> list[str]:
            searched.append(len(text))
            return text.split("\n")

    monkeypatch.setattr(sse, "_LINE_BREAK", LineBreak())
    pieces = [b"data: ", *[b"x" * 100] * 100, b"\n\n"]

    assert ["x" * 10_000] == [event.data for event in parsed(*pieces)]
    assert sum(map(len, pieces)) == sum(searched)
