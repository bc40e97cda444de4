"""All sessions in a terminal: searched, filtered and sorted, as the board has them now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, get_args

import msgspec
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from ...board import DAMAGED, Board, Look, Page, Query
from ...board.query import Sort
from ...chunks import Status
from ...errors import HubClosed
from ..columns import ASCENDING, STYLES
from ..terminal import visible
from .table import SessionTable

__all__ = ["ListScreen"]

# All that the board may have: what is in sight alone is drawn.
_EVERYTHING = 1_000_000
_STATUSES = (*Status, DAMAGED)
_SORTS: tuple[Sort, ...] = get_args(Sort)
_SECOND = 1.0


class ListScreen(Screen[None]):
    """The rows that a query finds, kept up to date."""

    DEFAULT_CSS: ClassVar[str] = """
    ListScreen #head { height: 2; }
    ListScreen #asked { height: auto; }
    ListScreen #why { height: auto; max-height: 2; }
    ListScreen #search { display: none; }
    ListScreen #search.open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", key_display="/"),
        Binding("f", "next_status", "Status"),
        Binding("o", "only_owner", "Owner"),
        Binding("less_than_sign,left", "sort(-1)", "Sort", key_display="< >"),
        Binding("greater_than_sign,right", "sort(1)", show=False),
        Binding("r", "reverse", "Reverse", show=False),
        Binding("escape", "everything", show=False),
        Binding("s", "app.stop", "Stop"),
        Binding("x,delete", "app.remove", "Remove"),
        Binding("q", "app.quit", "Quit"),
    ]

    def __init__(
        self, board: Board, query: Query, *, where: str, said: Callable[[str], str]
    ) -> None:
        super().__init__()
        self._board = board
        self._query = msgspec.structs.replace(query, limit=_EVERYTHING)
        self._where = where
        self._said = said
        self._look: Look | None = None
        self._page: Page | None = None
        self._table = SessionTable()

    @property
    def chosen(self) -> str | None:
        """The session that is selected."""
        row = self._table.selected
        return None if row is None else row.session_id

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Static(id="asked")
        yield Input(
            id="search", placeholder="part of an id, owner, model, host or error", compact=True
        )
        yield self._table
        yield Static(id="why")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._table.focus()
        self.show_board()
        self.set_interval(_SECOND, self._table.redraw)

    @work
    async def show_board(self) -> None:
        """Show what the board has, again whenever that has changed."""
        try:
            async with self._board.look() as look:
                self._look = look
                while True:
                    self._refresh()
                    await look.wait_news()
        except HubClosed:
            self.app.exit()

    def _refresh(self) -> None:
        """Show what the query finds now."""
        assert self._look is not None
        self._page = page = self._look.page(self._query)
        self._table.show(page.rows, self._query.sort, descending=self._query.descending)
        # What is in sight is looked at more often than the rest.
        self._look.seeing = frozenset(row.session_id for row in self._table.seen)
        self.query_one("#head", Static).update(self._head(page))
        self.query_one("#asked", Static).update(self._asked(page))
        self._say_why()

    @on(SessionTable.Selected)
    def _say_why(self) -> None:
        """What is known of the selected one that no column has room for."""
        row = self._table.selected
        error = "" if row is None or row.error is None else visible(row.error)
        self.query_one("#why", Static).update(Text(error, style="red"))

    def _head(self, page: Page) -> Text:
        total = page.total + page.left_out
        text = Text.assemble(
            ("streamhub top", "bold"), f"  {self._where}  ", (_counted(total), "dim"), no_wrap=True
        )
        if not page.complete and page.away is None:
            text.append("  looking …", style="dim")
        text.append("\n")
        for status in _STATUSES:
            count = page.counts.get(status, 0)
            chosen = status in self._query.statuses
            if count or chosen:
                style = STYLES[status] + (" reverse" if chosen else "")
                text.append(f"{count:,} {status}", style=style)
                text.append("  ")
        return text

    def _asked(self, page: Page) -> Text:
        """What the rows are chosen by, and what keeps them from being read."""
        query, lines = self._query, []
        chosen = [
            f"{name} {visible(value)}"
            for name, value in (("search", query.text), ("owner", query.owner or ""))
            if value
        ]
        if chosen:
            found = _counted(page.found)
            lines.append(Text(f"{', '.join(chosen)}: {found} (Esc shows all)", style="yellow"))
        if page.left_out:
            lines.append(Text(f"{page.left_out:,} more are counted, not shown", style="yellow"))
        if page.away is not None:
            told = visible(self._said(page.away))
            lines.append(Text(f"not read any more, what is shown is old: {told}", style="bold red"))
        return Text("\n").join(lines)

    # What is asked for.

    def _ask(self, **changes: Any) -> None:
        self._query = msgspec.structs.replace(self._query, **changes)
        if self._look is not None:
            self._refresh()

    def action_search(self) -> None:
        field = self.query_one("#search", Input)
        field.add_class("open")
        field.value = self._query.text
        field.focus()

    @on(Input.Changed)
    def _search(self, event: Input.Changed) -> None:
        if event.input.has_class("open"):
            self._ask(text=event.value)

    @on(Input.Submitted)
    def _searched(self) -> None:
        self._leave_search()

    def _leave_search(self) -> None:
        self.query_one("#search", Input).remove_class("open")
        self._table.focus()

    def action_everything(self) -> None:
        """Leave the search, or ask for nothing in particular any more."""
        if self.query_one("#search", Input).has_class("open"):
            self._leave_search()
        self._ask(text="", statuses=frozenset(), owner=None)

    def action_next_status(self) -> None:
        """Only the next status that there is, and after the last all of them."""
        counts: Mapping[str, int] = {} if self._page is None else self._page.counts
        there = [status for status in _STATUSES if counts.get(status)]
        now = next(iter(self._query.statuses), None) if len(self._query.statuses) == 1 else None
        later = (
            there
            if now is None
            else [status for status in there if _STATUSES.index(status) > _STATUSES.index(now)]
        )
        self._ask(statuses=frozenset(later[:1]))

    def action_only_owner(self) -> None:
        """Only what belongs to the owner of the selected session; then to anybody again."""
        row = self._table.selected
        owner = None if self._query.owner is not None or row is None else row.owner
        self._ask(owner=owner)

    def action_sort(self, by: int) -> None:
        at = (_SORTS.index(self._query.sort) + by) % len(_SORTS)
        self._sort(_SORTS[at])

    def action_reverse(self) -> None:
        self._ask(descending=not self._query.descending)

    def on_session_table_sorted(self, event: SessionTable.Sorted) -> None:
        if event.sort == self._query.sort:
            self.action_reverse()
        else:
            self._sort(event.sort)

    def _sort(self, sort: Sort) -> None:
        self._ask(sort=sort, descending=sort not in ASCENDING)


def _counted(count: int) -> str:
    return "1 session" if count == 1 else f"{count:,} sessions"
