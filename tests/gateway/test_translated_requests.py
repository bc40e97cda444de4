"""What a request of the Responses API asks of an upstream that speaks Chat Completions."""

from __future__ import annotations

from typing import Any

import pytest

from streamhub.gateway.translation import (
    Untranslatable,
    chat_request,
    input_items,
    named_responses,
    new_response,
)

STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
ASKED_TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object"}, "strict": True},
}
SCHEMA = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text}],
    }


def call(name: str, call_id: str) -> dict[str, Any]:
    return {"type": "function_call", "name": name, "call_id": call_id, "arguments": "{}"}


def asked_call(name: str, call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": "{}"}}


def result(call_id: str, output: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def thought(text: str) -> dict[str, Any]:
    return {
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": text}],
    }


MESSAGES: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "a text": ("hi", [user("hi")]),
    "roles": (
        [
            {"role": "system", "content": "a"},
            {"role": "developer", "content": [{"type": "input_text", "text": "b"}]},
            user("hi"),
            {"role": "assistant", "content": "c"},
        ],
        [
            {"role": "system", "content": "a"},
            {"role": "system", "content": "b"},
            user("hi"),
            {"role": "assistant", "content": "c"},
        ],
    ),
    "pictures, files, sound": (
        [
            user(
                [
                    {"type": "input_text", "text": "see"},
                    {"type": "input_image", "image_url": "data:,", "detail": "low"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:,"},
                    {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
                ]
            )
        ],
        [
            user(
                [
                    {"type": "text", "text": "see"},
                    {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:,"}},
                    {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
                ]
            )
        ],
    ),
    "calls and their results": (
        [
            user("hi"),
            said("wait"),
            call("f", "x"),
            call("g", "y"),
            result("x", "1"),
            result("y", [{"type": "input_text", "text": "2"}]),
            said("so"),
        ],
        [
            user("hi"),
            {
                "role": "assistant",
                "content": "wait",
                "tool_calls": [asked_call("f", "x"), asked_call("g", "y")],
            },
            {"role": "tool", "tool_call_id": "x", "content": "1"},
            {"role": "tool", "tool_call_id": "y", "content": "2"},
            {"role": "assistant", "content": "so"},
        ],
    ),
    "a refusal, and a message in two items": (
        [
            said("a"),
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "refusal", "refusal": "No"}],
            },
        ],
        [{"role": "assistant", "content": "a\n\nNo"}],
    ),
    "a thought that is none": ([{"type": "reasoning", "content": 5}, user("hi")], [user("hi")]),
    "thoughts of this turn, and of one before": (
        [
            user("1"),
            thought("old"),
            call("f", "x"),
            result("x", ""),
            user("2"),
            thought("new"),
            call("f", "y"),
        ],
        [
            user("1"),
            {"role": "assistant", "content": None, "tool_calls": [asked_call("f", "x")]},
            {"role": "tool", "tool_call_id": "x", "content": ""},
            user("2"),
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "new",
                "tool_calls": [asked_call("f", "y")],
            },
        ],
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name: str) -> None:
    """Items are the messages of a chat; what a model says and calls in a row is one of them."""
    given, expected = MESSAGES[name]

    asked = chat_request({"model": "m", "input": given})

    assert {"model": "m", "messages": expected, **STREAMED} == asked


PARAMETERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the same in both": (
        {"temperature": 0, "top_p": 0.5, "user": "u", "service_tier": "flex"},
        {"temperature": 0, "top_p": 0.5, "user": "u", "service_tier": "flex"},
    ),
    "what neither knows": ({"top_k": 3, "seed": 1}, {"top_k": 3, "seed": 1}),
    "ours": (
        {
            "store": True,
            "background": True,
            "metadata": {"a": "b"},
            "include": ["reasoning.encrypted_content"],
            "truncation": "disabled",
        },
        {},
    ),
    "nothing said": ({"temperature": None, "tools": None, "text": None, "reasoning": None}, {}),
    "limits": (
        {"max_output_tokens": 9, "reasoning": {"effort": "low", "summary": "auto"}},
        {"max_tokens": 9, "reasoning_effort": "low"},
    ),
    "plain text": (
        {"text": {"format": {"type": "text"}, "verbosity": "low"}},
        {"verbosity": "low"},
    ),
    "some JSON": (
        {"text": {"format": {"type": "json_object"}}},
        {"response_format": {"type": "json_object"}},
    ),
    "a schema": (
        {"text": {"format": SCHEMA}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
            }
        },
    ),
    "tools": (
        {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
        {"tools": [ASKED_TOOL], "tool_choice": "required", "parallel_tool_calls": False},
    ),
    "one tool": (
        {"tools": [TOOL], "tool_choice": {"type": "function", "name": "f"}},
        {"tools": [ASKED_TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
    ),
    "some tools": (
        {
            "tools": [TOOL, {**TOOL, "name": "g"}],
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}],
            },
        },
        {"tools": [ASKED_TOOL], "tool_choice": "auto"},
    ),
    "a choice without tools": (
        {"tool_choice": "auto", "tools": [], "parallel_tool_calls": True},
        {},
    ),
    "probabilities": (
        {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
        {"logprobs": True, "top_logprobs": 2},
    ),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name: str) -> None:
    """Each goes where the other dialect has it; what nobody needs goes nowhere."""
    given, expected = PARAMETERS[name]

    asked = chat_request({"model": "m", "input": "hi", **given})

    assert {"model": "m", "messages": [user("hi")], **expected, **STREAMED} == asked


