"""Events as records of ``logging``: one logger for each part of the package, and each fact as an
attribute of the record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from ..chunks import Cursor, Status
from . import events
from .events import Event

__all__ = ["LoggingInstrument"]

# What is no fact to be logged: metadata may hold whatever an application keeps there, and functions
# are for instruments to call.
_LEFT_OUT = ("metadata", "statistics", "ask")
_LONGEST_REASON = 500


class _Line(NamedTuple):
    part: str
    level: int
    #: Filled in with the event's facts.
    text: str


_SESSION = "session %(session_id)r: "
_DONE = "%(chunks)d chunks in %(seconds).3f s"
_LINES: Mapping[type[Any], _Line] = {
    events.Opened: _Line("hub", logging.INFO, "hub %(hub)d is open on %(store)s"),
    events.Closed: _Line("hub", logging.INFO, "hub %(hub)d is closed"),
    events.Claimed: _Line("producing", logging.INFO, _SESSION + "claimed by %(generation)s"),
    events.TakenOver: _Line(
        "producing",
        logging.INFO,
        _SESSION + "%(generation)s has replaced %(replaced)s (%(takeover)s after chunk %(base)d)",
    ),
    events.Refused: _Line(
        "producing",
        logging.DEBUG,
        _SESSION + "not claimed, because %(generation)s has it (%(status)s)",
    ),
    events.FirstStored: _Line(
        "producing", logging.DEBUG, _SESSION + "first chunk stored after %(seconds).3f s"
    ),
    events.CancelNoticed: _Line(
        "producing", logging.INFO, _SESSION + "%(generation)s is to stop, as a cancel asks"
    ),
    events.DataLost: _Line(
        "producing", logging.WARNING, _SESSION + "%(reason)s; it is to be put back"
    ),
    events.Repaired: _Line(
        "producing",
        logging.WARNING,
        _SESSION + "put back, where %(kept)d of %(chunks)d chunks were left",
    ),
    events.Ended: _Line("producing", logging.INFO, _SESSION + "ended as %(status)s, " + _DONE),
    events.Released: _Line("producing", logging.INFO, _SESSION + "released, " + _DONE),
    events.Fenced: _Line(
        "producing", logging.WARNING, _SESSION + "%(generation)s is fenced by %(by)s, " + _DONE
    ),
    events.GivenUp: _Line(
        "producing", logging.ERROR, _SESSION + "given up, " + _DONE + ": %(reason)s"
    ),
    events.Published: _Line(
        "producing",
        logging.DEBUG,
        "%(chunks)d chunks of %(sessions)d sessions set out after %(waited).6f s",
    ),
    events.Stored: _Line(
        "producing",
        logging.DEBUG,
        "%(chunks)d chunks of %(sessions)d sessions stored in %(seconds).6f s",
    ),
    events.CancelRequested: _Line(
        "reading", logging.INFO, _SESSION + "a cancel was asked for (%(status)s)"
    ),
    events.Lost: _Line(
        "reading",
        logging.WARNING,
        _SESSION + "lost by %(generation)s after %(chunks)d chunks",
    ),
    events.Delivered: _Line(
        "reading", logging.DEBUG, _SESSION + "delivered %(since_accept).6f s after it was accepted"
    ),
    events.Subscribed: _Line(
        "reading",
        logging.DEBUG,
        _SESSION + "subscriber %(subscriber)d begins after %(after)s, %(behind)d chunks behind",
    ),
    events.Replayed: _Line(
        "reading",
        logging.DEBUG,
        _SESSION + "subscriber %(subscriber)d has replayed " + _DONE,
    ),
    events.FellBehind: _Line(
        "reading",
        logging.DEBUG,
        _SESSION + "subscriber %(subscriber)d is %(behind)d chunks behind",
    ),
    events.CaughtUp: _Line(
        "reading",
        logging.DEBUG,
        _SESSION + "subscriber %(subscriber)d has caught up, " + _DONE,
    ),
    events.Unsubscribed: _Line(
        "reading",
        logging.DEBUG,
        _SESSION + "subscriber %(subscriber)d has left (%(status)s), " + _DONE,
    ),
    events.StoreFailed: _Line(
        "store", logging.DEBUG, "%(doing)s of %(count)d sessions failed: %(reason)s"
    ),
    events.StoreAnswered: _Line(
        "store", logging.DEBUG, "the store has answered in %(seconds).3f s"
    ),
    events.Connected: _Line(
        "store", logging.DEBUG, "connected to %(server)s for %(purpose)s in %(seconds).3f s"
    ),
    events.Disconnected: _Line(
        "store", logging.INFO, "disconnected from %(server)s (%(purpose)s): %(reason)s"
    ),
    events.EndHandedOut: _Line(
        "ends", logging.DEBUG, "feed %(feed)r: got the end of session %(session_id)r"
    ),
    events.EndDone: _Line(
        "ends", logging.DEBUG, "feed %(feed)r: done with the end of session %(session_id)r"
    ),
    events.EndReturned: _Line(
        "ends",
        logging.INFO,
        "feed %(feed)r: the end of session %(session_id)r was not done (%(outcome)s): %(reason)s",
    ),
    events.MessageSent: _Line("inbox", logging.DEBUG, _SESSION + "message %(message_id)s sent"),
    events.MessageReceived: _Line(
        "inbox", logging.DEBUG, _SESSION + "message %(message_id)s received by %(generation)s"
    ),
}


_REMOVED = _SESSION + "%(generation)s is fenced, because the session was removed, " + _DONE


class LoggingInstrument:
    """Logs each event, with its name as ``event`` and its facts beside it: ``session_id``,
    ``generation``, ``status``, ``chunks``, ``seconds`` …, for a formatter that writes JSON.

    Never what was published or sent, metadata or passwords. What goes wrong is logged by the
    package in any case, at ``WARNING`` and above, by the logger ``streamhub``.

    :param logger: the name of the loggers' parent: ``streamhub.producing``, ``streamhub.reading``,
        ``streamhub.store``, ``streamhub.ends``, ``streamhub.inbox`` and ``streamhub.hub``.
    :param levels: of some kinds of events another level than the usual one, as in
        ``{events.Subscribed: logging.INFO}``.
    """

    def __init__(
        self, logger: str = "streamhub", *, levels: Mapping[type[Event], int] | None = None
    ) -> None:
        levels = levels or {}
        if unknown := [one for one in levels if one not in _LINES]:
            raise ValueError(f"levels has {unknown[0]!r}, which is no event of streamhub")
        self._logs: dict[type[Any], tuple[Callable[[int], bool], logging.Logger, int, str]] = {}
        for kind, line in _LINES.items():
            log = logging.getLogger(f"{logger}.{line.part}")
            self._logs[kind] = log.isEnabledFor, log, levels.get(kind, line.level), line.text

    def __call__(self, event: Event, /) -> None:
        is_enabled, log, level, text = self._logs[type(event)]
        if is_enabled(level):
            if isinstance(event, events.Fenced) and event.by is None:
                text = _REMOVED
            facts = _facts(event)
            log.log(level, text, facts, extra={"event": type(event).__name__, **facts})


def _facts(event: Event) -> dict[str, Any]:
    return {
        name: _shown(getattr(event, name))
        for name in msgspec.structs.asdict(event)
        if name not in _LEFT_OUT
    }


def _shown(value: Any) -> Any:
    match value:
        case Status():
            return value.value
        case Cursor():
            return str(value)
        case str() if len(value) > _LONGEST_REASON:
            return value[: _LONGEST_REASON - 1] + "…"
    return value
