"""Instruments of a hub for threads."""

from __future__ import annotations

import threading
from contextvars import ContextVar

from streamhub.instruments import Event, events
from streamhub.sync import Hub

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_trace: ContextVar[str | None] = ContextVar("trace", default=None)


class Ear:
    def __init__(self) -> None:
        self.heard: list[tuple[str, Event]] = []

    def __call__(self, event: Event) -> None:
        self.heard.append((threading.current_thread().name, event))

    def context(self, takeover: str) -> str | None:
        return _trace.get()


def test_they_are_told_in_the_hubs_thread_within_the_trace_of_who_called(session_id: str) -> None:
    """The trace is that of the thread that registers, whatever thread does the rest; statistics may
    be asked for anywhere."""
    ear = Ear()
    with Hub(instruments=[ear]) as hub:
        _trace.set(TRACE)
        stream, _ = hub.register(session_id)
        with stream:
            stream.publish("one")
        _trace.set(None)
        hub.run("another", ["two"]).wait()
        (opened,) = [one for _, one in ear.heard if isinstance(one, events.Opened)]
        assert hub.statistics().tasks == opened.statistics().tasks

    claimed = [one for _, one in ear.heard if isinstance(one, events.Claimed)]
    assert [TRACE, None] == [one.traceparent for one in claimed]
    assert {"streamhub"} == {name for name, _ in ear.heard}
    assert isinstance(ear.heard[-1][1], events.Closed)
