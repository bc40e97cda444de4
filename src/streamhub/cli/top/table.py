"""The rows of the board in a terminal: drawn as far as they are seen, however many there are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ...board import Row
from ...board.query import Sort
from ..columns import STYLES, Column, Fitted, cells, columns_of, cut, fitted

__all__ = ["SessionTable"]

_TITLES = Style(bold=True, underline=True)
_SELECTED = Style(reverse=True)
_PLAIN = Style()


class SessionTable(ScrollView, can_focus=True):
    """Rows, one of them selected.

    Once somebody has moved, the selection stays with its session wherever that moves. Until then,
    and on the first row, it stays with the place: so the newest is in sight.
    """

    DEFAULT_CSS: ClassVar[str] = """
    SessionTable { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown,space", "page(1)", "Page down", show=False),
        Binding("home,g", "end(-1)", "First", show=False),
        Binding("end,G", "end(1)", "Last", show=False),
        Binding("enter", "open", "Open"),
    ]

    class Opened(Message):
        """Somebody wants to see a session."""

        def __init__(self, session_id: str) -> None:
            super().__init__()
            self.session_id = session_id

    class Selected(Message):
        """Another one is selected."""

    class Sorted(Message):
        """Somebody wants the rows in another order."""

        def __init__(self, sort: Sort) -> None:
            super().__init__()
            self.sort: Sort = sort

    def __init__(self) -> None:
        super().__init__()
        self._rows: Sequence[Row] = ()
        self._index = 0
        self._sort: Sort = "created"
        self._descending = True
        self._drawn: tuple[list[Fitted], dict[int, list[str]]] = ([], {})

    @property
    def selected(self) -> Row | None:
        return self._rows[self._index] if self._rows else None

    @property
    def seen(self) -> Sequence[Row]:
        """The rows that are in sight."""
        return self._rows[self.scroll_offset.y :][: max(1, self.size.height - 1)]

    def show(self, rows: Sequence[Row], sort: Sort, *, descending: bool) -> None:
        """Draw these rows from here on."""
        before = self.selected
        self._rows, self._sort, self._descending = rows, sort, descending
        if before is not None and self._index:
            places = (at for at, row in enumerate(rows) if row.session_id == before.session_id)
            self._index = next(places, self._index)
        self._index = max(0, min(self._index, len(rows) - 1))
        # The titles stand above the rows, wherever these are scrolled to.
        self.virtual_size: Size = Size(self.size.width, len(rows) + 1)
        self._reveal()
        self.redraw()

    def redraw(self) -> None:
        """Draw what is in sight as of now: ages grow."""
        seen, now = self.seen, time.time()
        columns = columns_of(seen, self._sort)
        texts = [cells(row, columns, now) for row in seen]
        width = self.scrollable_content_region.width or self.size.width
        fit = fitted(columns, texts, width, self._sort)
        kept = [columns.index(column) for column, _ in fit]
        top = self.scroll_offset.y
        self._drawn = (
            fit,
            {top + at: [text[index] for index in kept] for at, text in enumerate(texts)},
        )
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y == 0:
            return self._titles(width)
        at = y - 1 + self.scroll_offset.y
        fit, texts = self._drawn
        if at >= len(self._rows) or at not in texts:
            return Strip.blank(width, self.rich_style)
        row = self._rows[at]
        over = _SELECTED if at == self._index else _PLAIN
        segments: list[Segment] = []
        for (column, cell_width), text in zip(fit, texts[at], strict=True):
            style = _PLAIN
            if column.title == "status":
                style = Style.parse(STYLES.get(row.status, ""))
            elif column.title == "session":
                style = Style(bold=True)
            segments.append(Segment(cut(text, cell_width, right=column.is_number), style + over))
            segments.append(Segment(" ", over))
        return Strip(segments[:-1]).adjust_cell_length(width, over).apply_style(self.rich_style)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.redraw()

    def on_resize(self, event: events.Resize) -> None:
        self.virtual_size = Size(event.size.width, len(self._rows) + 1)
        self._reveal()
        self.redraw()

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            place = 0
            for column, width in self._drawn[0]:
                place += width + 1
                if event.x < place:
                    self.post_message(self.Sorted(column.sort))
                    return
        elif (at := event.y - 1 + self.scroll_offset.y) < len(self._rows):
            if at == self._index and event.chain == 2:
                self.action_open()
            self._select(at)

    def action_move(self, by: int) -> None:
        self._select(self._index + by)

    def action_page(self, by: int) -> None:
        self._select(self._index + by * max(1, self.size.height - 2))

    def action_end(self, which: int) -> None:
        self._select(0 if which < 0 else len(self._rows) - 1)

    def action_open(self) -> None:
        if self.selected is not None:
            self.post_message(self.Opened(self.selected.session_id))

    def _select(self, index: int) -> None:
        self._index = max(0, min(index, len(self._rows) - 1))
        self._reveal()
        self.redraw()
        self.post_message(self.Selected())

    def _reveal(self) -> None:
        """Scroll as little as it takes to have the selection in sight."""
        room, top = max(1, self.size.height - 1), self.scroll_offset.y
        wanted = min(max(top, self._index - room + 1), self._index)
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, immediate=True)

    def _titles(self, width: int) -> Strip:
        segments: list[Segment] = []
        for column, cell_width in self._drawn[0]:
            title = self._title(column, cell_width)
            segments.append(Segment(cut(title, cell_width, right=column.is_number), _TITLES))
            segments.append(Segment(" "))
        return Strip(segments[:-1]).adjust_cell_length(width).apply_style(self.rich_style)

    def _title(self, column: Column, width: int) -> str:
        if column.sort != self._sort:
            return column.title
        # An age is the later, the less it is.
        down = self._descending is (column.sort != "created")
        arrow = "▼" if down else "▲"
        return column.title[: width - 1] + arrow
