"""Who watches which session in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..live_events import LiveEvent, Synced

__all__ = ["Channel"]


class _Watch:
    def __init__(self, sinks: dict[_Watch, None], sink: Callable[[LiveEvent], None]) -> None:
        self._sinks = sinks
        self.sink: Callable[[LiveEvent], None] | None = sink
        sinks[self] = None

    def send(self, event: LiveEvent) -> None:
        if self.sink is not None:
            self.sink(event)

    def close(self) -> None:
        self.sink = None
        self._sinks.pop(self, None)


class Channel:
    """Carries one kind of events of all sessions, in the caller's own step."""

    def __init__(self) -> None:
        self._watches: dict[str, dict[_Watch, None]] = {}

    def watch(self, session_id: str, sink: Callable[[LiveEvent], None]) -> _Watch:
        """``Synced`` comes first, in a step of its own."""
        watch = _Watch(self._watches.setdefault(session_id, {}), sink)
        asyncio.get_running_loop().call_soon(watch.send, Synced())
        return watch

    def tell(self, session_id: str, event: LiveEvent) -> None:
        for watch in list(self._watches.get(session_id, ())):
            watch.send(event)

    def sweep(self) -> None:
        """Forget the sessions that nobody watches any more."""
        for session_id in [key for key, watches in self._watches.items() if not watches]:
            del self._watches[session_id]
