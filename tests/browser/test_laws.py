"""The law of every face: what a client has up to a place, followed by what it gets when it comes
back there, is what it would have had without the break. Its own parser judges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from streamhub import Chunk, Cursor, SessionInfo, Status, parts
from streamhub.chunks import Terms
from streamhub.formats import Format
from streamhub.formats.agui import AGUI, EventId
from streamhub.formats.format import Ending
from streamhub.formats.sse import EventParser
from streamhub.formats.ui_messages import UIMessages
from streamhub.formats.ui_tail import begun_at

from ..support.node_clients import NodeClients

pytestmark = pytest.mark.slow

EPOCH = 1000
SEEDS = range(3)


@pytest.fixture(scope="module")
def clients() -> Iterator[NodeClients]:
    with NodeClients() as clients:
        yield clients


def generated(seed: int) -> list[Chunk]:
    """A log of text, thoughts, calls whose inputs are interleaved with them, steps and data."""
    random = Random(seed)
    published: list[str | parts.AnyPart] = []
    number = 0
    for step in range(random.randint(1, 3)):
        if step or random.random() < 0.5:
            published.append(parts.StartStep())
        thoughts, calls, texts = [], [], []
        for _ in range(random.randint(3, 9)):
            number += 1
            name = f"{random.choice('abc')}{number}"
            match random.randint(0, 9):
                case 0 | 1:
                    published.append(f"word{number} ")
                case 2:
                    thoughts.append(name)
                    published += [parts.ReasoningStart(name), parts.ReasoningDelta(name, "hm ")]
                case 3 if thoughts:
                    published.append(parts.ReasoningDelta(random.choice(thoughts), f"more{number}"))
                case 3 | 4:
                    calls.append(name)
                    published.append(parts.ToolInputStart(name, "weather"))
                case 5 if calls:
                    published.append(parts.ToolInputDelta(random.choice(calls), "[1,"))
                case 5 | 6:
                    published.append(parts.ToolInputAvailable(name, "place", {"n": number}))
                    if random.random() < 0.7:
                        published.append(parts.ToolOutputAvailable(name, {"at": [number]}))
                case 7:
                    texts.append(name)
                    published += [parts.TextStart(name), parts.TextDelta(name, "so ")]
                case 8 if texts:
                    published.append(parts.TextDelta(random.choice(texts), f"on{number}"))
                case _:
                    published.append(parts.Data("note", {"n": number}, random.choice([None, "x"])))
        random.shuffle(calls)
        for name in calls:
            published.append(parts.ToolInputAvailable(name, "weather", [1]))
            published.append(
                parts.ToolOutputError(name, "no")
                if random.random() < 0.3
                else parts.ToolOutputAvailable(name, "yes")
            )
        published += [parts.ReasoningEnd(name) for name in thoughts]
        published += [parts.TextEnd(name) for name in texts]
        published.append(parts.FinishStep())
    published.append(
        parts.finished(usage={"inputTokens": 3, "totalTokens": 5}, finish_reason="stop")
    )
    return [
        Chunk(part, Cursor(EPOCH, place)) if isinstance(part, str)
        else Chunk(parts.encode(part), Cursor(EPOCH, place), parts.PART_EVENT)
        for place, part in enumerate(published, 1)
    ]  # fmt: skip


def rendered(format_: Format, log: list[Chunk]) -> list[bytes]:
    """What the response is made of, a piece a chunk, and the end."""
    info = SessionInfo(
        "chat:c", Status.ACTIVE, "g", Terms.first(EPOCH), Cursor(EPOCH, len(log)), request=":t"
    )
    pieces = [format_.begin(info), *(format_.chunk(chunk) for chunk in log)]
    end = format_.end(Ending("finished", log[-1].cursor))
    assert end is not None
    return [*pieces, end]


def events_of(pieces: list[bytes]) -> list[bytes]:
    """Each event by itself, as it was sent."""
    return [event + b"\n\n" for event in b"".join(pieces).split(b"\n\n") if event]


def text(events: list[bytes]) -> str:
    return b"".join(events).decode()


@pytest.mark.parametrize("seed", SEEDS)
def test_use_chat_replays(clients: NodeClients, seed: int) -> None:
    """Cut after any chunk: by HTTP, or over a WebSocket, whose transport reads the same."""
    log = generated(seed)
    pieces = rendered(UIMessages(), log)
    replay = b"".join(rendered(UIMessages(replay=True), log)).decode()
    whole = b"".join(pieces).decode()
    cases = [{"pieces": [whole]}]
    cases += [{"pieces": [text(pieces[:cut]), replay]} for cut in range(len(pieces))]
    expected, *found = clients.each("ui/parsed", cases)

    assert expected["messages"][0]["parts"]
    assert "error" not in expected
    assert [expected] * len(found) == found


@pytest.mark.parametrize("seed", SEEDS)
def test_a_workflow_goes_on(clients: NodeClients, seed: int) -> None:
    """Cut after any part."""
    log = generated(seed)
    events = events_of(rendered(UIMessages(finishing=True), log))
    cases = [{"pieces": [{"text": text(events)}]}]
    for cut in range(len(events) - 1):
        rest = rendered(UIMessages(finishing=True, skip=cut), log)
        cases.append({"pieces": [{"text": text(events[:cut])}, {"text": text(rest)}]})
    expected, *found = clients.each("workflow/parsed", cases)

    assert expected["messages"][0]["parts"]
    assert [[None, str(cut)] for cut in range(len(found))] == [one.pop("asked") for one in found]
    expected.pop("asked")
    assert [expected] * len(found) == found
    assert [] == expected["warnings"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_workflow_begins_at_its_tail(clients: NodeClients, seed: int) -> None:
    """At any part from the end, and is cut after any number of parts: no part is without its
    beginning, and none is lost or doubled."""
    log = generated(seed)
    events = events_of(rendered(UIMessages(finishing=True), log))
    values = [json.loads(event[6:]) for event in events[:-1]]
    cases, cuts = [], []
    for count in range(1, len(values)):
        place = begun_at(values, count)
        tail = str(place - 1 + count if place else len(values) - 1)
        pieces = [{"text": text(events[place:]), "headers": {"x-workflow-stream-tail-index": tail}}]
        cases.append({"pieces": pieces, "startIndex": -count})
        cut = (place + len(values)) // 2
        pieces = [{**pieces[0], "text": text(events[place:cut])}, {"text": text(events[cut:])}]
        cases.append({"pieces": pieces, "startIndex": -count})
        cuts.append(str(cut))
    found = clients.each("workflow/parsed", cases)

    assert [] == [one["warnings"] for one in found if one["warnings"]]
    assert [] == [one["error"] for one in found if "error" in one]
    assert cuts == [one["asked"][1] for one in found[1::2]]
    plain = [[part for one in each["messages"] for part in one["parts"]] for each in found]
    assert plain[::2] == plain[1::2]


@pytest.mark.parametrize("seed", SEEDS)
def test_agui_is_opened_again(clients: NodeClients, seed: int) -> None:
    """Cut after any event: its verifier begins anew, on the messages that there are."""
    log = generated(seed)
    events = events_of(rendered(AGUI("r"), log))
    cases = [{"pieces": [text(events)]}]
    for cut, last in enumerate(ids(events)[:-1], 1):
        rest = rendered(AGUI("r", after=EventId.parse(last)), log)
        cases.append({"pieces": [text(events[:cut]), text(rest)]})
    expected, *found = clients.each("agui/parsed", cases)

    assert len(set(ids(events))) == len(events)
    assistants = [one for one in expected["messages"] if one["role"] == "assistant"]
    assert texts(log) == "".join(one.get("content", "") for one in assistants)
    assert ([], None) == (expected["warnings"], expected.get("error"))
    assert [expected["messages"]] * len(found) == [one["messages"] for one in found]
    assert [] == [one for one in found if one.get("error") or one["warnings"]]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("lines", [False, True], ids=["sse", "ndjson"])
def test_tanstack_goes_on(clients: NodeClients, seed: int, lines: bool) -> None:
    """Cut after any event: its adapter asks again by itself, and skips what is opened again."""
    log = generated(seed)
    events = events_of(rendered(AGUI("r"), log))
    names = ids(events)

    def told(after: str | None, count: int | None) -> str:
        place = None if after is None else EventId.parse(after)
        sent = b"".join(rendered(AGUI("r", thread="t", after=place, lines=lines), log))
        ends = b"\n" if lines else b"\n\n"
        return text([one + ends for one in sent.split(ends) if one][:count])

    cases: list[dict[str, Any]] = [{"pieces": [told(None, None)], "lines": lines}]
    for cut, last in enumerate(names[:-1], 1):
        cases.append({"pieces": [told(None, cut), told(last, None)], "lines": lines})
    expected, *found = clients.each("tanstack/parsed", cases)

    every = [part for message in expected["messages"] for part in message["parts"]]
    assert texts(log) == "".join(one["content"] for one in every if one["type"] == "text")
    assert [[None, name] for name in names[:-1]] == [one.pop("asked") for one in found]
    expected.pop("asked")
    assert [expected] * len(found) == found
    assert [] == expected["warnings"]


def texts(log: list[Chunk]) -> str:
    """All that is said in it."""
    said = []
    for chunk in log:
        part = chunk.data if chunk.event is None else parts.decode(chunk.data)
        said.append(
            part
            if isinstance(part, str)
            else part.delta
            if isinstance(part, parts.TextDelta)
            else ""
        )
    return "".join(said)


def ids(events: list[bytes]) -> list[str]:
    return [event.id for event in EventParser().feed(b"".join(events))]
