"""Chunks of chat completions, one fact each."""

from __future__ import annotations

from typing import Any

from streamhub.gateway.translation import ChatAnswer, new_response

__all__ = ["ANSWERS", "USAGE", "call", "chunk", "kinds", "translated", "usage"]

USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 5,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
LOGPROB = {"token": "Hé", "bytes": [72, 195, 169], "logprob": -0.5, "top_logprobs": []}


def chunk(
    reason: str | None = None, *, logprobs: Any = None, index: int = 0, **delta: Any
) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": reason, "logprobs": logprobs}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m-1", "choices": [choice]}


def usage() -> dict[str, Any]:
    return {"id": "c1", "model": "m-1", "choices": [], "usage": USAGE}


def call(index: int, *, id: str | None = None, **function: Any) -> dict[str, Any]:  # noqa: A002
    told = {"index": index, "function": function, **({"id": id} if id else {})}
    return chunk(tool_calls=[told])


# fmt: off
#: Chunks of an answer, and the events that they become, those before and after all left out.
ANSWERS: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "nothing": ([chunk(role="assistant", content=""), chunk("stop")], []),
    "text": (
        [chunk(content=""), chunk(content="Hé"), chunk("stop", content="llo")],
        [
            "0 message added", "0.0 output_text added", "0.0 text +Hé", "0.0 text +llo",
            "0.0 text done Héllo", "0.0 output_text done", "0 message done completed",
        ],
    ),
    "cut short": (
        [chunk(content="a"), chunk("length")],
        [
            "0 message added", "0.0 output_text added", "0.0 text +a", "0.0 text done a",
            "0.0 output_text done", "0 message done incomplete",
        ],
    ),
    "a thought before text": (
        [chunk(reasoning_content="Hm"), chunk(reasoning=" so"), chunk(content="a"), chunk("stop")],
        [
            "0 reasoning added", "0.0 reasoning_text added", "0.0 reasoning +Hm",
            "0.0 reasoning + so", "0.0 reasoning done Hm so", "0.0 reasoning_text done",
            "0 reasoning done completed",
            "1 message added", "1.0 output_text added", "1.0 text +a", "1.0 text done a",
            "1.0 output_text done", "1 message done completed",
        ],
    ),
    "text and a refusal": (
        [chunk(content="a"), chunk(refusal="No"), chunk("content_filter")],
        [
            "0 message added", "0.0 output_text added", "0.0 text +a", "0.0 text done a",
            "0.0 output_text done", "0.1 refusal added", "0.1 refusal +No", "0.1 refusal done No",
            "0.1 refusal done", "0 message done incomplete",
        ],
    ),
    "two calls that take turns after text": (
        [
            chunk(content="a"),
            call(0, id="x", name="f", arguments=""),
            call(0, arguments='{"a'),
            call(1, id="y", name="g", arguments="{"),
            call(0, arguments='":1}'),
            call(1, arguments="}"),
            chunk("tool_calls"),
        ],
        [
            "0 message added", "0.0 output_text added", "0.0 text +a", "0.0 text done a",
            "0.0 output_text done", "0 message done completed",
            "1 function_call added", '1 arguments +{"a', "2 function_call added", "2 arguments +{",
            '1 arguments +":1}', "2 arguments +}",
            '1 arguments done {"a":1}', "1 function_call done completed",
            "2 arguments done {}", "2 function_call done completed",
        ],
    ),
    "calls that are all counted as the first": (
        [
            call(0, id="x", name="f", arguments="{}"),
            call(0, id="x", name="f", arguments=" "),
            call(0, id="y", name="g", arguments="{}"),
        ],
        [
            "0 function_call added", "0 arguments +{}", "0 arguments + ",
            "1 function_call added", "1 arguments +{}",
            "0 arguments done {} ", "0 function_call done completed",
            "1 arguments done {}", "1 function_call done completed",
        ],
    ),
    "a call of the older kind": (
        [chunk(function_call={"name": "f", "arguments": "{}"}), chunk("function_call")],
        [
            "0 function_call added", "0 arguments +{}", "0 arguments done {}",
            "0 function_call done completed",
        ],
    ),
    "text between two thoughts, in blocks": (
        [
            chunk(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]),
            chunk(content=[{"type": "text", "text": "a"}]),
            chunk(reasoning="?"),
        ],
        [
            "0 reasoning added", "0.0 reasoning_text added", "0.0 reasoning +Hm",
            "0.0 reasoning done Hm", "0.0 reasoning_text done", "0 reasoning done completed",
            "1 message added", "1.0 output_text added", "1.0 text +a", "1.0 text done a",
            "1.0 output_text done", "1 message done completed",
            "2 reasoning added", "2.0 reasoning_text added", "2.0 reasoning +?",
            "2.0 reasoning done ?", "2.0 reasoning_text done", "2 reasoning done completed",
        ],
    ),
    "a citation, probabilities, and another choice": (
        [
            chunk(content="Hé", logprobs={"content": [LOGPROB]}),
            chunk(content="of another", index=1),
            chunk(
                annotations=[
                    {"type": "url_citation", "url_citation": {
                        "url": "http://x", "title": "X", "start_index": 0, "end_index": 2}}
                ]
            ),
        ],
        [
            "0 message added", "0.0 output_text added", "0.0 text +Hé", "0.0 annotation added",
            "0.0 text done Hé", "0.0 output_text done", "0 message done completed",
        ],
    ),
}
# fmt: on


def translated(
    chunks: list[dict[str, Any]], request: dict[str, Any] | None = None, *, done: bool = True
) -> list[dict[str, Any]]:
    """All events of an answer, numbered as a session numbers them."""
    answer = ChatAnswer(new_response(request or {"model": "m"}, "resp_0a", 1_700_000_000))
    events = answer.begin()
    for one in chunks:
        events += answer.take(one)
    events += answer.end(done=done, at=1_700_000_009)
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """The events between the first two and the last, each in one line."""
    return [_line(event) for event in events[2:-1]]


def _line(event: dict[str, Any]) -> str:
    kind = event["type"].removeprefix("response.")
    number = event.get("content_index", event.get("summary_index"))
    where = f"{event['output_index']}" if number is None else f"{event['output_index']}.{number}"
    subject, _, what = kind.rpartition(".")
    if subject == "output_item":
        item = event["item"]
        return f"{where} {item['type']} {what}" + (f" {item['status']}" if what == "done" else "")
    if subject in ("content_part", "reasoning_summary_part"):
        return f"{where} {event['part']['type']} {what}"
    short = {
        "output_text": "text",
        "output_text.annotation": "annotation",
        "reasoning_text": "reasoning",
        "reasoning_summary_text": "summary",
        "function_call_arguments": "arguments",
    }.get(subject, subject)
    if what == "delta":
        return f"{where} {short} +{event['delta']}"
    said = next((event[name] for name in ("text", "refusal", "arguments") if name in event), None)
    return f"{where} {short} {what}" + ("" if said is None else f" {said}")
