"""The shapes of a log, and which one a request gets."""

from __future__ import annotations

import json

import pytest
from httpx import AsyncClient
from starlette.requests import Request

from streamhub import Chunk, Cursor, Hub, parts
from streamhub.formats import NDJSON, SSE, TEXT, Ending, Format
from streamhub.formats.text import SHOWN, TextFormat
from streamhub.serving.faces import FACES, face_of
from streamhub.serving.faces.choosing import negotiate

from .serving import path_of, stored

AT = Cursor(1000, 3)
NO_REQUEST = Request({"type": "http", "headers": [], "query_string": b""})


@pytest.mark.parametrize(
    ("accept", "format_"),
    [
        (None, SSE),
        ("", SSE),
        (" ", SSE),
        ("*/*", SSE),
        ("text/event-stream", SSE),
        ("TEXT/Event-Stream; charset=utf-8", SSE),
        ("text/*", SSE),
        ("application/x-ndjson", NDJSON),
        ("application/jsonl", NDJSON),
        ("application/ndjson", NDJSON),
        ("application/*", NDJSON),
        ("text/plain", TEXT),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", SSE),
        ("text/plain;q=0.5, application/x-ndjson;q=0.8", NDJSON),
        ("text/plain, text/event-stream", TEXT),
        ("*/*, application/x-ndjson", NDJSON),
        ("text/*, text/plain", TEXT),
        ("text/event-stream;q=0, */*", NDJSON),
        ("text/event-stream;q=0, text/*;q=0.5", TEXT),
        ("text/event-stream;q=0", None),
        ("text/plain;q=0, */*;q=0", None),
        ("application/json", None),
        ("text/plain;q=x, application/x-ndjson;q=0.1", NDJSON),
        ("text/plain;q=nan, application/x-ndjson;q=0.1", NDJSON),
        ("text/plain;q=7", TEXT),
        ("text/plain;q=-7", None),
        (",;,=;q", None),
    ],
)
def test_the_accept_header_chooses(accept: str | None, format_: Format | None) -> None:
    """By quality; among equals what is named rather than what a wildcard covers, and then what
    comes first. What is named with quality 0 is not wanted, whatever the wildcards say."""
    face = negotiate(accept)

    assert format_ is (None if face is None else face.format(NO_REQUEST))


def test_several_accept_headers_are_one() -> None:
    """As the standard has it of lists."""
    headers = [(b"accept", b"application/json"), (b"accept", b"text/plain")]
    request = Request({"type": "http", "headers": headers, "query_string": b""})

    assert FACES["text"] is face_of(request)


@pytest.mark.parametrize("data", ["a", "", "a\r\nb\rc\nd\0", "ü😀\u2028"])
@pytest.mark.parametrize("event", [None, "tool", "end"])
def test_ndjson_has_chunks_as_they_were_published(data: str, event: str | None) -> None:
    """One line each, whatever line breaks the chunk holds."""
    line = NDJSON.chunk(Chunk(data, AT, event))

    assert (1, b"\n") == (line.count(b"\n"), line[-1:])
    assert {"data": data, "cursor": "1000-3", "event": event} == json.loads(line)


@pytest.mark.parametrize("data", ["a", "", "a\r\nb\rc\nd\0", "ü😀\u2028"])
def test_text_has_the_text_alone(data: str) -> None:
    """As it is; what has an event type is no part of it."""
    assert data.encode() == TEXT.chunk(Chunk(data, AT))
    assert b"" == TEXT.chunk(Chunk(data, AT, "tool"))
    assert b"" == TEXT.chunk(Chunk(data, AT, ""))


def ui(part: parts.AnyPart) -> Chunk:
    return Chunk(parts.encode(part), AT, "ui")


def test_ndjson_has_parts_as_the_json_that_they_are() -> None:
    """In place of a text that is JSON; kinds that are not known here, too."""
    known = NDJSON.chunk(ui(parts.ToolInputAvailable("c", "look", {"at": "a\n\u2028"})))
    unknown = NDJSON.chunk(Chunk('{ "type": "new",\n "x": 1.50 }', AT, "ui"))
    call = {"type": "tool-input-available", "toolCallId": "c", "toolName": "look"}
    at = {"cursor": "1000-3", "event": "ui"}

    assert {"part": {**call, "input": {"at": "a\n\u2028"}}, **at} == json.loads(known)
    assert b'{"part":{"type":"new","x":1.5},"cursor":"1000-3","event":"ui"}\n' == unknown
    assert 1 == len(known.decode().splitlines())