REFUSED: dict[str, dict[str, Any]] = {
    "model": {"model": None},
    "input": {"input": None},
    "input[0]": {"input": ["hi"]},
    "input[0].role": {"input": [{"role": "tool", "content": "a"}]},
    "input[1].type": {"input": [user("hi"), {"type": "computer_call"}]},
    "input[0].content": {"input": [{"role": "user"}]},
    "input[0].content[0].type": {"input": [user([{"type": "input_video"}])]},
    "input[0].content[0].text": {"input": [user([{"type": "input_text", "text": 3}])]},
    "input[0].content[0].file_id": {"input": [user([{"type": "input_image", "file_id": "f"}])]},
    "input[0].content[0].file_url": {"input": [user([{"type": "input_file", "file_url": "u"}])]},
    "input[0].output[0].type": {"input": [result("x", [{"type": "input_image"}])]},
    "input[0].call_id": {"input": [{**call("f", "x"), "call_id": None}]},
    "input[0].id": {"input": [{"type": "item_reference", "id": "msg_00_0b"}]},
    "instructions": {"instructions": ["a"]},
    "include": {"include": 3},
    "reasoning": {"reasoning": "high"},
    "text": {"text": "json"},
    "text.format": {"text": {"format": "json"}},
    "tools": {"tools": {"type": "function"}},
    "tools[1].type": {"tools": [TOOL, {"type": "web_search"}]},
    "tool_choice": {"tools": [TOOL], "tool_choice": {"type": "web_search"}},
    "text.format.type": {"text": {"format": {"type": "grammar"}}},
    "truncation": {"truncation": "auto"},
    "conversation": {"conversation": "conv_1"},
    "prompt": {"prompt": {"id": "p"}},
    "n": {"n": 2},
    "messages": {"messages": []},
}


@pytest.mark.parametrize("param", REFUSED)
def test_what_cannot_be_asked(param: str) -> None:
    """It is refused by the name of the parameter, never left out."""
    earlier = [user("before")]
    with pytest.raises(Untranslatable) as refused:
        chat_request(
            {"model": "m", "input": "hi", **REFUSED[param]}, [] if param == "input" else earlier
        )

    assert param == refused.value.param
    assert param in str(refused.value) or "not found" in str(refused.value)


def test_what_was_asked_and_answered_before() -> None:
    """It comes first; instructions are those of this request alone."""
    earlier = [*input_items({"input": "1"}), said("one")]

    asked = chat_request({"model": "m", "input": "2", "instructions": "Be brief."}, earlier)

    assert [
        {"role": "system", "content": "Be brief."},
        user("1"),
        {"role": "assistant", "content": "one"},
        user("2"),
    ] == asked["messages"]


def test_items_that_are_only_named() -> None:
    """The response that an item belongs to is found by its id; it stands where it was named."""
    named = {**said("one"), "id": "msg_01_0b"}
    references = [
        {"type": "item_reference", "id": "msg_01_0b"},
        {"type": "item_reference", "id": "?"},
    ]

    assert ["resp_0b"] == named_responses([user("1"), *references])
    asked = chat_request(
        {"model": "m", "input": [user("1"), references[0], user("2")]}, named=[named]
    )
    assert ["1", "one", "2"] == [message["content"] for message in asked["messages"]]


def test_a_new_response() -> None:
    """It tells what was asked, with the defaults of what was not."""
    response = new_response(
        {
            "model": "m",
            "input": "hi",
            "tools": [TOOL],
            "temperature": 0,
            "reasoning": {"effort": "low"},
        },
        "resp_0a",
        5,
    )

    assert ("resp_0a", "in_progress", 5, []) == tuple(
        response[name] for name in ("id", "status", "created_at", "output")
    )
    assert (0, 1.0, True, "auto") == tuple(
        response[name] for name in ("temperature", "top_p", "store", "tool_choice")
    )
    assert {"effort": "low", "summary": None} == response["reasoning"]
    assert [{"description": None, **TOOL}] == response["tools"]
    # What an upstream may let pass, or refuse.
    odd = new_response({"reasoning": "high", "text": 5, "tools": {}}, "resp_0a", 5)
    assert [] == odd["tools"]
