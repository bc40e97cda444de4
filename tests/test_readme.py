"""The README's examples, run as they stand there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from streamhub import Status

README = (Path(__file__).parent.parent / "README.md").read_text()
ANSWER = ["The ", "lamp ", "turns."]


class _Model:
    """What the examples leave to the reader: something that streams text."""

    def __init__(self) -> None:
        self.endless = False

    async def stream(self, prompt: str) -> AsyncIterator[str]:
        for token in ANSWER:
            yield token
        while self.endless:
            yield "…"


@pytest.fixture
async def example() -> AsyncIterator[dict[str, Any]]:
    """The names that the README's Python defines, on a hub in memory."""
    names: dict[str, Any] = {"model": _Model()}
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    code = "\n".join(blocks).replace("redis://localhost:6379/0", "memory://")
    exec(compile(code, "README.md", "exec"), names)
    yield names
    await names["hub"].aclose()


async def test_a_reader_gets_the_answer(example: dict[str, Any]) -> None:
    """What ``ask`` produces, ``read`` yields."""
    await example["ask"]("1", "Why?")

    assert ANSWER == [data async for _, data in example["read"]("1")]


async def test_a_reader_resumes_at_its_cursor(example: dict[str, Any]) -> None:
    """``read`` goes on after the cursor that it yielded."""
    await example["ask"]("1", "Why?")
    cursors = [cursor async for cursor, _ in example["read"]("1")]

    assert ANSWER[1:] == [data async for _, data in example["read"]("1", cursors[0])]


async def test_the_long_form_sets_metadata_and_event(example: dict[str, Any]) -> None:
    """``ask_with_sources`` leaves the prompt in the metadata, and the sources out of the text."""
    await example["ask_with_sources"]("1", "Why?")
    stream = await example["hub"].get("chat:1")

    assert {"prompt": "Why?"} == await stream.metadata()
    assert "".join(ANSWER) == await stream.text()
    assert "sources" == [chunk.event async for chunk in stream.subscribe()][-1]


async def test_anyone_stops_an_answer(example: dict[str, Any]) -> None:
    """``stop`` ends an answer that has no end of its own."""
    example["model"].endless = True
    await example["ask"]("1", "Why?")
    await example["stop"]("1")
    stream = await example["hub"].get("chat:1")

    assert Status.CANCELLED == (await stream.info()).status