@pytest.mark.parametrize("data", ["", "{", "7", "[]", "{}", '{"type":7}', '{"type":"x","y":1e999}'])
def test_what_is_no_part_is_sent_as_it_is(data: str) -> None:
    """Nobody has seen to it that a chunk of type ``ui`` holds one."""
    chunk = Chunk(data, AT, "ui")

    assert {"data": data, "cursor": "1000-3", "event": "ui"} == json.loads(NDJSON.chunk(chunk))
    assert b"" == TEXT.chunk(chunk)
    assert b"" == TextFormat(SHOWN).chunk(chunk)


TALK: list[str | parts.AnyPart] = [
    parts.StartStep(),
    parts.ReasoningStart("r"),
    parts.ReasoningDelta("r", "Paris,\nI th"),
    parts.ReasoningDelta("r", "ink"),
    parts.ReasoningEnd("r"),
    "Let me ",
    parts.TextStart("t"),
    parts.TextDelta("t", "look."),
    parts.ToolInputStart("c", "weather"),
    parts.ToolInputDelta("c", '{"city":'),
    parts.ToolInputAvailable("c", "weather", {"city": "Paris"}),
    parts.ToolApprovalRequest("a", "c"),
    parts.ToolOutputAvailable("c", "sunny\n"),
    parts.ToolOutputError("d", "no\nway"),
    parts.TextDelta("t", "Sunny."),
    parts.ReasoningDelta("r", "done"),
    "\n",
]
TOOLS = """\
[tool] weather {"city":"Paris"}
[tool] weather waits for approval
[tool] weather gave "sunny\\n"
[tool] d failed: no way
"""
WRITTEN = {
    (): "Let me look.Sunny.\n",
    ("tools",): f"Let me look.\n{TOOLS}Sunny.\n",
    ("reasoning",): (
        "[reasoning] Paris,\n[reasoning] I think\nLet me look.Sunny.\n[reasoning] done\n\n"
    ),
    SHOWN: (
        "[reasoning] Paris,\n[reasoning] I think\nLet me look.\n"
        f"{TOOLS}Sunny.\n[reasoning] done\n\n"
    ),
}


@pytest.mark.parametrize(("shown", "expected"), WRITTEN.items(), ids=map("+".join, WRITTEN))
def test_text_has_what_is_said_in_parts(shown: tuple[str, ...], expected: str) -> None:
    """Deltas of text as text; on request what is thought, and what tools are asked and give, each
    on lines that say what they are."""
    format_ = TextFormat(shown)
    chunks = [Chunk(one, AT) if isinstance(one, str) else ui(one) for one in TALK]

    assert expected == b"".join(map(format_.chunk, chunks)).decode()


@pytest.mark.parametrize("event", ["end", "error", "reset"])
def test_an_event_of_the_application_never_passes_for_the_streams_own(event: str) -> None:
    """It is sent under another name; what it is changed into is the applications' to avoid."""
    written = SSE.chunk(Chunk("x", AT, event))

    assert f"id: 1000-3\nevent: chunk:{event}\ndata: x\n\n".encode() == written


@pytest.mark.parametrize(
    ("event", "line"), [("End", b"End"), ("end\n", b"end "), ("end\0", b"end "), ("\rend", b" end")]
)
def test_no_spelling_of_an_event_type_becomes_one_of_the_streams_own(
    event: str, line: bytes
) -> None:
    """What is taken out of a name leaves a space."""
    assert b"event: " + line + b"\n" in SSE.chunk(Chunk("x", AT, event))


@pytest.mark.parametrize("status", ["finished", "cancelled"])
def test_quiet_ends_are_said_in_every_format(status: str) -> None:
    """With status and cursor; in text the end of the response is the end."""
    ending = Ending(status, AT)

    assert (
        f'id: 1000-3\nevent: end\ndata: {{"status":"{status}","cursor":"1000-3"}}\n\n'.encode()
        == SSE.end(ending)
    )
    assert {"status": status, "cursor": "1000-3", "error": None} == json.loads(
        NDJSON.end(ending) or b""
    )
    assert b"" == TEXT.end(ending)


