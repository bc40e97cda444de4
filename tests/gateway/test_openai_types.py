"""OpenAI's own types and accumulator are the judges of translated answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import httpx
import pytest
from hypothesis import given, settings, strategies as st

from streamhub.gateway.translation import ResponseFold

from .completions import ANSWERS, call, chunk, translated, usage

openai = pytest.importorskip("openai")
pytestmark = pytest.mark.integrations

FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
REQUESTS: list[dict[str, Any]] = [
    {"model": "m"},
    {
        "model": "m",
        "instructions": "Be brief.",
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "tools": [FUNCTION],
        "tool_choice": {"type": "function", "name": "f"},
        "metadata": {"a": "b"},
        "max_output_tokens": 9,
        "background": True,
    },
]

texts = st.sampled_from(["a", " b", "é", ""])
chunks = st.one_of(
    texts.map(lambda text: chunk(content=text)),
    texts.map(lambda text: chunk(reasoning_content=text)),
    texts.map(lambda text: chunk(refusal=text)),
    st.builds(
        lambda index, known, text: call(
            index, id=f"c{known}" if known else None, name="f", arguments=text
        ),
        st.integers(0, 2),
        st.integers(0, 2),
        texts,
    ),
    st.builds(lambda index, text: call(index, arguments=text), st.integers(0, 2), texts),
    st.just(usage()),
    st.just({"error": {"message": "no", "code": 500}}),
    st.sampled_from(["stop", "length", "content_filter"]).map(chunk),
)


def types() -> Iterator[tuple[str, Any]]:
    """Of each event, the class of the package."""
    from openai.types.responses import ResponseStreamEvent

    union = get_args(ResponseStreamEvent)[0]
    for kind in get_args(union):
        field = kind.model_fields["type"].annotation
        if get_origin(field) is Literal:
            yield get_args(field)[0], kind


TYPES = dict(types())


def validate(events: list[dict[str, Any]]) -> None:
    """
    :raises pydantic.ValidationError: an event is none of the package.
    """
    for event in events:
        TYPES[event["type"]].model_validate(event, strict=True)


def accumulated(events: list[dict[str, Any]]) -> tuple[list[Any], Any]:
    """What the client's ``responses.stream`` makes of a stream of these, over its own HTTP."""
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    answered = httpx.Response(200, text=body, headers={"content-type": "text/event-stream"})
    http = httpx.Client(transport=httpx.MockTransport(lambda _: answered))
    with (
        openai.OpenAI(api_key="k", base_url="http://x/v1", http_client=http) as client,
        client.responses.stream(model="m", input="hi") as stream,
    ):
        return list(stream), stream._state._completed_response


@pytest.mark.parametrize("request_", REQUESTS, ids=["plain", "full"])
@pytest.mark.parametrize("name", ANSWERS)
def test_every_event_is_one_of_the_package(name: str, request_: dict[str, Any]) -> None:
    """With all that it requires; and its accumulator comes to the same Response."""
    events = translated([*ANSWERS[name][0], usage()], request_)

    validate(events)
    told, response = accumulated(events)
    assert [event["type"] for event in events] == [event.type for event in told]
    if events[-1]["type"] == "response.completed":
        output = events[-1]["response"]["output"]
        assert [item["type"] for item in output] == [item.type for item in response.output]


@settings(max_examples=60, deadline=None)
@given(said=st.lists(chunks, max_size=12), request_=st.sampled_from(REQUESTS), done=st.booleans())
def test_whatever_a_server_says(
    said: list[dict[str, Any]], request_: dict[str, Any], done: bool
) -> None:
    """In any order, it becomes events of the package, in an order that its accumulator takes, and
    their fold is the Response at the end."""
    events = translated(said, request_, done=done)
    fold = ResponseFold()
    for event in events:
        fold.take(event)

    validate(events)
    accumulated(events)
    assert events[-1]["response"] == fold.response
