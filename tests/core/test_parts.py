"""The parts of a message: as typed values, as JSON, and folded into the message that they are."""

from __future__ import annotations

import json
import tracemalloc
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


def test_a_long_string_of_a_tools_input_is_read_in_little_memory() -> None:
    """It is a file that is being written, say: what is remembered of it is no more than its size,
    a few times."""
    size = 1_000_000
    text = '{"a": "' + "\\n" * (size // 2)
    tracemalloc.start()
    try:
        value = partial_json(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert {"a": "\n" * (size // 2)} == value
    assert peak < 10 * size


def test_a_message_of_many_calls_is_folded_once_through() -> None:
    """Its parts are not searched for each word on a call: that would take minutes here, in which
    the process renews no lease."""
    count = 8_000
    log: list[parts.AnyPart] = [parts.StartStep()]
    for number in range(count):
        call = f"call-{number}"
        log += [
            parts.ToolInputAvailable(call, "look", {}),
            parts.ToolApprovalRequest(f"approval-{number}", call),
            parts.ToolApprovalResponse(f"approval-{number}", True),
            parts.ToolOutputAvailable(call, number),
            parts.Data("place", number, id=call),
        ]
    folded = parts.fold([(parts.encode(part), parts.PART_EVENT) for part in log])

    calls = [part for part in folded.parts if part["type"] == "tool-look"]
    assert [*range(count)] == [part["output"] for part in calls]
    assert {"output-available"} == {part["state"] for part in calls}


def test_facts_are_merged_however_deep_they_are() -> None:
    """Deeper than functions may call each other."""
    depth = 700
    facts = [
        (f'{{"type": "message-metadata", "messageMetadata": {begins}}}', parts.PART_EVENT)
        for begins in ('{"a":' * depth + f'{{"{name}": 1}}' + "}" * depth for name in "xy")
    ]
    found = parts.fold(facts).metadata
    for _ in range(depth):
        found = found["a"]

    assert {"x": 1, "y": 1} == found


@pytest.mark.parametrize(
    "held",
    [
        [None, "text", 3, [], {}, {"type": 3}, {"text": "no type"}],
        [{"type": "text"}, {"type": "text", "text": None}, {"type": "reasoning", "text": 3}],
        [{"type": "tool-look"}, {"type": "dynamic-tool", "toolCallId": 3}],
        "parts",
        None,
    ],
)
def test_an_answer_goes_on_in_whatever_message_a_page_has_posted(held: Any) -> None:
    """What is no part is left out of it, and all else can be folded: an end is told of it."""
    text = {"type": "text", "text": "Hi ", "toolCallId": "c"}
    whole = [*held, text] if isinstance(held, list) else held
    begins = (json.dumps({"id": "m", "parts": whole}), parts.MESSAGE_EVENT)
    result = (parts.encode(parts.ToolOutputAvailable("c", 1)), parts.PART_EVENT)
    folded = parts.fold([begins, result, "there"], status="finished")

    kept = [text] if isinstance(held, list) else []
    said = [{"type": "step-start"}, {"type": "text", "text": "there", "state": "done"}]
    assert [*kept, *said] == folded.to_dict()["parts"]
    assert folded.text.endswith("there")
