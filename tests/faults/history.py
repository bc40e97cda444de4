"""A record arranged by session, reader and generation: what the proofs and the figures ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import takewhile
from math import inf
from typing import NamedTuple

from . import record

__all__ = ["HEARS_WITHIN", "Chunk", "History", "Session", "Window"]


#: How much later than one reader another may hear of the same thing.
HEARS_WITHIN = 0.5
#: What is left at least of a lease, of one whose producer lives: it renews it earlier.
_LEFT = 0.5


class Window(NamedTuple):
    """The time in which a fault was at work."""

    fault: str
    start: float
    end: float
    wipes: bool
    lapses: bool
    sessions: tuple[str, ...]

    def overlaps(self, start: float, end: float) -> bool:
        return self.start <= end and start <= self.end


class Chunk(NamedTuple):
    """A chunk as somebody saw it: a reader, or who read the store at the end."""

    seen_by: str
    term: int
    offset: int
    data: str
    at: float


class Session:
    """One session's events of each kind, in the order of their times."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.claims: list[record.Claimed] = []
        #: By generation: when it was granted, also to one that published nothing.
        self.granted: dict[str, float] = {}
        #: What was published, or was about to be, by which generation; and what certainly was.
        self.publishing: dict[str, str] = {}
        self.published: dict[str, record.Published] = {}
        self.acknowledged: dict[str, list[record.Acknowledged]] = defaultdict(list)
        #: By generation: when it was told that it may not write, or was done.
        self.fenced: dict[str, float] = {}
        self.left: dict[str, float] = {}
        self.closing: dict[str, record.Closing] = {}
        self.closed: dict[str, float] = {}
        self.failed: list[record.Failed] = []
        self.readers: dict[str, list[record.Event]] = defaultdict(list)
        self.asked: list[record.CancelAsked] = []
        self.answered: list[record.CancelAnswered] = []
        self.removals: list[record.RemovalAsked] = []
        self.restarts: list[record.RestartAsked] = []
        self.stored: record.Stored | None = None
        #: Whether data was lost that nobody could put back, or that two could; or whether it was
        #: asked for that the session goes, or begins anew.
        self.forfeited = False

    def seen(self) -> Iterator[Chunk]:
        """All chunks that were delivered or are stored."""
        for reader, events in self.readers.items():
            for one in events:
                if isinstance(one, record.Delivered):
                    yield Chunk(reader, one.term, one.offset, one.data, one.at)
        if self.stored is not None:
            for term, offset, data in self.stored.chunks:
                yield Chunk("the store", term, offset, data, self.stored.at)

    def writer(self, data: str) -> record.Claimed | None:
        """The claim of whoever published this, which nobody else has."""
        generation = self.publishing.get(data)
        return next((one for one in self.claims if one.generation == generation), None)

    def claimant(self, at: float) -> record.Claimed | None:
        """Who claimed last before ``at``."""
        before = [claim for claim in self.claims if claim.at <= at]
        return before[-1] if before else None

    def continued(self, at: float) -> list[record.Claimed]:
        """The claims that went on with what had ended by ``at``: a cancelled stream may be."""
        return [claim for claim in self.claims if claim.at > at - HEARS_WITHIN]

    def closed_in_silence(self, at: float) -> bool:
        """Whether somebody went on with what had ended by ``at`` who published nothing before the
        close, so that no claim is known of it."""
        known = {claim.generation for claim in self.claims}
        return any(
            one.at > at - HEARS_WITHIN and one.generation not in known
            for one in self.closing.values()
        )

    def is_stale(self, chunk: Chunk) -> bool:
        """Whether its writer had lost the session where the chunk stands in the log."""
        writer = self.writer(chunk.data)
        if writer is None:
            return False
        later = self.claims[self.claims.index(writer) + 1 :]
        return any(claim.base < chunk.offset for claim in takewhile(self.continues, later))

    def continues(self, claim: record.Claimed) -> bool:
        """Whether the claim went on with the log that there was, as far as its cursors tell."""
        return claim.base > 0 or claim.generation == self.claims[0].generation

    def began_anew(self) -> list[record.Claimed]:
        """The claims that began a log in the place of one that had chunks."""
        return [
            claim
            for claim in self.claims[1:]
            if not self.continues(claim)
            and any(
                answer.last > 0 and answer.at < claim.at
                for answers in self.acknowledged.values()
                for answer in answers
            )
        ]


