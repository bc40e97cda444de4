"""The end of a text that grows, in lines that fit. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from rich.cells import cell_len, chop_cells

from ..terminal import visible

__all__ = ["TextTail"]

#: How much is kept, in characters; what stood before that is dropped.
MOST = 256 * 1024
# A line that is longer is cut into several: what is added to one lays it out anew.
_LONGEST_LINE = 2048
_TAB = 8


class TextTail:
    """Takes text in pieces, gives it back in lines of a width, the oldest dropped.

    Control characters are spelled out, so that no text can steer the terminal.
    """

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._width = 80
        self._size = 0
        #: The text by its line breaks, each line with what it looks like.
        self._lines: deque[tuple[str, list[str]]] = deque()
        #: Whether there was text before what is kept.
        self.is_cut: bool = False
        self._joined: list[str] | None = None

    def add(self, text: str) -> None:
        """Go on with the text."""
        if not text:
            return
        if len(text) > self._most:
            text = text[-self._most :]
            self.clear()
            self.is_cut = True
        first, *others = text.replace("\r\n", "\n").split("\n")
        before = self._lines.pop()[0] if self._lines else ""
        self._size -= len(before)
        for line in [before + first, *others]:
            self._put(line)
        while self._size > self._most and len(self._lines) > 1:
            self._size -= len(self._lines.popleft()[0])
            self.is_cut = True
        self._joined = None

    def clear(self) -> None:
        self._lines.clear()
        self._size, self.is_cut, self._joined = 0, False, None

    def lines(self, width: int) -> Sequence[str]:
        """All lines, none wider than ``width`` cells."""
        width = max(2, width)
        if width != self._width:
            self._width = width
            self._lines = deque((line, _wrapped(line, width)) for line, _ in self._lines)
            self._joined = None
        if self._joined is None:
            self._joined = ["… what came before is not shown"] if self.is_cut else []
            for _, shown in self._lines:
                self._joined += shown
        return self._joined

    def _put(self, line: str) -> None:
        while len(line) > _LONGEST_LINE:
            piece, line = line[:_LONGEST_LINE], line[_LONGEST_LINE:]
            self._lines.append((piece, _wrapped(piece, self._width)))
            self._size += len(piece)
        self._lines.append((line, _wrapped(line, self._width)))
        self._size += len(line)


def _wrapped(line: str, width: int) -> list[str]:
    """The line in lines that fit, broken at spaces where that is possible."""
    shown = visible(line.expandtabs(_TAB))
    lines: list[str] = []
    current, used = "", 0
    for word in _words(shown):
        # Spaces at the end of a line need no room.
        size = cell_len(word.rstrip(" "))
        if used + size > width and current:
            lines.append(current)
            current, used = "", 0
        if size > width:
            *whole, current = chop_cells(word, width)
            lines += whole
            used = cell_len(current)
        else:
            current += word
            used += cell_len(word)
    return [*lines, current]


def _words(text: str) -> list[str]:
    """The words, each with the spaces that follow it."""
    *words, last = text.split(" ")
    return [*(f"{word} " for word in words), last]
