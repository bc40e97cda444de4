"""Who hears of events, and how they are told."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from itertools import count
from typing import Protocol, runtime_checkable

from .events import Event

__all__ = ["Dispatcher", "Instrument", "Tracer", "new_number"]

logger: logging.Logger = logging.getLogger("streamhub")

# W3C Trace Context, 3.2: a version that is not ff, and ids that are not all zero.
_TRACEPARENT = r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
#: Numbers hubs and subscribers.
new_number: Callable[[], int] = count(1).__next__


class Instrument(Protocol):
    """Is called with each event of its hubs, in their event loops, in the order of the events.

    It may be any function. The hub waits for it, and so do all its streams: what takes longer than
    some microseconds belongs into a queue and a thread of its own. If it raises, that is logged,
    once for each kind of event, and nothing else changes.
    """

    def __call__(self, event: Event, /) -> object: ...


@runtime_checkable
class Tracer(Protocol):
    """An instrument that knows the trace within which something is called."""

    def __call__(self, event: Event, /) -> object: ...

    def context(self, takeover: str) -> str | None:
        """The W3C ``traceparent`` of what calls ``register`` or ``run`` now; it is kept with the
        session, for those who read it. None: there is none, and a session that goes on keeps the
        one that it has. Called in the context of the caller.

        :param takeover: as in ``Claimed``.
        """
        ...


class Dispatcher:
    """:raises TypeError: something among ``instruments`` cannot be called, or is a class."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._instruments = (*instruments,)
        for one in self._instruments:
            if isinstance(one, type) or not callable(one):
                raise TypeError(f"an instrument is a function of an event, not {one!r}")
        self._tracers = tuple(one for one in self._instruments if isinstance(one, Tracer))
        self._failed: set[tuple[int, str]] = set()

    def __bool__(self) -> bool:
        return bool(self._instruments)

    def tell(self, event: Event) -> None:
        """Tell each of them; never raises."""
        for one in self._instruments:
            try:
                one(event)
            except Exception as error:
                self._failure(one, type(event).__name__, error)

    def context(self, takeover: str) -> str | None:
        """The ``traceparent`` of who calls, if an instrument knows one; never raises."""
        for one in self._tracers:
            try:
                found = one.context(takeover)
            except Exception as error:
                self._failure(one, "context", error)
                continue
            if found is None:
                continue
            if isinstance(found, str) and re.fullmatch(_TRACEPARENT, found):
                return found
            if self._is_news(one, "traceparent"):
                logger.error("instrument %r: %r is no W3C traceparent", one, found)
        return None

    def _failure(self, one: Instrument, what: str, error: Exception) -> None:
        if self._is_news(one, what):
            logger.error(
                "instrument %r failed at %s, which is said once", one, what, exc_info=error
            )

    def _is_news(self, one: Instrument, what: str) -> bool:
        key = (id(one), what)
        if key in self._failed:
            return False
        self._failed.add(key)
        return True
