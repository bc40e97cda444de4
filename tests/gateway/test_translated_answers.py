"""What chunks of a chat completion become: events of a Response, and the Response itself."""

from __future__ import annotations

from typing import Any

import pytest

from streamhub.gateway.translation import ChatAnswer, ResponseFold, chunk_of, new_response

from .completions import ANSWERS, call, chunk, kinds, translated, usage

MESSAGE = {
    "id": "msg_00_0a",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}],
}


@pytest.mark.parametrize("name", ANSWERS)
def test_events(name: str) -> None:
    """Each row of the machine's table, in the order of what the model says."""
    chunks, expected = ANSWERS[name]

    events = translated(chunks)

    assert expected == kinds(events)


@pytest.mark.parametrize("name", ANSWERS)
def test_the_response_is_the_fold_of_its_events(name: str) -> None:
    """With what came until then, at each event; at the end it is what the last event has."""
    events = translated([*ANSWERS[name][0], usage()])
    fold = ResponseFold()
    before = fold.response

    for event in events[:-1]:
        fold.take(event)
        fold.response  # noqa: B018 - a look in between changes nothing
    output = [] if fold.response is None else fold.response["output"]
    fold.take(events[-1])

    assert before is None
    assert output == events[-1]["response"]["output"]
    assert events[-1]["response"] == fold.response


def test_a_response_that_is_under_way_folds_what_was_said() -> None:
    """Deltas count before their item is done."""
    answer = ChatAnswer(new_response({"model": "m"}, "resp_0a", 1))
    fold = ResponseFold()
    events = [*answer.begin(), *answer.take(chunk(content="a")), *answer.take(chunk(content="b"))]
    for event in events:
        fold.take(event)

    assert fold.response is not None
    assert "in_progress" == fold.response["status"] == fold.response["output"][0]["status"]
    assert "ab" == fold.response["output"][0]["content"][0]["text"]
    assert answer.response["output"] == fold.response["output"]


@pytest.mark.parametrize(
    "output",
    [
        5,
        [5],
        [{"type": "message", "content": 5}],
        [{"type": "message", "content": None}],
        [{"type": "message", "content": ["a"]}],
        [{"type": "message", "content": [{"text": 5, "annotations": None}]}],
    ],
)
def test_a_response_that_is_none_is_folded_all_the_same(output: Any) -> None:
    """Whoever asks how it stands is told what can be read of it."""
    fold = ResponseFold()
    at = {"output_index": 0, "content_index": 0}
    note = {"type": "response.output_text.annotation.added", "annotation": {"type": "a"}}
    fold.take({"type": "response.created", "response": {"status": "x", "output": output}})
    fold.take({"type": "response.output_text.delta", "delta": "b", **at})
    fold.take({**note, **at})

    assert fold.response is not None
    [part] = fold.response["output"][0]["content"]
    assert ("x", "b", [{"type": "a"}]) == (
        fold.response["status"],
        part["text"],
        part["annotations"],
    )


def test_events_that_do_not_number_their_items() -> None:
    """As a server sends them that leaves it to the items' ids; what is no event of an answer, or
    not well formed, changes nothing."""
    fold = ResponseFold()
    unnumbered = ("output_index", "content_index", "summary_index")
    chunks = ANSWERS["two calls that take turns after text"][0]
    events = translated(chunks)
    for event in events[:-1]:
        fold.take({name: value for name, value in event.items() if name not in unnumbered})
        fold.take({"type": "keepalive"})
        fold.take({"type": "response.output_item.done"})
        fold.take({"type": "response.output_text.delta", "delta": None})

    assert fold.response is not None
    assert events[-1]["response"]["output"] == fold.response["output"]


