"""The message that is made of chunks here, beside the one that the AI SDK's own client makes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from streamhub import Cursor, SessionInfo, Status
from streamhub.chunks import Chunk
from streamhub.formats import Ending, UIMessages
from streamhub.formats.endings import told_of
from streamhub.parts import MESSAGE_EVENT, PART_EVENT, Folding, fold

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent
Read = Callable[[str], dict[str, Any]]
#: What a chunk holds, and its event type.
Published = tuple[str, str | None]


@pytest.fixture(scope="module")
def read() -> Iterator[Read]:
    """What the client makes of the body of a response."""
    with subprocess.Popen(
        [Path(sys.executable).with_name("node"), "read_messages.mjs"],
        cwd=FOLDER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        stdin, stdout = node.stdin, node.stdout

        def read_one(body: str) -> dict[str, Any]:
            print(json.dumps({"body": body}), file=stdin, flush=True)
            line: dict[str, Any] = json.loads(stdout.readline())
            return line

        yield read_one
        stdin.close()


IDS = st.sampled_from(["a", "b"])
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner),
    max_leaves=5,
)
OBJECTS = st.dictionaries(st.sampled_from("xyz"), VALUES, max_size=3)


def part(kind: str, must: dict[str, Any], may: dict[str, Any] | None = None) -> Any:
    """Parts of one kind: with all that they must have, and some of what they may."""
    made = st.fixed_dictionaries({"type": st.just(kind), **must}, optional=may or {})
    return made.map(lambda value: (json.dumps(value), PART_EVENT))


PROVIDER = {"providerMetadata": st.dictionaries(st.sampled_from("pq"), OBJECTS, max_size=2)}
CALL = {"toolCallId": IDS}
TOOL = {**CALL, "toolName": st.sampled_from(["look", "look-up"])}
OF_TOOL = {
    "dynamic": st.booleans(),
    "providerExecuted": st.booleans(),
    "title": WORDS,
    "toolMetadata": OBJECTS,
    **PROVIDER,
}
OF_RESULT = {"providerExecuted": st.booleans(), "toolMetadata": OBJECTS, **PROVIDER}
PARTS = st.one_of(
    *(part(f"{kind}-start", {"id": IDS}, PROVIDER) for kind in ("text", "reasoning")),
    *(
        part(f"{kind}-delta", {"id": IDS, "delta": WORDS}, PROVIDER)
        for kind in ("text", "reasoning")
    ),
    *(part(f"{kind}-end", {"id": IDS}, PROVIDER) for kind in ("text", "reasoning")),
    part("tool-input-start", TOOL, {**OF_TOOL, "inputEncoding": st.sampled_from(["json", "text"])}),
    part("tool-input-available", {**TOOL, "input": VALUES}, OF_TOOL),
    part("tool-input-error", {**TOOL, "input": VALUES, "errorText": WORDS}, OF_TOOL),
    part("tool-approval-request", {"approvalId": IDS, **CALL}, {"reason": WORDS}),
    part(
        "tool-approval-response", {"approvalId": IDS, "approved": st.booleans()}, {"reason": WORDS}
    ),
    part(
        "tool-output-available",
        {**CALL, "output": VALUES},
        {"preliminary": st.booleans(), **OF_RESULT},
    ),
    part("tool-output-error", {**CALL, "errorText": WORDS}, OF_RESULT),
    part("tool-output-denied", CALL),
    part("source-url", {"sourceId": IDS, "url": WORDS}, {"title": WORDS, **PROVIDER}),
    part("source-document", {"sourceId": IDS, "mediaType": WORDS, "title": WORDS}, PROVIDER),
    part("file", {"mediaType": WORDS, "url": WORDS}, PROVIDER),
    part("reasoning-file", {"mediaType": WORDS, "url": WORDS}, PROVIDER),
    part("custom", {"kind": st.just("p.q")}, PROVIDER),
    part("data-x", {"data": VALUES}, {"id": IDS, "transient": st.booleans()}),
    part("start-step", {}),
    part("finish-step", {}),
    part("reset-step", {}),
    part("start", {}, {"messageId": IDS, "messageMetadata": OBJECTS}),
    part("message-metadata", {"messageMetadata": OBJECTS}),
    part("finish", {}, {"finishReason": st.just("length"), "messageMetadata": OBJECTS}),
)
#: The input of a call in pieces, as a model writes it.
WRITTEN = st.builds(
    lambda tool, value, cuts: _written(tool, _cut(json.dumps(value), cuts)),
    IDS,
    OBJECTS,
    st.lists(st.integers(1, 9), max_size=8),
)
PLAIN = st.tuples(WORDS.filter(bool), st.none())
OTHERS = st.tuples(VALUES.map(json.dumps) | WORDS, st.sampled_from(["note", PART_EVENT]))
#: What a tool goes through.
CALLED = st.builds(
    lambda call, tool, value, rest: [
        (json.dumps({**one, **call}), PART_EVENT)
        for one in ({"type": "tool-input-available", "input": value, **tool}, *rest)
    ],
    st.fixed_dictionaries(CALL),
    st.fixed_dictionaries({"toolName": st.just("look")}, optional=OF_TOOL),
    VALUES,
    st.sampled_from(
        [
            [],
            [{"type": "tool-output-available", "output": 1}],
            [{"type": "tool-output-error", "errorText": "no"}],
            [{"type": "tool-approval-request", "approvalId": "q"}],
            [
                {"type": "tool-approval-request", "approvalId": "q"},
                {"type": "tool-approval-response", "approvalId": "q", "approved": False},
                {"type": "tool-output-denied"},
            ],
        ]
    ),
)
#: What applications publish, and no more.
USUAL = st.lists(
    CALLED
    | WRITTEN
    | st.one_of(
        PLAIN,
        part("reasoning-delta", {"id": IDS, "delta": WORDS}, PROVIDER),
        part("reasoning-end", {"id": IDS}, PROVIDER),
        part("source-url", {"sourceId": IDS, "url": WORDS}, {"title": WORDS, **PROVIDER}),
        part("file", {"mediaType": WORDS, "url": WORDS}, PROVIDER),
        part("data-x", {"data": VALUES}, {"id": IDS, "transient": st.booleans()}),
        part("start-step", {}),
        part("reset-step", {}),
        part("message-metadata", {"messageMetadata": OBJECTS}),
    ).map(lambda one: [one]),
    max_size=10,
).map(lambda rows: [_once(one, number) for number, row in enumerate(rows) for one in row])
CHUNKS = st.lists(
    PARTS.map(lambda one: [one])
    | PLAIN.map(lambda one: [one])
    | OTHERS.map(lambda one: [one])
    | WRITTEN,
    max_size=14,
).map(lambda rows: [one for row in rows for one in row])


def _once(published: Published, number: int) -> Published:
    """With ids of calls that no other one has."""
    value, event = published
    if event is None or "toolCallId" not in (part := json.loads(value)):
        return published
    ids = {name: f"{part[name]}{number}" for name in ("toolCallId", "approvalId") if name in part}
    return json.dumps({**part, **ids}), event


def _written(tool: str, pieces: list[str]) -> list[Published]:
    parts: list[dict[str, Any]] = [
        {"type": "tool-input-start", "toolCallId": tool, "toolName": "look"},
        *(
            {"type": "tool-input-delta", "toolCallId": tool, "inputTextDelta": piece}
            for piece in pieces
        ),
    ]
    return [(json.dumps(one), PART_EVENT) for one in parts]


def _cut(text: str, cuts: list[int]) -> list[str]:
    pieces = []
    for size in cuts:
        pieces.append(text[:size])
        text = text[size:]
    return pieces


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(published=CHUNKS, status=st.sampled_from(["active", "finished", "cancelled", "failed"]))
@example(published=_written("a", [r'{"x": "\ud83d', r'\ude00"}']), status="finished")
@example(published=_written("a", [r'{"x": "\ud83d']), status="active")
def test_a_message_is_what_the_client_makes_of_it(
    read: Read, published: list[Published], status: str
) -> None:
    """Field by field and in their order, for whatever is published, up to any chunk and at any
    end; and nothing of it makes the client give up."""
    format_ = UIMessages(message_id="m")
    folding = Folding("m")
    body = format_.begin(INFO)
    for number, (data, event) in enumerate(published, 1):
        chunk = Chunk(data, Cursor(1, number), event)
        body += format_.chunk(chunk)
        folding.add(chunk)
    if status != "active":
        body += format_.end(Ending(status, Cursor(1, len(published)), None))
        folding.end(status)
    if not body:
        return
    made = read(body.decode())

    errors = [error for error in made["errors"] if error != told_of("failed")]
    assert [] == errors
    ours = msgspec.json.encode(folding.message.to_dict()).decode()
    # Half a character, while the other half of its escape is to come, cannot be stored.
    theirs = _text(made["message"]).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert theirs == _text(ours)


def _text(value: str) -> str:
    return json.dumps(json.loads(value), ensure_ascii=False)


INFO = SessionInfo("s", Status.ACTIVE, "g", None, Cursor(1, 0))


@settings(max_examples=30, deadline=None)
@given(before=USUAL, published=USUAL)
def test_a_message_that_is_gone_on_with_is_whole_in_a_resumed_page(
    read: Read, before: list[Published], published: list[Published]
) -> None:
    """What was in it before and what is added: for who follows from the beginning, and for who
    comes later and gets all of it."""
    earlier = fold(_chunks(before), message_id="m", status="finished").to_dict()
    chunks = _chunks([(json.dumps(earlier), MESSAGE_EVENT), *published])
    format_ = UIMessages(replay=True)
    body = format_.begin(INFO) + b"".join(map(format_.chunk, chunks))
    made = read((body + format_.end(Ending("finished", None, None))).decode())
    ours = fold(chunks, status="finished").to_dict()

    assert [] == made["errors"]
    assert _sorted(json.loads(made["message"])) == _sorted(ours)


def _chunks(published: list[Published]) -> list[Chunk]:
    return [Chunk(data, Cursor(1, n), event) for n, (data, event) in enumerate(published, 1)]


def _sorted(message: dict[str, Any]) -> str:
    return json.dumps(message, sort_keys=True)
