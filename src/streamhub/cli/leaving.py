"""How a command ends: refused, or with the exit code of what it did."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import typer

from ..errors import StreamHubError
from .exits import Code, code_of
from .terminal import Warnings, note, redacted

__all__ = ["finish", "refuse"]


def refuse(reason: str) -> NoReturn:
    note(reason, style="red")
    raise typer.Exit(int(Code.USAGE))


def finish(url: str, work: Callable[[], Coroutine[Any, Any, int]]) -> None:
    """Run the command to its end, and leave with its exit code."""
    logging.getLogger("streamhub").addHandler(Warnings(url))
    try:
        code = asyncio.run(work())
        sys.stdout.flush()
    except StreamHubError as error:
        note(redacted(str(error), url), style="red")
        code = code_of(error)
    except KeyboardInterrupt:
        code = Code.INTERRUPTED
    except BrokenPipeError:
        # What is still buffered must not be tried again on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = Code.INTERRUPTED
    raise typer.Exit(int(code))