ENDS: dict[str, tuple[list[dict[str, Any]], bool, str, Any]] = {
    "it stops": ([chunk(content="a"), chunk("stop")], True, "completed", None),
    "it calls": ([call(0, id="x", name="f"), chunk("tool_calls")], True, "completed", None),
    "for a reason of its own": ([chunk(content="a"), chunk("eos")], True, "completed", None),
    "without a word": ([chunk(content="a")], True, "completed", None),
    "without [DONE]": ([chunk(content="a"), chunk("stop")], False, "completed", None),
    "too long": ([chunk("length")], True, "incomplete", "max_output_tokens"),
    "filtered": ([chunk("content_filter")], True, "incomplete", "content_filter"),
    "broken off": ([chunk(content="a")], False, "failed", "server_error"),
    "in an error": ([chunk(content="a"), chunk("error")], True, "failed", "server_error"),
    "told as an error": ([{"error": {"message": "no"}}], True, "failed", "server_error"),
    "too many": (
        [{"error": {"code": 429, "message": "no"}}],
        True,
        "failed",
        "rate_limit_exceeded",
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends(name: str) -> None:
    """Exactly one last event has the status, and why; of a failure every item stays unfinished."""
    chunks, done, status, why = ENDS[name]

    events = translated(chunks, done=done)
    last = events[-1]["response"]
    told = last["incomplete_details"] or last["error"] or {}

    assert (f"response.{status}", status) == (events[-1]["type"], last["status"])
    assert why == told.get("reason", told.get("code"))
    assert (status == "completed") == (last["completed_at"] == 1_700_000_009)
    if status == "failed":
        assert {"incomplete"} >= {item["status"] for item in last["output"]}


def test_what_a_response_tells() -> None:
    """The model that answered, the usage with its details, and its items."""
    last = translated([chunk(content="a"), chunk("stop"), usage()])[-1]["response"]
    usage_told = {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 12,
    }

    assert ("m-1", usage_told, [MESSAGE]) == (last["model"], last["usage"], last["output"])


def test_a_summary_for_who_asks_for_one() -> None:
    """What the model thinks is told as the summary that the client shows."""
    asked = {"model": "m", "reasoning": {"summary": "auto"}}

    events = translated([chunk(reasoning="Hm"), chunk("stop")], asked)

    assert [
        "0 reasoning added",
        "0.0 summary_text added",
        "0.0 summary +Hm",
        "0.0 summary done Hm",
        "0.0 summary_text done",
        "0 reasoning done completed",
    ] == kinds(events)
    (item,) = events[-1]["response"]["output"]
    assert [{"type": "summary_text", "text": "Hm"}] == item["summary"]


def test_a_completion_that_was_not_streamed() -> None:
    """It says the same as its chunks."""
    calls = [
        {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "y", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    message = {"role": "assistant", "content": "a", "refusal": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    whole = {"model": "m-1", "choices": [choice], "usage": usage()["usage"]}
    pieces = [
        chunk(content="a"),
        call(0, id="x", name="f", arguments="{}"),
        call(1, id="y", name="g", arguments="{}"),
        chunk("tool_calls"),
        usage(),
    ]

    assert translated(pieces)[-1]["response"] == translated([chunk_of(whole)])[-1]["response"]


def test_a_call_without_an_id_gets_one() -> None:
    """Each its own, and the same at every look: who answers the call has to name it."""
    calls = [call(0, name="f", arguments="{}"), call(1, name="f", arguments="{}")]
    one, two = translated(calls)[-1]["response"]["output"]

    assert one["call_id"] != two["call_id"]
    assert [one, two] == translated(calls)[-1]["response"]["output"]


def test_two_calls_of_one_id_are_two() -> None:
    """Who answers them names each: the second gets an id of its own."""
    calls = [call(n, id="c", name="f", arguments="{}") for n in range(3)]
    output = translated([*calls, usage()])[-1]["response"]["output"]

    assert ["c", "call_01_0a", "call_02_0a"] == [item["call_id"] for item in output]


def test_nothing_follows_an_end() -> None:
    """What an upstream still says after its error is not told."""
    answer = ChatAnswer(new_response({"model": "m"}, "resp_0a", 1))
    with pytest.raises(RuntimeError, match="new, not under way"):
        answer.take(chunk(content="a"))
    answer.begin()
    answer.fail("server_error", "gone")

    assert answer.is_over
    assert ([], [], []) == (
        answer.take(chunk(content="a")),
        answer.end(done=True),
        answer.fail("x", "y"),
    )
