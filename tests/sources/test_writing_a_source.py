"""The page on writing a source: its sources are drawn from, and its tests pass on its template."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from streamhub import Hub, ProducerFailed, parts
from streamhub.testing.fixtures import memory_hub, streamhub_config
from streamhub.testing.waiting import patience

from ..http.serving import served

__all__ = ["memory_hub", "streamhub_config"]

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-source.md"
GENERATORS, TEMPLATE, SUITE = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
CALL = {"function": {"name": "look", "arguments": {"at": "lamp"}}}
DONE = {"done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}
SAID: dict[str, list[dict[str, Any]]] = {
    "lamp": [
        {"message": {"content": "", "thinking": "A lamp…"}},
        {"message": {"content": "The lamp "}},
        {"message": {"content": "turns."}},
        {"model": "lamp", "message": {"content": ""}, **DONE},
    ],
    "broken": [{"message": {"content": "The"}}],
    "endless": [{"message": {"content": "The"}}],
    "tool": [{"message": {"content": "", "tool_calls": [CALL, CALL]}}, DONE],
    "failing": [{"message": {"content": "The"}}, {"error": "no memory left"}],
}


def imported(name: str, source: str) -> ModuleType:
    """The module, as if the block of the page stood in a file of that name."""
    spec = spec_from_loader(name, loader=None)
    assert spec is not None
    module = sys.modules[name] = module_from_spec(spec)
    exec(compile(source, f"{PAGE}: {name}.py", "exec"), module.__dict__)
    return module


my_source = imported("my_source", TEMPLATE)
suite = imported("test_my_source", SUITE)
test_it_says_what_the_model_says = suite.test_it_says_what_the_model_says
test_an_answer_that_breaks_off_has_failed = suite.test_an_answer_that_breaks_off_has_failed
test_a_cancel_hangs_up = suite.test_a_cancel_hangs_up


@pytest.fixture
def hung_up() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def address(hung_up: asyncio.Event) -> AsyncIterator[str]:
    async def ollama(scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while (got := await receive())["type"] == "http.request":
            body += got["body"]
            if not got["more_body"]:
                break
        model = json.loads(body)["model"]
        status = 200 if model in SAID else 429
        await send({"type": "http.response.start", "status": status})
        for event in SAID.get(model, ()):
            line = json.dumps(event).encode() + b"\n"
            for piece in (line[:9], line[9:]):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        if model == "endless":
            while (await receive())["type"] != "http.disconnect":
                pass
            hung_up.set()
        await send({"type": "http.response.body"})

    async with served(ollama) as url:
        yield url


async def test_what_it_thinks_and_calls(memory_hub: Hub, address: str) -> None:
    """Parts of the message: a reasoning that is over, and two calls that are told apart."""
    async with httpx.AsyncClient(base_url=address) as client:
        for model in ("lamp", "tool"):
            stream = await memory_hub.run(model, my_source.ollama(client, model=model))
            await stream.wait(patience())
    thought = await (await memory_hub.get("lamp")).message()  # type: ignore[union-attr]
    called = await (await memory_hub.get("tool")).message()  # type: ignore[union-attr]

    assert ["step-start", "reasoning", "text"] == [part["type"] for part in thought.parts]
    assert ("A lamp…", "done") == (thought.parts[1]["text"], thought.parts[1]["state"])
    assert [{"at": "lamp"}] * 2 == [part["input"] for part in called.parts[1:]]
    assert "tool-calls" == called.metadata["finishReason"]


@pytest.mark.parametrize(
    ("model", "kind", "why"),
    [("failing", "provider", "no memory left"), ("busy", "rate_limit", "429")],
)
async def test_its_failures_have_a_kind(
    memory_hub: Hub, address: str, model: str, kind: str, why: str
) -> None:
    """What the provider says in its answer, and the status of a refusal."""
    async with httpx.AsyncClient(base_url=address) as client:
        stream = await memory_hub.run("chat:1", my_source.ollama(client, model=model))
        with pytest.raises(ProducerFailed, match=why) as raised:
            [chunk async for chunk in stream.subscribe()]

    assert kind == raised.value.kind


async def test_generators_and_functions(memory_hub: Hub) -> None:
    """The first two kinds say what they yield, and what they publish."""
    names: dict[str, Any] = {}
    exec(compile(GENERATORS, str(PAGE), "exec"), names)
    await names["begin"](memory_hub)
    lamps, counting = [await memory_hub.get(f"chat:{n}") for n in (1, 2)]
    assert lamps is not None
    assert counting is not None
    await lamps.wait(patience())
    await counting.wait(patience())
    first = await anext(lamps.subscribe())

    assert parts.SourceUrl("s1", "https://lamp.example", title="Lamps") == parts.decode(first.data)
    assert ("The lamp turns.", "0 1 2 ") == (await lamps.text(), await counting.text())
    assert {"step": 2} == await counting.metadata()