class History:
    def __init__(
        self, events: Sequence[record.Event], patience: float = 0.0, lease: float = inf
    ) -> None:
        self._lease = lease
        #: How much later than on a quiet machine, after a single fault, things may be known.
        self.patience = patience
        self.sessions: dict[str, Session] = {}
        self.windows: list[Window] = []
        self.stops: list[record.Stopped] = []
        self.lags: list[record.Lagged] = []
        self.keys: list[record.Keys] = []
        self.end = events[-1].at if events else 0.0
        struck: list[record.Struck] = []
        for event in events:
            match event:
                case record.Struck():
                    struck.append(event)
                case record.Healed():
                    begin = next(one for one in struck if one.fault == event.fault)
                    struck.remove(begin)
                    self.windows.append(
                        Window(
                            *(begin.fault, begin.at, event.at, begin.wipes, begin.lapses),
                            event.sessions,
                        )
                    )
                case record.Stopped():
                    self.stops.append(event)
                case record.Lagged():
                    self.lags.append(event)
                case record.Keys():
                    self.keys.append(event)
                case _:
                    self._add(event)
        self.windows += [
            Window(one.fault, one.at, inf, one.wipes, one.lapses, ()) for one in struck
        ]
        for session in self.sessions.values():
            session.forfeited = bool(session.removals or session.restarts) or any(
                not self._is_repairable(session, window) for window in self.windows if window.wipes
            )

    def lag(self, start: float, end: float) -> float:
        """How late an event loop, or the server, was at worst between ``start`` and ``end``."""
        return max((one.seconds for one in self._lags(start, end)), default=0.0)

    def delay(self, start: float, end: float, process: str) -> float:
        """How late all was together that happened in this process between ``start`` and ``end``:
        what takes several steps may be late with each."""
        lags = self._lags(start, end)
        return sum(one.seconds for one in lags if one.process in (process, record.SERVER))

    def disturbed(self, start: float, end: float) -> float:
        """How long faults were at work between ``start`` and ``end``."""
        return sum(max(0.0, min(one.end, end) - max(one.start, start)) for one in self.windows)

    def wiped(self, start: float, end: float) -> bool:
        """Whether stored data was lost between ``start`` and ``end``."""
        return any(one.wipes and one.overlaps(start, end) for one in self.windows)

    def _lags(self, start: float, end: float) -> list[record.Lagged]:
        return [one for one in self.lags if start <= one.at <= end + one.seconds]

    def stop_of(self, process: str, after: float, before: float) -> record.Stopped | None:
        return next(
            (one for one in self.stops if one.process == process and after <= one.at <= before),
            None,
        )

    def _add(self, event: record.Event) -> None:
        name = event.session  # type: ignore[union-attr]
        session = self.sessions.setdefault(name, Session(name))
        match event:
            case record.Claimed():
                session.claims.append(event)
            case record.Granted():
                session.granted[event.generation] = event.at
            case record.Publishing():
                session.publishing[event.data] = event.generation
            case record.Published():
                session.publishing[event.data] = event.generation
                session.published[event.data] = event
            case record.Acknowledged():
                session.acknowledged[event.generation].append(event)
            case record.Fenced():
                session.fenced.setdefault(event.generation, event.at)
            case record.Left():
                session.left[event.generation] = event.at
            case record.Closing():
                session.closing[event.generation] = event
            case record.Closed():
                session.closed[event.generation] = event.at
            case record.Failed():
                session.failed.append(event)
            case record.CancelAsked():
                session.asked.append(event)
            case record.CancelAnswered():
                session.answered.append(event)
            case record.RemovalAsked():
                session.removals.append(event)
            case record.RestartAsked():
                session.restarts.append(event)
            case record.Stored():
                session.stored = event
            case _:
                session.readers[event.reader].append(event)  # type: ignore[union-attr]

    def _is_repairable(self, session: Session, wipe: Window) -> bool:
        """Whether exactly one producer could put back what the wipe took, and lived to do so."""
        if not session.claims or session.claims[0].at > wipe.end:
            return True
        living = []
        for claim in session.claims:
            # Who is fenced while data is lost has met another one who writes.
            gone = (
                claim.generation in session.fenced
                and session.fenced[claim.generation] <= wipe.start
            ) or self._had_ended(session, claim, wipe)
            stop = self.stop_of(claim.process, claim.at, wipe.start)
            dead = stop is not None and not stop.revives
            if claim.at <= wipe.end and not dead and not gone:
                living.append((claim, self._repaired(session, claim, wipe)))
        if len(living) != 1:
            return False
        ((claim, repaired),) = living
        lapsed = wipe.lapses and repaired > wipe.start + _LEFT * self._lease
        if lapsed and any(wipe.start <= one.at <= repaired for one in session.asked):
            # Who cancels what is lost ends it there and then, with what the store has of it.
            return False
        granted = {one.generation: one.at for one in session.claims} | session.granted
        if any(
            granted[claim.generation] < at <= repaired
            for generation, at in granted.items()
            if generation != claim.generation
        ):
            return False
        return self.stop_of(claim.process, claim.at, repaired) is None

    def _had_ended(self, session: Session, claim: record.Claimed, wipe: Window) -> bool:
        """Whether it may have ended before the wipe was over: the store's answer, if it was asked
        for by then, may be heard a little later."""
        generation = claim.generation
        asked = [one.at for one in session.asked]
        if (closing := session.closing.get(generation)) is not None:
            asked.append(closing.at)
        heard = wipe.end
        if any(at <= wipe.end for at in asked):
            heard += HEARS_WITHIN + self.delay(wipe.start, wipe.end + HEARS_WITHIN, claim.process)
        return any(ended.get(generation, inf) <= heard for ended in (session.left, session.closed))

    @staticmethod
    def _repaired(session: Session, claim: record.Claimed, wipe: Window) -> float:
        later = (one.at for one in session.acknowledged[claim.generation] if one.at > wipe.end)
        # The first may still be an answer from before.
        next(later, None)
        return min(next(later, inf), session.closed.get(claim.generation, inf))
