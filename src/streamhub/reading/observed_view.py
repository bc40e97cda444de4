"""A view of a session of which instruments are told, and of chunks on their way to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..chunks import Status
from ..instruments import events
from ..instruments.events import Tell
from ..stores.base import Appended, LiveEvent, Released
from .session_view import SessionView

__all__ = ["Expectations", "ObservedView"]

_REMEMBERED = 4096
# How often a chunk is followed on its way, in seconds.
_EVERY = 0.05


class _Expected(NamedTuple):
    offset: int
    since: float
    began: float


class ObservedView(SessionView):
    """Tells when the session is lost, and when chunks come that were published here.

    :param lost: the generations of which it need not be told that they are lost, the newest last;
        shared by all views of a hub.
    """

    __slots__ = ("_expected", "_lost", "_tell")

    def __init__(self, session_id: str, *, tell: Tell, lost: dict[str, None], **rest: Any) -> None:
        self._tell = tell
        self._expected: _Expected | None = None
        self._lost = lost
        super().__init__(session_id, **rest)

    def expect(self, offset: int, since: float) -> None:
        """A chunk is about to set out, with others of which the oldest was accepted then."""
        self._expected = _Expected(offset, since, self._time())

    def end_look(self, found: Any) -> None:
        super().end_look(found)
        self._tell_loss()

    def _on_event(self, event: LiveEvent) -> None:
        SessionView._on_event(self, event)
        expected = self._expected
        if type(event) is Appended:
            if expected is not None and event.base + len(event.chunks) >= expected.offset:
                self._expected = None
                now = self._time()
                self._tell(
                    events.Delivered(
                        session_id=self.session_id,
                        since_accept=now - expected.since,
                        since_published=now - expected.began,
                    )
                )
        elif isinstance(event, Released) and (info := self.standing.info) is not None:
            self._remember(info.generation)
        else:
            self._tell_loss()

    def _tell_loss(self) -> None:
        info = self.standing.info
        if info is None or info.status is not Status.LOST or info.generation in self._lost:
            return
        self._remember(info.generation)
        self._tell(
            events.Lost(
                session_id=self.session_id,
                generation=info.generation,
                owner=info.owner,
                chunks=info.chunks or 0,
            )
        )

    def _remember(self, generation: str) -> None:
        self._lost[generation] = None
        if len(self._lost) > _REMEMBERED:
            del self._lost[next(iter(self._lost))]


class Expectations:
    """Follows some of the chunks that are published here on their way to who reads them here.

    :param view_of: the view of a session, if somebody here reads it.
    """

    def __init__(self, view_of: Callable[[str], SessionView | None]) -> None:
        self._view_of = view_of
        #: No other chunk is followed that was accepted before that, by the loop's clock.
        self._next = 0.0

    def expect(self, session_id: str, offset: int, since: float) -> bool:
        """A chunk is about to set out, as ``ObservedView.expect`` has it; whether it is enough."""
        if since < self._next:
            return True
        view = self._view_of(session_id)
        if not isinstance(view, ObservedView):
            return False
        view.expect(offset, since)
        self._next = since + _EVERY
        return True
