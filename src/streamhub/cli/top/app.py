"""The application of ``streamhub top``: its screens, and what is done about a session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import ClassVar

from textual import work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen

from ...board import Query
from ...chunks import Status
from ...errors import SessionCorrupted, SessionNotFound, StreamHubError
from ...hub import Hub
from ...stream import LiveStream
from ..terminal import visible
from .list_screen import ListScreen
from .question import Question
from .session_screen import SessionScreen
from .table import SessionTable

__all__ = ["TopApp"]


class TopApp(App[None]):
    """Shows the sessions of a hub until it is quit.

    :param where: what is said of where the sessions are.
    :param said: takes out of an error what a screen must not show.
    """

    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c,ctrl+q", "quit", show=False, priority=True),
    ]

    def __init__(
        self, hub: Hub, query: Query, *, where: str, said: Callable[[str], str] = str
    ) -> None:
        # The colours of the terminal itself: it may be light or dark, and have sixteen.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self._hub = hub
        self._query = query
        self._where = where
        self._said = said

    def get_default_screen(self) -> Screen[None]:
        board = self._hub.board()
        return ListScreen(board, self._query, where=self._where, said=self._said)

    def on_session_table_opened(self, event: SessionTable.Opened) -> None:
        board, name = self._hub.board(), event.session_id
        self.push_screen(SessionScreen(self._hub, name, lambda: board.row(name), self._said))

    @work
    async def action_stop(self) -> None:
        """Ask, and then have the session's producer stop."""
        name = self._chosen()
        if name is None:
            return
        seen = self._stream_of(name)
        if await self.push_screen_wait(
            Question(f"Stop {visible(name)}?", "ask its producer to stop, wherever it runs")
        ):
            await self._do(self._stop(name, seen))

    @work
    async def action_remove(self) -> None:
        """Ask, and then remove the session."""
        name = self._chosen()
        if name is None:
            return
        seen = self._stream_of(name)
        if await self.push_screen_wait(
            Question(f"Remove {visible(name)} and all that it holds, for good?", "remove it")
        ):
            await self._do(self._remove(name, seen))

    def _chosen(self) -> str | None:
        screen = self.screen
        return screen.chosen if isinstance(screen, ListScreen | SessionScreen) else None

    def _stream_of(self, name: str) -> str | None:
        """Which stream of the session is seen; None of one that is damaged, or gone."""
        info = self._hub.board().info(name)
        return None if info is None else info.stream_id

    async def _found(self, name: str, seen: str | None) -> LiveStream:
        """The stream that was seen when it was decided what is to become of it."""
        stream = await self._hub.get(name)
        if stream is None:
            raise SessionNotFound(name)
        if stream.stream_id != seen:
            detail = "another stream has begun in it since: look at it first"
            raise StreamHubError(f"session {name!r}: {detail}")
        return stream

    async def _do(self, doing: Awaitable[str]) -> None:
        """Tell what came of it."""
        try:
            self.notify(await doing, markup=False)
        except StreamHubError as error:
            self.notify(visible(self._said(str(error))), severity="error", markup=False)

    async def _stop(self, name: str, seen: str | None) -> str:
        stream = await self._found(name, seen)
        before = (await stream.info()).status
        status = await stream.cancel()
        if status is not before:
            return f"{visible(name)} is {status}"
        if status is Status.ACTIVE:
            return f"{visible(name)} is asked to stop"
        return f"{visible(name)} had already ended: {status}"

    async def _remove(self, name: str, seen: str | None) -> str:
        # One that is damaged cannot be looked at, and may be removed all the same.
        with suppress(SessionCorrupted):
            await self._found(name, seen)
        if not await self._hub.remove(name):
            raise SessionNotFound(name)
        return f"removed {visible(name)}"