@pytest.mark.parametrize("status", ["failed", "lost", "replaced", "expired", "gone", "unavailable"])
def test_no_other_end_looks_like_one_of_them(status: str) -> None:
    """An error event, a line with its reason; text cannot say it, and breaks off."""
    ending = Ending(status, None, "be\ncause")
    facts = {"status": status, "cursor": None, "error": "be\ncause"}
    head, _, data = (SSE.end(ending) or b"").partition(b"\n")

    assert b"event: error" == head
    assert facts == json.loads(data.removeprefix(b"data: "))
    assert facts == json.loads(NDJSON.end(ending) or b"")
    assert TEXT.end(ending) is None


def test_every_format_has_a_name_and_skips_its_heartbeat() -> None:
    """The names are those of ``?format=``; a heartbeat is no chunk."""
    formats = [face.format(NO_REQUEST) for face in FACES.values()]

    assert ["sse", "ndjson", "text"] == list(FACES) == [one.name for one in formats]
    assert [b":\n", b"\n", b""] == [one.heartbeat for one in formats]


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("", None, "text/event-stream"),
        ("", "application/x-ndjson", "application/x-ndjson"),
        ("?format=text", "application/x-ndjson", "text/plain"),
        ("?format=ndjson", "image/png", "application/x-ndjson"),
        ("?format=sse", "text/plain", "text/event-stream"),
    ],
)
async def test_the_query_comes_before_the_header(
    hub: Hub, client: AsyncClient, session_id: str, query: str, accept: str | None, media_type: str
) -> None:
    """And without both it is Server-Sent Events; all are UTF-8, uncached and unbuffered."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    await stream.close()
    headers = {} if accept is None else {"accept": accept}
    answer = await client.get(path_of(session_id) + query, headers=headers)

    assert 200 == answer.status_code
    assert f"{media_type}; charset=utf-8" == answer.headers["content-type"]
    assert "no-cache, no-transform" == answer.headers["cache-control"]
    assert "no" == answer.headers["x-accel-buffering"]


@pytest.mark.parametrize(
    ("query", "accept", "status", "code", "named"),
    [
        ("?format=xml", "*/*", 400, "unsupported_format", "xml"),
        ("?format=", "*/*", 400, "unsupported_format", "sse, ndjson, text"),
        ("?format=SSE", "*/*", 400, "unsupported_format", "SSE"),
        ("?batch=maybe", "*/*", 400, "invalid_parameter", "maybe"),
        ("?events=", "*/*", 400, "invalid_parameter", "message stands for text"),
        ("?events=a,,b", "*/*", 400, "invalid_parameter", "a,,b"),
        ("?last=0", "*/*", 400, "invalid_parameter", "from 1 to 1000000"),
        ("?last=x", "*/*", 400, "invalid_parameter", "x"),
        ("?last=2&after=now", "*/*", 400, "invalid_parameter", "after and last"),
        ("?format=text&show=all", "*/*", 400, "invalid_parameter", "reasoning, tools"),
        ("?wait=x", "*/*", 400, "invalid_parameter", "from 0 to 30"),
        ("?wait=-1", "*/*", 400, "invalid_parameter", "-1"),
        ("?wait=nan", "*/*", 400, "invalid_parameter", "nan"),
        ("?wait=1e9", "*/*", 400, "invalid_parameter", "1e9"),
        ("", "image/png", 406, "not_acceptable", "image/png"),
        ("?format=" + "x" * 9000, "*/*", 400, "unsupported_format", "x…"),
    ],
)
async def test_what_cannot_be_served_is_named(
    hub: Hub,
    client: AsyncClient,
    session_id: str,
    query: str,
    accept: str,
    status: int,
    code: str,
    named: str,
) -> None:
    """What was given, what is allowed; never more than a line of it."""
    await hub.register(session_id)
    answer = await client.get(path_of(session_id) + query, headers={"accept": accept})
    problem = answer.json()

    assert (status, code) == (answer.status_code, problem["code"])
    assert "application/problem+json" == answer.headers["content-type"]
    assert named in problem["detail"]
    assert len(problem["detail"]) < 300
