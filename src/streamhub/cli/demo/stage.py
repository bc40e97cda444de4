"""How the demo is shown: as panels that move on a terminal, as lines of text elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ...chunks import Chunk, Cursor
from ..terminal import console

__all__ = ["Actor", "Result", "Stage", "open_stage"]

_FRAME = 0.04
# Columns and lines below which panels show nothing of use.
_SMALLEST = (60, 16)


@dataclass
class Actor:
    """Somebody in an act: what it is, what it does now, and the text that it has."""

    name: str
    doing: str = ""
    style: str = "dim"
    text: str = ""
    chunks: int = 0
    cursor: Cursor | None = None

    def take(self, chunk: Chunk) -> None:
        self.add(chunk.data, chunk.cursor)

    def add(self, data: str, cursor: Cursor) -> None:
        self.text += data
        self.chunks += 1
        self.cursor = cursor


@dataclass(frozen=True)
class Result:
    """One text to compare with the others."""

    name: str
    how: str
    length: int
    digest: str
    equal: bool


class Stage(Protocol):
    """Where the demo plays."""

    def begin(self, title: str, about: str, actors: Sequence[Actor]) -> None:
        """Begin an act, and tell what it is about; the first actor produces."""
        ...

    def say(self, actor: Actor, text: str) -> None:
        """Tell what the actor does, and why it matters."""
        ...

    def moved(self) -> None:
        """Some actor's text has grown."""
        ...

    def end(self) -> None:
        """End the act, or break it off."""
        ...

    def results(self, title: str, results: Sequence[Result], verdict: str, good: bool) -> None: ...

    def commands(self, title: str, lines: Sequence[tuple[str, str]]) -> None:
        """Show commands, each with what it does."""
        ...


def open_stage(out: TextIO) -> Stage:
    screen = console(out)
    roomy = screen.width >= _SMALLEST[0] and screen.height >= _SMALLEST[1]
    if out.isatty() and roomy and not screen.is_dumb_terminal:
        return _Screen(screen)
    return _Lines(screen)


class _Lines:
    """One line for everything that happens."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._playing = False

    def begin(self, title: str, about: str, actors: Sequence[Actor]) -> None:
        self._print(f"== {title}")
        self._print(f"   {about}")
        self._playing = True

    def say(self, actor: Actor, text: str) -> None:
        self._print(f"   {actor.name:<9} {text}")

    def moved(self) -> None:
        pass

    def end(self) -> None:
        if self._playing:
            self._playing = False
            self._print("")

    def results(self, title: str, results: Sequence[Result], verdict: str, good: bool) -> None:
        self._print(f"== {title}")
        for result in results:
            sign = "equal" if result.equal else "DIFFERENT"
            self._print(
                f"   {result.name:<9} {result.length:>5} characters  sha256 {result.digest}  "
                f"{sign}  {result.how}"
            )
        self._print(f"   {verdict}")
        self._print("")

    def commands(self, title: str, lines: Sequence[tuple[str, str]]) -> None:
        self._print(f"== {title}")
        for command, comment in lines:
            self._print(f"   {command}")
            self._print(f"      {comment}")

    def _print(self, line: str) -> None:
        self._out.print(line, soft_wrap=True)
        sys.stdout.flush()


class _Screen:
    """Panels: the producer above, who reads below."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._live: Live | None = None
        self._heading = Text()
        self._caption = Text()
        self._actors: Sequence[Actor] = ()
        self._drawn = 0.0

    def begin(self, title: str, about: str, actors: Sequence[Actor]) -> None:
        self._heading = Text.assemble((title, "bold"), "\n", (about, "dim"))
        self._actors, self._caption = actors, Text()
        self._live = Live(self._frame(), console=self._out, auto_refresh=False)
        self._live.start()

    def say(self, actor: Actor, text: str) -> None:
        self._caption = Text.assemble((actor.name, f"bold {actor.style}"), f" {text}")
        self._draw()

    def moved(self) -> None:
        if time.monotonic() - self._drawn >= _FRAME:
            self._draw()

    def end(self) -> None:
        if self._live is not None:
            self._draw()
            self._live.stop()
            self._live = None
            self._out.print()

    def results(self, title: str, results: Sequence[Result], verdict: str, good: bool) -> None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("", "characters", "sha256", "", "how it read"):
            table.add_column(name, justify="right" if name == "characters" else "left")
        for result in results:
            table.add_row(
                Text(result.name, style="bold"),
                f"{result.length:,}",
                result.digest,
                Text("=", style="green") if result.equal else Text("≠", style="bold red"),
                Text(result.how, style="dim"),
            )
        end = Text(verdict, style="bold green" if good else "bold red")
        self._out.print(Text(title, style="bold"), Text(), table, Text(), end, Text(), sep="\n")

    def commands(self, title: str, lines: Sequence[tuple[str, str]]) -> None:
        self._out.print(Text(title, style="bold"))
        for command, comment in lines:
            self._out.print(Text(f"  {command}", style="cyan"), soft_wrap=True)
            self._out.print(Text(f"      {comment}", style="dim"), soft_wrap=True)

    def _draw(self) -> None:
        if self._live is not None:
            self._drawn = time.monotonic()
            self._live.update(self._frame(), refresh=True)

    def _frame(self) -> RenderableType:
        producer, *readers = self._actors
        width, height = self._out.size
        # The last line stays free, or the terminal scrolls with every frame.
        room = max(10, min(height - 5, 23))
        below = room * 3 // 5
        row = Table.grid(expand=True)
        panels = [_panel(reader, width // len(readers), below) for reader in readers]
        for _ in panels:
            row.add_column(ratio=1)
        row.add_row(*panels)
        captions = Group(*(_cut(line, width) for line in [*self._heading.split(), self._caption]))
        return Group(captions, _panel(producer, width, room - below), row)


def _cut(line: Text, width: int) -> Text:
    line = line.copy()
    line.truncate(width, overflow="ellipsis")
    return line


def _panel(actor: Actor, width: int, height: int) -> Panel:
    """The end of the actor's text, as much as fits."""
    inner = Console(width=max(8, width - 4), height=height)
    lines = Text(actor.text).wrap(inner, inner.width)[-(height - 2) :]
    body = Text("\n").join(lines)
    where = "" if actor.cursor is None else f"{actor.chunks} chunks · {actor.cursor}"
    title = Text.assemble((actor.name, "bold"), " ", actor.doing)
    return Panel(
        body,
        title=title,
        title_align="left",
        subtitle=Text(where if len(where) <= width - 6 else str(actor.cursor), style="dim"),
        subtitle_align="right",
        border_style=actor.style,
        height=height,
        width=None,
    )
