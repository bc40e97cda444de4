"""What a connection remembers of responses that nobody keeps."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
import pytest

from streamhub.gateway.errors import GatewayError
from streamhub.gateway.responses.lineage import Fields, Lineage, Turn

_fields = msgspec.json.Decoder(Fields).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


def turn(lineage: Lineage, text: Any = "hi", **more: Any) -> Turn:
    request = {"type": "response.create", "input": text, "store": False, **more}
    return lineage.turn(_fields(msgspec.json.encode(request)))


def remember(lineage: Lineage, name: str, asked: Turn, *output: dict[str, Any]) -> None:
    lineage.remember(name, asked, _items(msgspec.json.encode(output)))


def posted(asked: Turn) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(asked.body)
    return body


def said(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}


def test_what_is_posted_first_is_what_was_asked() -> None:
    """Without what belongs to connections."""
    asked = turn(Lineage(1000), stream_id="x", generate=True, background=False, model="m")
    assert {"input": "hi", "store": False, "stream": True, "model": "m"} == posted(asked)


def test_an_answer_is_told_once_more_as_far_as_it_can_be() -> None:
    """Items without ids, which name what is not kept, where nothing else names them; thoughts that
    were sent along, and calls that came to their end."""
    lineage = Lineage(10_000)
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"text": "Hm."}]}
    thoughts = [
        {**thought, "encrypted_content": "abc"},
        {**thought, "content": [{"text": "Hm."}]},
        {**thought, "id": "rs_00_1"},
    ]
    approval = {"type": "mcp_approval_request", "id": "mcpr_1"}
    remember(
        lineage,
        "resp_1",
        turn(lineage),
        thought,
        *thoughts,
        approval,
        MESSAGE,
        {**CALL, "status": "completed"},
        {**CALL, "call_id": "d", "status": "incomplete"},
    )
    items = posted(turn(lineage, "and?", previous_response_id="resp_1"))["input"]

    without_ids = [
        {name: value for name, value in one.items() if name != "id"} for one in (MESSAGE, CALL)
    ]
    assert [
        said("hi"),
        *thoughts,
        approval,
        without_ids[0],
        {**without_ids[1], "status": "completed"},
        said("and?"),
    ] == items


def test_what_somebody_else_keeps_is_named() -> None:
    """All after it is told."""
    lineage = Lineage(10_000)
    remember(lineage, "resp_2", turn(lineage, "a", previous_response_id="resp_1"), MESSAGE)
    remember(lineage, "resp_3", turn(lineage, "b", previous_response_id="resp_2"))
    body = posted(turn(lineage, "c", previous_response_id="resp_3"))

    assert "resp_1" == body["previous_response_id"]
    assert ["a", None, "b", "c"] == [one["content"] or None for one in body["input"]]


def test_the_newest_are_remembered() -> None:
    lineage = Lineage(100_000)
    for number in range(20):
        remember(lineage, f"resp_{number}", turn(lineage))
    known = [
        number
        for number in range(20)
        if turn(lineage, previous_response_id=f"resp_{number}").is_told
    ]
    assert [*range(4, 20)] == known


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    """Neither of several, nor of one."""
    lineage = Lineage(1000)
    remember(lineage, "resp_1", turn(lineage, "x" * 600))
    remember(lineage, "resp_2", turn(lineage, "y" * 600))
    names = ("resp_1", "resp_2")
    assert [False, True] == [turn(lineage, previous_response_id=one).is_told for one in names]
    remember(lineage, "resp_3", turn(lineage, "z" * 2000))
    assert [False] * 3 == [
        turn(lineage, previous_response_id=one).is_told for one in (*names, "resp_3")
    ]


def test_nothing_else_of_a_request_is_held() -> None:
    """Nor of an answer, of which the last event tells all that was asked once more."""
    lineage = Lineage(10_000)
    large = {"instructions": "x" * 1_000_000}
    tracemalloc.start()
    try:
        asked = turn(lineage, [said("hi")], **large)
        answered = msgspec.json.encode({"output": [MESSAGE], **large})
        output = _items(_fields(answered)["output"])
        lineage.remember("resp_1", asked, output)
        del asked, answered, output
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 100_000


def test_a_call_that_nobody_made_has_no_answer() -> None:
    lineage = Lineage(1000)
    remember(lineage, "resp_1", turn(lineage), {**CALL, "status": "completed"})
    output = {"type": "function_call_output", "call_id": "c", "output": "1"}

    assert turn(lineage, [output], previous_response_id="resp_1").is_told
    with pytest.raises(GatewayError, match=r"No tool call found .* 'd'"):
        turn(lineage, [{**output, "call_id": "d"}], previous_response_id="resp_1")


@pytest.mark.parametrize(
    "output",
    [
        {"type": "function_call_output", "call_id": {"a": 1}, "output": "1"},
        {"type": "function_call_output", "output": "1"},
        {"type": "local_shell_call_output", "id": "lsh_1", "output": "1"},
    ],
)
def test_an_answer_that_names_no_call_is_left_to_whoever_is_asked(output: dict[str, Any]) -> None:
    """Who answers a local shell names its call by the ``id``."""
    lineage = Lineage(1000)
    remember(lineage, "resp_1", turn(lineage))
    asked = turn(lineage, [output], previous_response_id="resp_1")
    assert [said("hi"), output] == posted(asked)["input"]


@pytest.mark.parametrize("text", [1, {"a": 1}, True])
def test_an_input_that_is_none_is_left_to_whoever_is_asked(text: Any) -> None:
    lineage = Lineage(1000)
    remember(lineage, "resp_1", turn(lineage))
    assert text == posted(turn(lineage, text, previous_response_id="resp_1"))["input"]


@pytest.mark.parametrize("text", [None, []])
def test_no_input_goes_on_with_what_was_said(text: Any) -> None:
    lineage = Lineage(1000)
    remember(lineage, "resp_1", turn(lineage))
    assert [said("hi")] == posted(turn(lineage, text, previous_response_id="resp_1"))["input"]
