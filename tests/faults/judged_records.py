"""Records that break a guarantee, each with one thing changed, and such as only look like it."""

from __future__ import annotations

from . import record
from .checker import READERS
from .good_record import (
    EPOCH,
    GOOD,
    acknowledged,
    claimed,
    closed,
    delivered,
    ended,
    fault,
    fenced,
    instead,
    later,
    opened,
    published,
    raised,
    stored,
    term_of,
    with_,
    without,
)
from .record import Event

STORED = stored("a1", "a2", "a3", "b4", "b5")
CLAIM_B = claimed(3.2, "b", base=3)


def _cancelled(at: float) -> list[Event]:
    """A failover takes what was acknowledged, and a cancel ends the session in which it is heard
    of that late."""
    asked = record.CancelAsked(at=4.2, session="chat")
    over = (
        asked,
        closed(at, "b"),
        record.CancelAnswered(at=at, session="chat", status="cancelled"),
        ended(at, "cancelled"),
        ended(at, "cancelled", "late"),
        stored("a1", "a2", "a3", "b4", status="cancelled"),
        *fault(3.9, 4.1, wipes=True, lapses=True),
    )
    before = [event for event in GOOD if event.at < 4.15]
    return [*before, *over]


BAD: dict[str, tuple[str, list[Event]]] = {
    "two write at once": (
        "G1",
        with_(published(4.0, "a", 4), acknowledged(4.1, "a", 4)),
    ),
    "a stale chunk is delivered": (
        "G2",
        [*instead(delivered(4.1, 4, "b4"), delivered(4.1, 4, "a4")), published(1.45, "a", 4)],
    ),
    "a stale chunk is stored": (
        "G2",
        [*instead(STORED, stored("a1", "a2", "a3", "a4", "b5")), published(1.45, "a", 4)],
    ),
    "a fenced producer writes on": (
        "G2",
        with_(fenced(3.5, "a"), acknowledged(3.6, "a", 3)),
    ),
    "a fenced producer closes": ("G2", with_(fenced(3.5, "a"), closed(3.6, "a"))),
    "a chunk is skipped": ("G3", without(delivered(1.7, 2, "a2"))),
    "a chunk comes twice": ("G3", with_(delivered(1.75, 2, "a2"))),
    "chunks come in another order": (
        "G3",
        instead(delivered(1.6, 1, "a1"), delivered(1.75, 1, "a1")),
    ),
    "a chunk is garbled": ("G3", instead(delivered(1.7, 2, "a2"), delivered(1.7, 2, "x"))),
    "a chunk comes under another cursor": (
        "G3",
        instead(delivered(1.7, 2, "a2"), delivered(1.7, 2, "a3")),
    ),
    "a chunk comes from another epoch": (
        "G3",
        instead(delivered(1.7, 2, "a2"), delivered(1.7, 2, "a2", term=7)),
    ),
    "a term goes on where it did not begin": (
        "G3",
        instead(delivered(1.8, 3, "a3"), delivered(1.8, 3, "b4", term=EPOCH + 3)),
    ),
    "a chunk comes after the end": ("G3", with_(delivered(4.5, 6, "b6"))),
    "the newest chunks are missing at the end": ("G3", without(delivered(4.1, 5, "b5"))),
    "a reader hangs": ("G3", without(ended(4.4))),
    "a reader gets an error for no reason": (
        "G3",
        instead(ended(4.4), raised(4.4, "SessionNotFound")),
    ),
    "a reader with a cursor finds nothing, before it is put back": (
        "G3",
        with_(
            opened(3.8, "new", after=(EPOCH, 3)),
            raised(3.9, "SessionNotFound", "new"),
            *fault(3.75, 3.8, wipes=True),
            acknowledged(3.95, "b", 4),
        ),
    ),
    "a reader never reads on": (
        "G3",
        [event for event in GOOD if getattr(event, "reader", "") != "r" or event.at < 3.05],
    ),
    "a crash looks like an end": ("G4", with_(opened(2.1, "x"), ended(2.2, reader="x"))),
    "an end is called a cancel": ("G4", instead(ended(4.4), ended(4.4, "cancelled"))),
    "an end is called a failure": ("G4", instead(ended(4.4), raised(4.4, "ProducerFailed"))),
    "what flush promised is gone": (
        "G5",
        [
            event
            for event in instead(STORED, stored("a1", "a2", "a3", "b4"))
            if getattr(event, "offset", 0) != 5 or isinstance(event, record.Published)
        ],
    ),
    "what close promised is gone": (
        "G5",
        [
            event
            for event in instead(STORED, stored("a1", "a2", "a3", "b4"))
            if event != acknowledged(4.0, "b", 5)
        ],
    ),
    "what close promised is gone, long after a wipe": (
        "G5",
        [
            *(
                event
                for event in instead(STORED, stored("a1", "a2", "a3", "b4"))
                if event != acknowledged(4.0, "b", 5)
            ),
            *fault(3.5, 3.6, wipes=True),
        ],
    ),
    "a cancel costs what was acknowledged, of a producer that was there": ("G5", _cancelled(4.35)),
    "the whole session is gone": ("G5", without(STORED)),
    "a producer gets an error for no reason": (
        "G5",
        with_(
            record.Failed(at=4.0, session="chat", generation="b", error="StoreUnavailable: away")
        ),
    ),
    "the log holds a chunk twice": (
        "G6",
        instead(STORED, stored("a1", "a2", "a3", "b4", "b5", "b5")),
    ),
    "the log has a hole": (
        "G6",
        instead(
            STORED,
            record.Stored(
                at=99.0,
                session="chat",
                status="finished",
                chunks=tuple((term_of(n), n, f"{'a' if n < 4 else 'b'}{n}") for n in (1, 2, 3, 5)),
            ),
        ),
    ),
    "a log begins anew": ("G7", [*instead(CLAIM_B, claimed(3.2, "b"))]),
    "a wipe costs a log": (
        "G7",
        [
            *instead(CLAIM_B, claimed(3.2, "b")),
            *fault(1.3, 1.4, wipes=True),
            acknowledged(1.55, "a", 3),
        ],
    ),
    "a dead producer shows late": (
        "G8",
        [event for event in with_(record.Keys(at=8.0, count=2)) if not 2.9 < event.at < 4.6],
    ),
    "a late answer excuses no more than it took": (
        "G8",
        [*later(1.5), record.Lagged(at=3.5, process=record.SERVER, seconds=0.4)],
    ),
    "a living producer is called lost": (
        "G8",
        with_(raised(4.15, "ProducerLost"), opened(4.16, after=(EPOCH + 3, 5))),
    ),
    "a fault is no excuse where leases do not lapse": (
        "G8",
        with_(raised(4.15, "ProducerLost"), opened(4.16, after=(EPOCH + 3, 5)), *fault(4.0, 4.1)),
    ),
    "a cancel is forgotten": (
        "G9",
        with_(
            record.CancelAsked(at=4.0, session="chat"),
            record.CancelAnswered(at=4.2, session="chat", status="cancelled"),
        ),
    ),
    "a key stays": ("G11", with_(record.Keys(at=6.0, count=3, immortal=("meta",)))),
}

