"""Chunks of a chat completion, folded into what is answered without ``stream``."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from streamhub.formats.sse import EventParser
from streamhub.gateway.chat.folding import fold

from ..support.openai_upstream import Call, Finish, Refusal, Thought, openai_upstream
from .chatting import KEY, PATH, chat

ANSWERS: list[tuple[Any, ...]] = [
    ("Hé 世界 two",),
    ("one", Finish("length")),
    (Refusal("I would rather not."),),
    (Thought("Let me see."), "Yes", Call("a", {"x": 1}), Call("b", '{"y": [1, 2]}', "call_2")),
]


@pytest.mark.parametrize("says", ANSWERS)
def test_it_is_what_the_upstream_says_without_stream(says: tuple[Any, ...]) -> None:
    """But for the id, and fields that have nothing in them."""
    with openai_upstream() as upstream, httpx.Client(headers=KEY, verify=False) as client:
        upstream.answers(*says)
        upstream.answers(*says)
        whole = client.post(f"{upstream.url}{PATH}", json=chat(stream=False)).json()
        asks = chat(stream_options={"include_usage": True})
        streamed = client.post(f"{upstream.url}{PATH}", json=asks)
    data = [event.data for event in EventParser().feed(streamed.content)]

    folded = fold(json.loads(one) for one in data[:-1])

    folded["choices"][0]["message"].setdefault("refusal", None)
    if not folded["choices"][0]["message"]["content"]:
        folded["choices"][0]["message"]["content"] = None
    assert {**whole, "id": folded["id"]} == folded


@pytest.mark.parametrize("index", [[1], {}, 1.5, None, "a"])
def test_any_index_tells_parts_apart(index: Any) -> None:
    """Whatever a server counts by."""
    calls = [{"index": index, "function": {"arguments": one}} for one in "{}"]
    deltas = [{"content": "a", "tool_calls": [call]} for call in calls]
    folded = fold({"choices": [{"index": index, "delta": delta}]} for delta in deltas)

    [choice] = folded["choices"]
    assert (index, "aa") == (choice["index"], choice["message"]["content"])
    if index is not None:
        assert [{"function": {"arguments": "{}"}}] == choice["message"]["tool_calls"]


def test_what_it_knows_nothing_of_is_kept() -> None:
    """Several choices, log probabilities, names said with each piece, fields of one provider's."""
    chunks: list[dict[str, Any]] = [
        {"id": "a", "model": "m", "choices": [{"index": 1, "delta": {"content": "B"}}]},
        {
            "id": "a",
            "citations": ["x"],
            "choices": [
                {"index": 0, "delta": {"content": "A", "x": {"n": 1}}, "logprobs": None},
                {"index": 0, "delta": {"x": {"n": 2}}, "logprobs": {"content": [{"token": "A"}]}},
                {"index": 0, "delta": {}, "logprobs": {"content": [{"token": "!"}]}},
            ],
        },
        *(
            {
                "choices": [
                    {
                        "index": 0,
                        "delta": {
                            "tool_calls": [
                                {"index": 0, "id": "c", "function": {"name": "f", "arguments": one}}
                            ]
                        },
                    }
                ]
            }
            for one in ("{", "}")
        ),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": {"total_tokens": 3}, "system_fingerprint": None},
    ]

    assert {
        "object": "chat.completion",
        "id": "a",
        "model": "m",
        "citations": ["x"],
        "usage": {"total_tokens": 3},
        "system_fingerprint": None,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "A",
                    "x": {"n": 2},
                    "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
                },
                "logprobs": {"content": [{"token": "A"}, {"token": "!"}]},
                "finish_reason": "tool_calls",
            },
            {
                "index": 1,
                "message": {"role": "assistant", "content": "B"},
                "finish_reason": None,
            },
        ],
    } == fold(chunks)
