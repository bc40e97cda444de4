"""How the command line talks: data on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import unquote

from rich.console import Console
from rich.text import Text

from ..formats.json_text import unbroken

__all__ = ["Warnings", "console", "emit", "leave_line_open", "note", "redacted", "visible"]

_PASSWORD = re.compile(r"//[^/?#]*?:(?P<password>.*)@", re.DOTALL)


def console(file: IO[str]) -> Console:
    """A console that styles only for a terminal, and prints text as it is."""
    return Console(
        file=file, force_terminal=file.isatty(), markup=False, highlight=False, emoji=False
    )


def visible(text: str) -> str:
    """The text with every control and formatting character spelled out.

    Names and messages come from whoever wrote the session: they must stay on their line and not
    steer the terminal.
    """
    return "".join(char if char.isprintable() else _spelled(char) for char in text)


def note(text: str, *, style: str | None = None) -> None:
    """Print one line on standard error."""
    if sys.stderr is None:
        return
    # Nobody is left to tell when standard error itself is gone.
    with contextlib.suppress(OSError, ValueError):
        _end_open_line()
        console(sys.stderr).print(Text(visible(text), style=style or ""), soft_wrap=True)


def emit(value: Mapping[str, Any]) -> None:
    """Print one JSON object on a line of standard output."""
    line = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    sys.stdout.buffer.write(unbroken(line) + b"\n")
    sys.stdout.buffer.flush()


def redacted(message: str, url: str) -> str:
    """The message without the password that the URL carries, in whatever form it was quoted."""
    match = _PASSWORD.search(url)
    if match is None:
        return message
    password = match["password"]
    for secret in (password, unquote(password)):
        message = message.replace(f":{secret}@", ":***@")
        if len(secret) >= 8:
            # Shorter ones may be a word of the message itself.
            message = message.replace(secret, "***")
    return message


class Warnings(logging.Handler):
    """What the library warns of, as a note, each once: an outage would repeat itself."""

    def __init__(self, url: str) -> None:
        super().__init__(logging.WARNING)
        self._url = url
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = redacted(record.getMessage(), self._url)
        if message not in self._said:
            self._said.add(message)
            note(message, style="dim")


class _StandardOutput:
    """What was last seen of it."""

    in_line = False


def leave_line_open(is_open: bool) -> None:
    """Tell whether standard output stands in the middle of a line.

    A note then begins on a new one, if both go to the same place.
    """
    _StandardOutput.in_line = is_open


def _end_open_line() -> None:
    if _StandardOutput.in_line and os.path.sameopenfile(1, 2):
        sys.stderr.write("\n")
        leave_line_open(False)


def _spelled(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
