"""A view of a session of which instruments are told."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..chunks import Status
from ..instruments import events
from ..instruments.events import Tell
from ..stores.base import Appended, LiveEvent, Released
from .session_view import SessionView

__all__ = ["ObservedView"]

# For so many seconds a chunk is waited for, before another one is.
_PATIENCE = 1.0
_REMEMBERED = 4096


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

    def expect(self, offset: int, since: float, began: float) -> None:
        """A chunk is on its way, with others of which the oldest was accepted then."""
        if self._expected is None or self._expected.began + _PATIENCE < began:
            self._expected = _Expected(offset, since, began)

    def end_look(self, found: Any) -> None:
        super().end_look(found)
        self._tell_loss()

    def _on_event(self, event: LiveEvent) -> None:
        super()._on_event(event)
        expected = self._expected
        if isinstance(event, Appended):
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
