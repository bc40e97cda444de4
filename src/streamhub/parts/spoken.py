"""The text of a stream, without all that is beside it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..chunks import PART_EVENT, Chunk, Item

__all__ = ["spoken_text"]


class _Said(msgspec.Struct, frozen=True):
    type: str
    delta: str = ""


_decode = msgspec.json.Decoder(_Said).decode


def spoken_text(chunks: Sequence[Chunk | Item]) -> str:
    """What ``chunks`` say, joined: plain ones, and the parts that are deltas of a text. What a step
    has said before it was reset is void."""
    said: list[str] = []
    step = 0
    for chunk in chunks:
        if isinstance(chunk, str):
            said.append(chunk)
            continue
        data, event = (chunk.data, chunk.event) if isinstance(chunk, Chunk) else chunk
        if event is None:
            said.append(data)
        elif event == PART_EVENT:
            part = _part(data)
            match part.type:
                case "text-delta":
                    said.append(part.delta)
                case "start-step":
                    step = len(said)
                case "reset-step":
                    del said[step:]
    return "".join(said)


def _part(data: str) -> _Said:
    """The part that a chunk holds, as far as it is one."""
    try:
        return _decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return _Said("")
