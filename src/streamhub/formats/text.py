"""The text alone. It cannot say how it ends: what is no quiet end breaks the response off."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from ..chunks import PART_EVENT, Chunk, Cursor, SessionInfo
from ..errors import InvalidPart
from ..parts import (
    AnyPart,
    ReasoningDelta,
    ReasoningEnd,
    TextDelta,
    ToolApprovalRequest,
    ToolInputAvailable,
    ToolInputError,
    ToolInputStart,
    ToolOutputAvailable,
    ToolOutputDenied,
    ToolOutputError,
    decode,
)
from .format import Ending
from .json_text import encode as encode_json

__all__ = ["SHOWN", "TEXT", "TextFormat"]

#: What can be shown beside the text.
SHOWN = ("reasoning", "tools")

_REASONING = "[reasoning] "
_TOOL = "[tool] "
# No other part is text: most need not be decoded.
_TEXT_DELTA = '"text-delta"'


class TextFormat:
    """See :class:`Format`.

    :param shown: what of ``SHOWN`` is written, too, on lines of its own that say what it is.
    """

    media_type = "text/plain"
    heartbeat = b""
    explicit = False
    over = False

    def __init__(self, shown: Collection[str] = ()) -> None:
        self._shown = frozenset(shown)
        self.name: str = "+".join(["text", *sorted(self._shown)])
        #: Where a line begins depends on what was written before.
        self.stateless: bool = not self._shown
        #: What the line holds that was begun, if one was.
        self._line: Literal["text", "reasoning"] | None = None
        self._tools: dict[str, str] = {}

    def begin(self, info: SessionInfo) -> bytes:
        return b""

    def chunk(self, chunk: Chunk) -> bytes:
        # As in LiveStream.text(), but for a step that is reset: what is sent is sent.
        if chunk.event is None:
            text = chunk.data
        elif chunk.event != PART_EVENT or (self.stateless and _TEXT_DELTA not in chunk.data):
            return b""
        else:
            try:
                part = decode(chunk.data)
            except InvalidPart:
                return b""
            if not isinstance(part, TextDelta):
                return self._beside(part).encode()
            text = part.delta
        return text.encode() if self.stateless else self._text(text).encode()

    def reset(self, cursor: Cursor) -> None:
        return None

    def end(self, ending: Ending) -> bytes | None:
        return b"" if ending.quiet else None

    def _text(self, text: str) -> str:
        if not text:
            return ""
        before = self._leave("text")
        self._line = None if text.endswith("\n") else "text"
        return before + text

    def _beside(self, part: AnyPart) -> str:
        """What is shown of a part that is no text."""
        if "reasoning" in self._shown:
            match part:
                case ReasoningDelta(_, delta):
                    return self._reasoning(delta)
                case ReasoningEnd() if self._line == "reasoning":
                    return self._leave(None)
        if "tools" in self._shown and (told := self._tool(part)) is not None:
            # On one line, whatever a tool has said.
            return f"{self._leave(None)}{_TOOL}{' '.join(told.splitlines())}\n"
        return ""

    def _reasoning(self, delta: str) -> str:
        """Each of its lines says what it is, so that they can be told from the text."""
        written = self._leave("reasoning") if delta else ""
        for line in delta.splitlines(keepends=True):
            if self._line is None:
                written += _REASONING
            written += line
            self._line = None if line.endswith("\n") else "reasoning"
        return written

    def _tool(self, part: AnyPart) -> str | None:
        match part:
            case ToolInputStart(tool_call_id=call, tool_name=name):
                self._tools[call] = name
            case ToolInputAvailable(tool_call_id=call, tool_name=name, input=value):
                self._tools[call] = name
                return f"{name} {_json(value)}"
            case ToolInputError(tool_name=name, error_text=error):
                return f"{name} cannot be called: {error}"
            case ToolApprovalRequest(tool_call_id=call):
                return f"{self._named(call)} waits for approval"
            case ToolOutputAvailable(tool_call_id=call, output=value):
                return f"{self._named(call)} gave {_json(value)}"
            case ToolOutputError(tool_call_id=call, error_text=error):
                return f"{self._named(call)} failed: {error}"
            case ToolOutputDenied(tool_call_id=call):
                return f"{self._named(call)} was not allowed"
        return None

    def _named(self, call: str) -> str:
        return self._tools.get(call, call)

    def _leave(self, kind: Literal["text", "reasoning"] | None) -> str:
        """The end of a line that holds something else than ``kind``."""
        if self._line in (None, kind):
            return ""
        self._line = None
        return "\n"


TEXT = TextFormat()


def _json(value: Any) -> str:
    return encode_json(value).decode()
