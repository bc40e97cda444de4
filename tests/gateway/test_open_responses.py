"""What the gateway tells is what the Open Responses specification says, by its published types."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from streamhub import Hub
from streamhub.formats.sse import EventParser

from ..support.openai_upstream import (
    Call,
    Fails,
    Finish,
    OpenAIUpstream,
    Refusal,
    openai_upstream,
)
from .gateways import gateway

specified = pytest.importorskip("openresponses_types")

pytestmark = [
    pytest.mark.integrations,
    pytest.mark.parametrize("new_hub", ["memory"], indirect=True),
]

PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}


def message(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content, **more}


HI = message("user", "hi")
IMAGE = [{"type": "input_text", "text": "See?"}, {"type": "input_image", "image_url": PIXEL}]
#: A request, what the model says, and the kinds of items that come of it.
ANSWERS: dict[str, tuple[dict[str, Any], tuple[Any, ...], list[str]]] = {
    "a message": ({"input": [HI]}, ("Hello.",), ["message"]),
    "a system's message": ({"input": [message("system", "Be brief."), HI]}, ("Yo.",), ["message"]),
    "a conversation": (
        {"input": [HI, message("assistant", "And you?"), message("user", "Fine.")]},
        ("Good.",),
        ["message"],
    ),
    "phases": (
        {
            "input": [
                message("assistant", "I look it up.", phase="commentary"),
                message("assistant", "It is four.", phase="final_answer"),
                HI,
            ]
        },
        ("Four.",),
        ["message"],
    ),
    "a picture": ({"input": [message("user", IMAGE)]}, ("A dot.",), ["message"]),
    "a tool": (
        {"input": [HI], "tools": [TOOL]},
        ("Wait.", Call("weather", {"city": "Oslo"})),
        ["message", "function_call"],
    ),
    "a refusal": ({"input": "hi"}, (Refusal("No."),), ["message"]),
    "too long": ({"input": "hi", "max_output_tokens": 16}, ("a b", Finish("length")), ["message"]),
    "a failure": ({"input": "hi"}, ("a", Fails()), ["message"]),
}


@pytest.fixture(params=["chat", "responses"])
def upstream(request: pytest.FixtureRequest) -> Iterator[OpenAIUpstream]:
    with openai_upstream(dialects=[request.param]) as upstream:
        yield upstream


@pytest.fixture
async def client(hub: Hub, upstream: OpenAIUpstream) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": "Bearer sk-one"}
    async with (
        gateway(hub, upstream) as url,
        httpx.AsyncClient(base_url=url, headers=headers, verify=False) as client,
    ):
        yield client


def kinds_of_events() -> dict[str, Any]:
    """The class of each event that is specified."""
    found = {}
    for name, kind in vars(specified).items():
        if name.endswith("StreamingEvent"):
            (value,) = kind.model_fields["type"].annotation
            found[value.value] = kind
    return found


async def test_answers(client: httpx.AsyncClient, upstream: OpenAIUpstream) -> None:
    """Every event, and the Response of who streams, of who waits and of who asks for it later."""
    kinds = kinds_of_events()
    for asked, says, items in ANSWERS.values():
        upstream.answers(*says)
        streamed = await client.post("/responses", json={"model": "m", "stream": True, **asked})
        events = [
            httpx.Response(200, text=one.data).json()
            for one in EventParser().feed(streamed.content)
        ]
        last = events[-1]["response"]
        later = (await client.get(f"/responses/{last['id']}")).json()
        for event in events:
            if event["type"] != "error":
                kinds[event["type"]].model_validate(event)
        for response in (last, later):
            specified.ResponseResource.model_validate(response)
        assert items == [item["type"] for item in last["output"]]
        assert last == later
        if last["status"] != "failed":
            upstream.answers(*says)
            whole = (await client.post("/responses", json={"model": "m", **asked})).json()
            specified.ResponseResource.model_validate(whole)
            assert items == [item["type"] for item in whole["output"]]
            assert last["status"] == whole["status"]
