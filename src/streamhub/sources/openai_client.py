"""What OpenAI's client streams: told by the first event that is of the one or the other API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..parts import AnyPart
from .chat_completions import ChatCompletions
from .responses import Responses
from .source import Translator
from .step import field

__all__ = ["OpenAI"]


class OpenAI:
    """Takes the events of chat completions, and those of responses."""

    def __init__(self) -> None:
        self._translator: Translator | None = None

    def translate(self, event: Any) -> Iterable[str | AnyPart]:
        if self._translator is None:
            kind = field(event, "type")
            if isinstance(kind, str) and (kind.startswith("response.") or kind == "error"):
                self._translator = Responses()
            elif field(event, "choices") is not None or kind == "chunk" or field(event, "error"):
                self._translator = ChatCompletions()
            else:
                return ()  # of neither, as a sign of life
        return self._translator.translate(event)

    def end(self) -> Iterable[str | AnyPart]:
        return (self._translator or ChatCompletions()).end()
