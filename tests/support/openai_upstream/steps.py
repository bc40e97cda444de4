"""What a model says, step by step; plain text is a step, too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = [
    "STALL",
    "Call",
    "Fails",
    "Finish",
    "Gate",
    "Piece",
    "Raw",
    "Refusal",
    "Step",
    "Thought",
    "pieces",
]


class Gate:
    """Here the model waits until the test opens it."""

    def __init__(self) -> None:
        self._reached: Future[None] = Future()
        self._opened: Future[None] = Future()

    def open(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    @property
    def is_reached(self) -> bool:
        return self._reached.done()

    async def wait_reached(self) -> None:
        """Until the model stands here: all steps before have been said."""
        await asyncio.shield(asyncio.wrap_future(self._reached))

    def await_reached(self, timeout: float = 20) -> None:
        """The same for a thread. Blocks."""
        self._reached.result(timeout)

    async def pass_through(self) -> None:
        if not self._reached.done():
            self._reached.set_result(None)
        await asyncio.shield(asyncio.wrap_future(self._opened))


#: Say nothing more, until the client hangs up.
STALL = Gate()


@dataclass(frozen=True)
class Thought:
    """What the model thinks; its words are deltas."""

    text: str


@dataclass(frozen=True)
class Refusal:
    text: str


@dataclass(frozen=True)
class Call:
    """Of a tool. The JSON of its arguments comes in ``deltas`` pieces."""

    name: str
    arguments: dict[str, Any] | str
    call_id: str = "call_1"
    deltas: int = 3

    @property
    def json(self) -> str:
        given = self.arguments
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


@dataclass(frozen=True)
class Finish:
    """How it ends, if not by itself: ``length`` or ``content_filter``."""

    reason: str


@dataclass(frozen=True)
class Fails:
    """In the middle of the answer, in the way of the dialect."""

    message: str = "The model has crashed."
    code: str = "server_error"


@dataclass(frozen=True)
class Raw:
    """These bytes, as they are, in the place of an event."""

    data: bytes


Step: TypeAlias = "str | Gate | Thought | Refusal | Call | Finish | Fails | Raw"


@dataclass(frozen=True)
class Piece:
    """What one delta says, and counts as one token: text, thought, refusal, call or arguments."""

    kind: str
    text: str
    call: Call | None = field(default=None)


def pieces(step: str | Thought | Refusal | Call) -> Iterator[Piece]:
    """A text, a thought and a refusal part before each space."""
    match step:
        case Call():
            yield Piece("call", "", step)
            for delta in _parted(step.json, step.deltas):
                yield Piece("arguments", delta, step)
        case Thought(text):
            yield from (Piece("thought", word) for word in _words(text))
        case Refusal(text):
            yield from (Piece("refusal", word) for word in _words(text))
        case str():
            yield from (Piece("text", word) for word in _words(step))


def _words(text: str) -> Sequence[str]:
    first, *more = text.split(" ")
    said = [first, *(f" {word}" for word in more)]
    return [word for word in said if word]


def _parted(text: str, count: int) -> Iterator[str]:
    size = max(1, -(-len(text) // count))
    for start in range(0, len(text), size):
        yield text[start : start + size]
