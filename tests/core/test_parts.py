"""The parts of a message: as typed values, as JSON, and folded into the message that they are."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from streamhub import Hub, InvalidChunk, InvalidPart, parts
from streamhub.parts.partial_json import partial_json
from streamhub.testing.waiting import until

EVERY_KIND = [
    parts.Start("m", {"a": 1}),
    parts.StartStep(),
    parts.ReasoningStart("r"),
    parts.ReasoningDelta("r", "hm", provider_metadata={"p": {"signature": "s"}}),
    parts.ReasoningEnd("r"),
    parts.TextStart("t"),
    parts.TextDelta("t", "Hi"),
    parts.TextEnd("t"),
    parts.ToolInputStart("c", "look", dynamic=True),
    parts.ToolInputDelta("c", '{"a"'),
    parts.ToolInputAvailable("c", "look", None),
    parts.ToolInputError("c", "look", "bad", input=3),
    parts.ToolApprovalRequest("q", "c"),
    parts.ToolApprovalResponse("q", False, "no"),
    parts.ToolOutputAvailable("c", {"b": [1]}, preliminary=True),
    parts.ToolOutputError("c", "broke"),
    parts.ToolOutputDenied("c"),
    parts.SourceUrl("s", "https://example.org"),
    parts.SourceDocument("s", "text/plain", "T"),
    parts.File("image/png", "data:,"),
    parts.ReasoningFile("image/png", "data:,"),
    parts.Custom("p.q"),
    parts.SteeringMessage("m2", [{"type": "text", "text": "more"}]),
    parts.Data("weather", {"t": 1}, id="w", transient=True),
    parts.MessageMetadata({"b": 2}),
    parts.FinishStep(),
    parts.ResetStep(),
    parts.Finish("stop"),
    parts.Abort("why"),
    parts.Error("broke"),
    parts.Other({"type": "kind-of-tomorrow", "x": 1}),
]


@pytest.mark.parametrize("part", EVERY_KIND, ids=lambda part: type(part).__name__)
def test_a_part_is_itself_again(part: parts.AnyPart) -> None:
    """After it was written and read."""
    assert part == parts.decode(parts.encode(part))


def test_every_kind_is_tried() -> None:
    """All that are offered."""
    kinds = {one for one in vars(parts).values() if isinstance(one, type)}
    kinds &= {*parts.Part.__subclasses__(), parts.Data, parts.Other} | {
        leaf for one in parts.Part.__subclasses__() for leaf in one.__subclasses__()
    }

    assert kinds == {type(part) for part in EVERY_KIND}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must be JSON"),
        ("[]", "a JSON object with a type, not []"),
        ('{"type":3}', "a JSON object with a type, not {'type': 3}"),
        ('{"type":"text-delta","delta":"x"}', "no part of type 'text-delta': .*`id`"),
        ('{"type":"tool-approval-response","approvalId":"q","approved":"yes"}', "bool"),
        ("[" * 100_000, "must be JSON"),
    ],
)
def test_what_is_no_part_is_refused(text: str, why: str) -> None:
    """With what is wrong with it."""
    with pytest.raises(InvalidPart, match=why.replace("[]", r"\[\]").replace("{'", r"\{'")):
        parts.decode(text)


@pytest.mark.parametrize(
    "part",
    [
        parts.Data("x", object()),
        parts.Data("x", {1, object()}),
        parts.Other({"x": 1}),
        "text",
        None,
    ],
)
def test_what_json_cannot_hold_is_refused(part: Any) -> None:
    """Before anything is published."""
    with pytest.raises(InvalidPart):
        parts.encode(part)


async def test_a_part_is_published_as_it_is_encoded(hub: Hub, session_id: str) -> None:
    """By a handle, and by a source beside text; one that cannot be written fails nothing else."""
    stream, _ = await hub.register(session_id)
    async with stream:
        await stream.publish(parts.StartStep())
        with pytest.raises(InvalidPart):
            await stream.publish(parts.Data("x", object()))
        with pytest.raises(InvalidChunk, match="under the event type ui, not 'mine'"):
            await stream.publish(parts.StartStep(), event="mine")
        await stream.publish("a")
    found = [(chunk.data, chunk.event) async for chunk in stream.subscribe()]
    other = await hub.run(f"{session_id}:2", [parts.StartStep(), None, "a"])
    drawn = [(chunk.data, chunk.event) async for chunk in other.subscribe()]

    assert [('{"type":"start-step"}', "ui"), ("a", None)] == found == drawn


async def test_a_message_grows_with_its_stream(hub: Hub, session_id: str) -> None:
    """Its open parts are being written while the stream is, and complete at its end."""
    stream, _ = await hub.register(session_id)
    async with stream:
        await stream.publish(parts.StartStep())
        await stream.publish("It is ")
        await stream.publish(parts.SourceUrl("s", "u"))
        await stream.publish("sunny")
        await stream.publish(parts.ToolInputStart("c", "look"))
        await stream.publish(parts.ToolInputDelta("c", '{"at": "Hal'))
        await stream.flush()
        before = await stream.message()
        await stream.publish(parts.ToolInputAvailable("c", "look", {"at": "Halle"}))
        await stream.publish(parts.ReasoningStart("r"))
        await stream.publish(parts.finished(usage={"inputTokens": 3}, finish_reason="length"))
    after = await stream.message()

    text = {"type": "text", "text": "It is sunny", "state": "done"}
    source = {"type": "source-url", "sourceId": "s", "url": "u"}
    call = {"type": "tool-look", "toolCallId": "c"}
    assert (
        {"type": "step-start"},
        text,
        source,
        call | {"state": "input-streaming", "input": {"at": "Hal"}, "rawInput": '{"at": "Hal'},
    ) == before.parts
    assert (
        call | {"state": "input-available", "input": {"at": "Halle"}},
        {"type": "reasoning", "id": "r", "text": "", "state": "done"},
    ) == after.parts[3:]
    assert "It is sunny" == after.text
    assert {"usage": {"inputTokens": 3}, "finishReason": "length"} == after.metadata
    assert parts.message_id_of(await stream.info()) == before.id == after.id


async def test_an_end_has_the_message(hub: Hub, session_id: str) -> None:
    """The one that the session has."""
    told: list[parts.Message] = []
    source: list[str | parts.AnyPart] = [parts.ReasoningDelta("r", "hm"), "Hi"]
    stream = await hub.run(session_id, source, on_end=lambda end: told.append(end.message))

    async def is_told() -> bool:
        return bool(told)

    await until(is_told)
    assert [await stream.message()] == told
    assert ["reasoning", "step-start", "text"] == [part["type"] for part in told[0].parts]


def test_a_message_is_written_as_a_ui_message() -> None:
    """By msgspec and by any other library."""
    message = parts.fold(["Hi"], message_id="m", status="finished")
    wanted = {
        "id": "m",
        "role": "assistant",
        "parts": [{"type": "step-start"}, {"type": "text", "text": "Hi", "state": "done"}],
    }

    assert wanted == message.to_dict() == json.loads(json.dumps(message.to_dict()))
    assert wanted == {"role": "assistant", **msgspec.json.decode(msgspec.json.encode(message))}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", msgspec.UNSET),
        ("x", msgspec.UNSET),
        ("-", msgspec.UNSET),
        ("NaN", msgspec.UNSET),
        ('{"a": 1, "b', {"a": 1}),
        ('{"a": [1, {"b": "x\\', {"a": [1, {"b": "x"}]}),
        ('["\\ud83d', ["\ufffd"]),
        ("[1.", [1]),
        ("[fa", [False]),
        ("[1] 2", [1]),
        ("[" * 100_000, msgspec.UNSET),
    ],
)
def test_what_is_sure_of_a_tools_input(text: str, value: Any) -> None:
    """While it is still being written, or breaks off."""
    assert value == partial_json(text)
