"""One session in a terminal: how it stands, and its text as it comes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.text import Text
from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.screen import Screen
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Footer, Static

from ...board import DAMAGED, Row
from ...chunks import PART_EVENT, Chunk, Cursor, Status
from ...errors import (
    CursorExpired,
    HubClosed,
    ProducerFailed,
    ProducerLost,
    SessionNotFound,
    StoreUnavailable,
    StreamHubError,
    StreamReplaced,
)
from ...formats.text import SHOWN, TextFormat
from ...hub import Hub
from ..columns import STYLES, span
from ..terminal import visible
from .text_tail import TextTail

__all__ = ["SessionScreen"]

# With how many chunks the text begins; where that is not all, it says so.
_LAST = 2000
# How long after an outage, or a loss, it is tried again, in seconds.
_AGAIN = 1.0
_SECOND = 1.0
# How often the text is drawn at most, in seconds.
_REDRAWN = 0.1
_LONGEST_METADATA = 2000
_LONGEST_EVENT = 300


class SessionScreen(Screen[None]):
    """Follows a session until it is left; one that begins anew is followed from there."""

    DEFAULT_CSS: ClassVar[str] = """
    SessionScreen #facts { height: auto; max-height: 45%; }
    SessionScreen #state { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,left", "app.pop_screen", "Back"),
        Binding("s", "app.stop", "Stop"),
        Binding("x,delete", "app.remove", "Remove"),
    ]

    def __init__(
        self, hub: Hub, session_id: str, row: Callable[[], Row | None], said: Callable[[str], str]
    ) -> None:
        super().__init__()
        self.chosen = session_id
        self._hub = hub
        self._row = row
        self._said = said
        # Held, not asked for: there may be news while the screen is being left, when what it shows
        # is in no tree any more.
        self._shown_facts = Static(id="facts")
        self.text: _Following = _Following()
        self._shown_state = Static(id="state")
        self._state = ""
        self._metadata = ""
        self._cursor: Cursor | None = None

    def compose(self) -> ComposeResult:
        yield self._shown_facts
        yield self.text
        yield self._shown_state
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.follow()
        self.text.focus()
        self.set_interval(_SECOND, self.update_facts)
        self.update_facts()

    def update_facts(self) -> None:
        """Show how it stands now, by the board."""
        self._shown_facts.update(self._facts(time.time()))
        self._shown_state.update(Text(visible(self._state), style="dim"))

    def _facts(self, now: float) -> Text:
        row = self._row()
        text = Text(visible(self.chosen), style="bold", no_wrap=False)
        if row is None:
            return text.append("  is not there any more", style="not bold yellow")
        status = "cancelling" if row.cancelling and not row.has_ended else row.status
        text.append(f"  {status}", style=f"not bold {STYLES.get(row.status, '')}")
        if row.error is not None:
            text.append(f"\n{visible(row.error)}", style="not bold red")
        facts = [
            ("owner", row.owner),
            ("model", row.model),
            ("host", row.host),
            ("chunks", None if row.chunks is None else f"{row.chunks:,}"),
            ("bytes", None if row.status == DAMAGED else f"{row.bytes:,}"),
            ("rate", None if row.rate is None else f"{row.rate:.1f}/s"),
            ("age", None if row.created is None else span(now - row.created)),
            ("silent", self._silence(row, now)),
            ("lease", None if row.lease_until is None else span(row.lease_until - now)),
            ("subscribers", None if row.subscribers is None else str(row.subscribers)),
            ("resumes", str(row.resumes) if row.resumes else None),
            ("handovers", str(row.handovers) if row.handovers else None),
            ("generation", row.generation or None),
            ("metadata", self._metadata or None),
        ]
        text.append("\n")
        for name, value in facts:
            if value is not None:
                text.append(f"{name} ", style="not bold dim")
                text.append(f"{visible(value)}   ", style="not bold")
        return text

    @staticmethod
    def _silence(row: Row, now: float) -> str | None:
        if row.has_ended or row.status == DAMAGED:
            return None
        since = row.since if row.last_chunk is None else row.last_chunk
        return f"{'at least ' if row.last_chunk is None else ''}{span(now - since)}"

    @work
    async def follow(self) -> None:
        """Show the text to its end, and on from there if the session goes on."""
        after: Cursor | None = None
        while True:
            try:
                await self._follow_on(after)
            except (StreamReplaced, CursorExpired):
                # Another answer, or what is left of this one.
                after = self._cursor = None
                self.text.clear()
                continue
            except ProducerFailed as error:
                self._say(f"failed: {error.error}")
            except ProducerLost:
                self._say("lost: its producer gave no sign of life; it may be continued")
            except SessionNotFound:
                self._say("removed, or expired")
            except StoreUnavailable as error:
                self._say(self._said(str(error)))
                await asyncio.sleep(_AGAIN)
                continue
            except HubClosed:
                return
            except StreamHubError as error:
                self._say(self._said(str(error)))
            after = self._cursor
            await self._wait_active()

    async def _follow_on(self, after: Cursor | None) -> None:
        stream = await self._hub.get(self.chosen, after=after)
        if stream is None:
            raise SessionNotFound(self.chosen)
        self._metadata = _short(await stream.metadata())
        text = TextFormat(SHOWN)
        last = _LAST if after is None else None
        async with stream.subscribe(after=after, last=last) as subscription:
            self._say("following")
            async for chunk in subscription:
                if self._cursor is None and chunk.cursor.offset > 1:
                    self.text.begin_later()
                self._cursor = chunk.cursor
                self.text.add(_written(text, chunk))
            self._say(str(subscription.status))

    async def _wait_active(self) -> None:
        """Wait until the board has it as active: somebody continues it, or begins it anew."""
        while True:
            await asyncio.sleep(_AGAIN)
            row = self._row()
            if row is not None and row.status == Status.ACTIVE:
                return

    def _say(self, state: str) -> None:
        self._state = state
        self.update_facts()


