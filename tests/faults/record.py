"""What happened in a campaign, event by event, whatever task or process saw it.

Times are those of the system's monotonic clock, which all processes of one machine share.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import msgspec

__all__ = [
    "SERVER",
    "Acknowledged",
    "CancelAnswered",
    "CancelAsked",
    "Claimed",
    "Closed",
    "Closing",
    "Delivered",
    "Ended",
    "Event",
    "Failed",
    "Fenced",
    "Granted",
    "Healed",
    "Keys",
    "Lagged",
    "Left",
    "Opened",
    "Paused",
    "Published",
    "Publishing",
    "Raised",
    "Record",
    "RemovalAsked",
    "RestartAsked",
    "Resumed",
    "Stopped",
    "Stored",
    "Struck",
    "read",
]

#: Whose answers may be late, as an event loop may.
SERVER = "the server"
#: What is less late is in order, in seconds.
_LATE = 0.1


class _Event(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    at: float = msgspec.field(default_factory=time.monotonic)


class _OfSession(_Event, frozen=True, tag=True, kw_only=True):
    session: str


class _OfProducer(_OfSession, frozen=True, tag=True, kw_only=True):
    generation: str


class Claimed(_OfProducer, frozen=True, tag=True, kw_only=True):
    """A producer in the process ``process`` has published its first chunk. ``term`` is the
    first half of the cursors that it writes under, here and below."""

    term: int
    base: int
    process: str


class Granted(_OfProducer, frozen=True, tag=True, kw_only=True):
    """``register`` granted the session; where it begins is known with its first chunk, if one
    comes."""


class Publishing(_OfProducer, frozen=True, tag=True, kw_only=True):
    """``publish`` is about to be called: the chunk may be handed out before it has returned."""

    data: str


class Published(_OfProducer, frozen=True, tag=True, kw_only=True):
    """``publish`` accepted the chunk."""

    term: int
    offset: int
    data: str


class Acknowledged(_OfProducer, frozen=True, tag=True, kw_only=True):
    """``flush`` returned: everything up to ``last`` is stored."""

    last: int


class Closing(_OfProducer, frozen=True, tag=True, kw_only=True):
    """``close`` or ``fail`` is about to be called."""

    status: str


class Closed(_OfProducer, frozen=True, tag=True, kw_only=True):
    """``close`` or ``fail`` returned, or a cancel ended the stream."""


class Fenced(_OfProducer, frozen=True, tag=True, kw_only=True):
    """A call raised ``ProducerFenced``."""


class Failed(_OfProducer, frozen=True, tag=True, kw_only=True):
    """A call of the producer raised something else."""

    error: str


class Left(_OfProducer, frozen=True, tag=True, kw_only=True):
    """The hub was closed under the producer, which gives its lease up."""


class _OfReader(_OfSession, frozen=True, tag=True, kw_only=True):
    reader: str


class Opened(_OfReader, frozen=True, tag=True, kw_only=True):
    """A subscription begins after the cursor ``after``; None is the start of the log."""

    after: tuple[int, int] | None = None


class Delivered(_OfReader, frozen=True, tag=True, kw_only=True):
    term: int
    offset: int
    data: str


class Paused(_OfReader, frozen=True, tag=True, kw_only=True):
    """The reader takes nothing until it has ``Resumed``: it waits for nobody."""


class Resumed(_OfReader, frozen=True, tag=True, kw_only=True):
    """The reader takes chunks again."""


class Ended(_OfReader, frozen=True, tag=True, kw_only=True):
    """Iteration ended quietly."""

    status: str


class Raised(_OfReader, frozen=True, tag=True, kw_only=True):
    """Iteration ended by an error."""

    error: str
    said: str = ""


class CancelAsked(_OfSession, frozen=True, tag=True, kw_only=True):
    """``cancel`` is about to be called."""


class CancelAnswered(_OfSession, frozen=True, tag=True, kw_only=True):
    status: str


class RemovalAsked(_OfSession, frozen=True, tag=True, kw_only=True):
    """``remove`` is about to be called."""


class RestartAsked(_OfSession, frozen=True, tag=True, kw_only=True):
    """``register`` is about to be called with ``takeover="restart"`` for a session that there is,
    or was."""


class Struck(_Event, frozen=True, tag=True, kw_only=True):
    """A fault begins. ``wipes``: stored data is lost. ``lapses``: leases may lapse by it though
    their producers live."""

    fault: str
    wipes: bool = False
    lapses: bool = False


class Healed(_Event, frozen=True, tag=True, kw_only=True):
    """The fault is over; ``sessions`` are those that it concerned, none means all of them."""

    fault: str
    sessions: tuple[str, ...] = ()


class Stopped(_Event, frozen=True, tag=True, kw_only=True):
    """The producers of a process are dead, or stand still for longer than their leases."""

    process: str
    #: Whether they will write again.
    revives: bool = False


class Lagged(_Event, frozen=True, tag=True, kw_only=True):
    """The event loop of ``process`` came late by so many seconds, and all in it with it; or the
    answer of ``SERVER`` did."""

    process: str
    seconds: float


class Keys(_Event, frozen=True, tag=True, kw_only=True):
    """A look at every key; ``immortal`` are those without a TTL."""

    count: int
    immortal: tuple[str, ...] = ()


class Stored(_OfSession, frozen=True, tag=True, kw_only=True):
    """What the store holds of the session when all is over: status, and the log's entries with
    term, offset and data."""

    status: str
    chunks: tuple[tuple[int, int, str], ...]


Event = (
    Claimed
    | Granted
    | Publishing
    | Published
    | Acknowledged
    | Closing
    | Closed
    | Fenced
    | Failed
    | Left
    | Opened
    | Delivered
    | Paused
    | Resumed
    | Ended
    | Raised
    | CancelAsked
    | CancelAnswered
    | RemovalAsked
    | RestartAsked
    | Struck
    | Healed
    | Stopped
    | Lagged
    | Keys
    | Stored
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


class Record:
    """Takes events; with a ``path`` also into a file, line by line, which outlives the process."""

    def __init__(self, path: Path | None = None) -> None:
        self.events: list[Event] = []
        self._file: IO[bytes] | None = None if path is None else path.open("ab", buffering=0)

    def add(self, event: Event) -> None:
        self.events.append(event)
        if self._file is not None:
            self._file.write(_encode(event) + b"\n")

    def lagged(self, process: str, seconds: float) -> None:
        """Record it if that is worth mention."""
        if seconds > _LATE:
            self.add(Lagged(process=process, seconds=seconds))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def read(own: Iterable[Event], files: Iterable[Path] = ()) -> list[Event]:
    """The events of all processes in the order of their times."""
    events = list(own)
    for path in files:
        # A process that was killed in the middle of a line has not got any further than that.
        events += [_decode(line) for line in path.read_bytes().split(b"\n")[:-1]]
    return sorted(events, key=lambda event: event.at)
