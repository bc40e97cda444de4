"""What it takes to say a stream in a dialect, and to fold it, without a store or a network."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

from streamhub import Chunk, Cursor, SessionInfo, Status
from streamhub.chunks import Terms
from streamhub.formats.format import Ending, Format
from streamhub.formats.sse import SSEFormat
from streamhub.formats.ui_messages import UIMessages
from streamhub.parts import (
    PART_EVENT,
    AnyPart,
    FinishStep,
    Message,
    StartStep,
    ToolInputAvailable,
    ToolInputDelta,
    ToolInputStart,
    ToolOutputAvailable,
    encode,
    fold,
)

from .hub import TOKEN
from .measure import complete
from .workers import Figures

__all__ = ["folded", "written"]

_TERM = 1_700_000_000_000
_DIALECTS: dict[str, Callable[[], Format]] = {"sse": SSEFormat, "ui messages": UIMessages}
# Text in between, as long as that of an agent that calls a tool now and then.
_TOKENS_OF_A_STEP = 93


async def written(dialect: str, *, chunks: int, times: int) -> Figures:
    """Write the same answer for so many readers, each from its start to its end."""
    answer = _answer(chunks)
    last = answer[-1].cursor
    info = SessionInfo("chat", Status.ACTIVE, "generation", Terms.first(_TERM), last)
    events: list[bytes] = []
    begun = process_time()
    for _ in range(times):
        response = _DIALECTS[dialect]()
        events = [response.begin(info), *map(response.chunk, answer)]
        events.append(response.end(Ending("finished", last)) or b"")
    spent = process_time() - begun
    complete(b"".join(events).count(TOKEN.encode()), _texts(answer), "tokens written")
    return {"ms_per_1000": 1e6 * spent / times / chunks}


async def folded(*, chunks: int, times: int) -> Figures:
    """Fold the same answer."""
    answer = _answer(chunks)
    message = Message("")
    begun = process_time()
    for _ in range(times):
        message = fold(answer, status=Status.FINISHED)
    spent = process_time() - begun
    complete(message.text.count(TOKEN), _texts(answer), "tokens folded")
    return {"ms": 1e3 * spent / times}


def _answer(chunks: int) -> list[Chunk]:
    """Text, and a tool call in each step."""
    found: list[Chunk] = []
    while len(found) < chunks:
        step = len(found)
        of_a_step: list[str | AnyPart] = [
            StartStep(),
            *[TOKEN] * _TOKENS_OF_A_STEP,
            ToolInputStart(f"call-{step}", "search"),
            ToolInputDelta(f"call-{step}", '{"query": '),
            ToolInputDelta(f"call-{step}", '"streams"}'),
            ToolInputAvailable(f"call-{step}", "search", {"query": "streams"}),
            ToolOutputAvailable(f"call-{step}", [{"title": "a page", "rank": 1}]),
            FinishStep(),
        ]
        for item in of_a_step:
            cursor = Cursor(_TERM, len(found) + 1)
            if isinstance(item, str):
                found.append(Chunk(item, cursor))
            else:
                found.append(Chunk(encode(item), cursor, PART_EVENT))
    return found[:chunks]


def _texts(answer: list[Chunk]) -> int:
    return sum(chunk.event is None for chunk in answer)