EXCUSED: dict[str, list[Event]] = {
    "a cancel ended what had lapsed before it was put back": _cancelled(5.2),
    "a producer was killed before it could tell where it had put a chunk": instead(
        published(1.1 + 3 / 10, "a", 3),
        record.Publishing(at=1.35, session="chat", generation="a", data="a3"),
    ),
    "nobody was there to put back what a wipe took": [
        *without(*(event for event in GOOD if event.at > 2.5)),
        *fault(2.5, 2.6, wipes=True),
        raised(3.0, "SessionNotFound"),
        raised(3.1, "SessionNotFound", "late"),
    ],
    "a wipe took what had ended, and nobody had heard of the end yet": [
        *instead(STORED, stored("a1", "a2", "a3", "b4")),
        *fault(4.1, 4.25, wipes=True),
    ],
    "who comes without a cursor finds nothing, before it is put back": with_(
        opened(3.8, "new"),
        raised(3.9, "SessionNotFound", "new"),
        *fault(3.75, 3.8, wipes=True),
        acknowledged(3.95, "b", 4),
    ),
    "leases lapse by the fault": [
        *with_(raised(4.15, "ProducerLost"), opened(4.16, after=(EPOCH + 3, 5))),
        *fault(4.0, 4.1, lapses=True),
    ],
    "the readers' process stood still": with_(
        raised(4.15, "ProducerLost"),
        opened(4.16, after=(EPOCH + 3, 5)),
        record.Lagged(at=4.0, process=READERS, seconds=0.8),
    ),
    "the readers' process and the server were late in turns": [
        *later(1.5),
        record.Lagged(at=3.5, process=record.SERVER, seconds=0.4),
        record.Lagged(at=4.0, process=READERS, seconds=0.4),
    ],
}
