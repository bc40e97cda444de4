"""Run ``streamhub top`` on a terminal, and leave it as it was."""

from __future__ import annotations

import os
import signal
import sys

from ...board import Query
from ..exits import Code
from ..interrupts import interrupts
from ..place import Place
from ..terminal import note, redacted
from .app import TopApp

__all__ = ["has_terminal", "show"]


def has_terminal() -> bool:
    """Whether somebody sits there who can type, and see what is drawn."""
    files = (sys.stdin, sys.stdout, sys.stderr)
    return os.environ.get("TERM") not in (None, "", "dumb") and all(
        file is not None and file.isatty() for file in files
    )


async def show(place: Place, query: Query) -> int:
    """Show the sessions until it is quit; the exit code."""
    stopped: list[signal.Signals] = []
    async with place.hub() as hub:
        # Where no store answers, that is said on the terminal as it is.
        await hub.active(["top"])
        url = place.url
        app = TopApp(hub, query, where=redacted(url, url), said=lambda text: redacted(text, url))

        def stop(number: signal.Signals) -> None:
            stopped.append(number)
            app.exit()

        with interrupts(stop):
            await app.run_async()
    if app.return_code:
        return Code.OTHER
    if stopped:
        note(f"interrupted by {stopped[0].name}", style="yellow")
        return Code.INTERRUPTED
    return Code.FINISHED
