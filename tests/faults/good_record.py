"""A record in which all is well, and the words to change it."""

from __future__ import annotations

import msgspec

from . import record
from .record import Event

LEASE = 1.0
EPOCH = 1000


def term_of(offset: int) -> int:
    """In the good record the second producer writes from the fourth chunk on."""
    return EPOCH if offset <= 3 else EPOCH + 3


def claimed(at: float, generation: str, base: int = 0) -> Event:
    term = EPOCH + base
    return record.Claimed(
        at=at, session="chat", generation=generation, term=term, base=base, process=generation
    )


def published(at: float, generation: str, offset: int, data: str | None = None) -> Event:
    return record.Published(
        at=at,
        session="chat",
        generation=generation,
        term=term_of(offset),
        offset=offset,
        data=data or f"{generation}{offset}",
    )


def published_in(at: float, generation: str, offset: int, term: int) -> Event:
    """A chunk that is lost before another takes its place."""
    one = published(at, generation, offset)
    return msgspec.structs.replace(one, term=term)


def acknowledged(at: float, generation: str, last: int) -> Event:
    return record.Acknowledged(at=at, session="chat", generation=generation, last=last)


def closing(at: float, generation: str, status: str = "finished") -> Event:
    return record.Closing(at=at, session="chat", generation=generation, status=status)


def closed(at: float, generation: str) -> Event:
    return record.Closed(at=at, session="chat", generation=generation)


def fenced(at: float, generation: str) -> Event:
    return record.Fenced(at=at, session="chat", generation=generation)


def opened(at: float, reader: str = "r", after: tuple[int, int] | None = None) -> Event:
    return record.Opened(at=at, session="chat", reader=reader, after=after)


def delivered(
    at: float, offset: int, data: str, reader: str = "r", term: int | None = None
) -> Event:
    term = term or term_of(offset)
    return record.Delivered(
        at=at, session="chat", reader=reader, term=term, offset=offset, data=data
    )


def ended(at: float, status: str = "finished", reader: str = "r") -> Event:
    return record.Ended(at=at, session="chat", reader=reader, status=status)


def raised(at: float, error: str, reader: str = "r") -> Event:
    return record.Raised(at=at, session="chat", reader=reader, error=error)


def stopped(at: float, process: str) -> Event:
    return record.Stopped(at=at, process=process)


def stored(*data: str, status: str = "finished") -> Event:
    chunks = tuple((term_of(offset), offset, text) for offset, text in enumerate(data, 1))
    return record.Stored(at=99.0, session="chat", status=status, chunks=chunks)


def fault(start: float, end: float, *, wipes: bool = False, lapses: bool = False) -> list[Event]:
    return [
        record.Struck(at=start, fault="it", wipes=wipes, lapses=lapses),
        record.Healed(at=end, fault="it"),
    ]


#: One producer dies after three chunks, another continues, and two readers see it all.
GOOD: list[Event] = [
    claimed(1.0, "a"),
    opened(1.1),
    *(published(1.1 + n / 10, "a", n) for n in (1, 2, 3)),
    acknowledged(1.5, "a", 3),
    *(delivered(1.5 + n / 10, n, f"a{n}") for n in (1, 2, 3)),
    opened(1.9, "late"),
    *(delivered(1.91, n, f"a{n}", "late") for n in (1, 2, 3)),
    stopped(2.0, "a"),
    raised(3.0, "ProducerLost"),
    raised(3.1, "ProducerLost", "late"),
    claimed(3.2, "b", base=3),
    opened(3.3, after=(EPOCH, 3)),
    opened(3.3, "late", after=(EPOCH, 3)),
    *(published(3.3 + n / 10, "b", n) for n in (4, 5)),
    acknowledged(4.0, "b", 5),
    *(delivered(4.1, n, f"b{n}", reader) for n in (4, 5) for reader in ("r", "late")),
    closing(4.2, "b"),
    closed(4.3, "b"),
    ended(4.4),
    ended(4.4, reader="late"),
    record.Keys(at=5.0, count=2),
    stored("a1", "a2", "a3", "b4", "b5"),
]


def without(*gone: Event) -> list[Event]:
    kept = [event for event in GOOD if event not in gone]
    assert len(kept) == len(GOOD) - len(gone)
    return kept


def with_(*more: Event) -> list[Event]:
    return [*GOOD, *more]


def instead(old: Event, *new: Event) -> list[Event]:
    return [*without(old), *new]


def later(seconds: float) -> list[Event]:
    """All that follows the death comes so much later."""
    return [
        event if event.at <= 2.0 else msgspec.structs.replace(event, at=event.at + seconds)
        for event in GOOD
    ]