class _Following(ScrollView, can_focus=True):
    """A text that grows; at its end it stays there."""

    DEFAULT_CSS: ClassVar[str] = """
    _Following { height: 1fr; border-top: solid ansi_bright_black; overflow-x: hidden;
                 scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "scroll_up", show=False),
        Binding("j", "scroll_down", show=False),
        Binding("space", "page_down", show=False),
        Binding("g", "scroll_home", show=False),
        Binding("G", "scroll_end", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._tail = TextTail()
        self._pieces: list[str] = []
        self._is_due = False

    def add(self, text: str) -> None:
        """Show more text, together with what comes in the same moment."""
        self._pieces.append(text)
        if not self._is_due:
            self._is_due = True
            self.set_timer(_REDRAWN, self._lay_out)

    def begin_later(self) -> None:
        """Say that there was text before."""
        self._tail.is_cut = True

    def clear(self) -> None:
        self._pieces.clear()
        self._tail.clear()
        self._lay_out()

    def _lay_out(self) -> None:
        self._is_due = False
        height = self.size.height
        follows = self.scroll_offset.y + height >= self.virtual_size.height
        self._tail.add("".join(self._pieces))
        self._pieces.clear()
        end = len(self._lines())
        self.virtual_size: Size = Size(self.size.width, end)
        if follows:
            self.scroll_to(y=end - height, animate=False, immediate=True, force=True)
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        self._lay_out()

    def render_line(self, y: int) -> Strip:
        lines, at = self._lines(), y + self.scroll_offset.y
        text = lines[at] if at < len(lines) else ""
        width = self.scrollable_content_region.width
        return Strip([Segment(text)]).adjust_cell_length(width).apply_style(self.rich_style)

    def _lines(self) -> Sequence[str]:
        return self._tail.lines(self.scrollable_content_region.width)


def _written(text: TextFormat, chunk: Chunk) -> str:
    if chunk.event in (None, PART_EVENT):
        return text.chunk(chunk).decode()
    data = chunk.data if len(chunk.data) <= _LONGEST_EVENT else f"{chunk.data[:_LONGEST_EVENT]}…"
    return f"[{chunk.event}] {' '.join(data.split())}\n"


def _short(metadata: object) -> str:
    if metadata is None:
        return ""
    text = json.dumps(metadata, ensure_ascii=False)
    return text if len(text) <= _LONGEST_METADATA else f"{text[:_LONGEST_METADATA]}…"
