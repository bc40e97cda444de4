"""A session as streamhub promises it, in a few plain assignments. No I/O, no time, no library code
but the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from socket import gethostname
from typing import Any

from streamhub import Cursor, SessionInfo, Status
from streamhub.chunks import Terms

__all__ = ["Item", "Producer", "Record", "Session", "Verdict", "text_of"]

#: A chunk's data and event type.
Item = tuple[str, str | None]


class Verdict(Enum):
    """What becomes of a producer's write."""

    STORED = auto()
    FENCED = auto()
    CLOSED = auto()


@dataclass
class Record:
    """What the store holds of a session."""

    generation: str
    terms: Terms
    replaced: str | None
    owner: str | None
    metadata: Any
    log: list[Item]
    status: Status = Status.ACTIVE
    lapsed: bool = False
    cancelling: bool = False
    reason: str | None = None
    error: str | None = None
    #: Whether the log holds what the record says.
    whole: bool = True

    @property
    def standing(self) -> Status:
        return Status.LOST if self.status is Status.ACTIVE and self.lapsed else self.status

    def end(self, status: Status, error: str | None = None) -> None:
        """A cancel that was asked for before decides how it ends."""
        self.status = Status.CANCELLED if self.cancelling else status
        self.error = (self.reason if self.status is Status.CANCELLED else error) or None
        self.cancelling = False

    def info(self, session_id: str, actual: SessionInfo) -> SessionInfo:
        """What a look at the session must find; times are taken from what it did find."""
        return SessionInfo(
            session_id=session_id,
            status=self.standing,
            generation=self.generation,
            terms=self.terms,
            last=self.terms.cursor(len(self.log)),
            replaced=self.replaced,
            bytes=sum(_size(item) for item in self.log),
            lease=actual.lease,
            lease_mark=actual.lease_mark,
            owner=self.owner,
            host=gethostname(),
            created=actual.created,
            updated=actual.updated,
            ended=actual.ended,
            error=self.error,
            cancelling=self.cancelling,
            metadata=self.metadata,
        )


@dataclass(eq=False)
class Producer:
    """One claim, as the process that was granted it holds it until its end."""

    generation: str
    terms: Terms
    replaced: str | None
    owner: str | None
    metadata: Any
    #: All chunks of the epoch, those of earlier producers too; more than are stored, maybe.
    items: list[Item]
    #: Why it can write no more, once it knows.
    over: Verdict | None = None

    def record(self) -> Record:
        """The session as it puts it back when the store has lost it."""
        return Record(
            generation=self.generation,
            terms=self.terms,
            replaced=self.replaced,
            owner=self.owner,
            metadata=self.metadata,
            log=list(self.items),
        )


@dataclass
class Session:
    """One session: what is stored of it, and what came before."""

    record: Record | None = None
    #: The newest term that was removed: nothing of it, or older, must come back.
    buried: int = 0
    #: Every epoch that began.
    epochs: set[int] = field(default_factory=set)
    #: Who took over, in this order.
    takeovers: list[Record] = field(default_factory=list)
    #: Every chunk that was ever stored.
    ever: set[tuple[Cursor, Item]] = field(default_factory=set)

    @property
    def followable(self) -> Record | None:
        """What readers that stay open can follow at once.

        None if the owner is one whom somebody had replaced already: readers who know of that wait
        for a lease until they believe it. Nor if they would have to end it.
        """
        record = self.record
        if record is None or not record.whole:
            return None
        went_back = record.generation in [one.replaced for one in self.takeovers]
        unfinished = record.standing is Status.LOST and record.cancelling
        return None if went_back or unfinished else record

    def grants(self, takeover: str) -> bool:
        """Whether somebody who claims it now gets it (G1)."""
        if self.record is None:
            return True
        standing = self.record.standing
        if takeover == "continue":
            stopped = standing is Status.LOST and self.record.cancelling
            return standing not in (Status.ACTIVE, Status.FINISHED) and not stopped
        return standing is not Status.ACTIVE

    def refuse(self, takeover: str) -> None:
        """A claim was refused; one that would have continued a cancelled stream ends it."""
        if takeover == "continue":
            self.found_lost()

    def grant(
        self, takeover: str, owner: str | None, metadata: Any, generation: str, terms: Terms
    ) -> Producer:
        """``terms`` are those of the store; the epoch must be new unless this continues one."""
        old, log = self.record, list[Item]()
        goes_on = False
        if old is not None and takeover == "continue":
            owner = old.owner if owner is None else owner
            metadata = old.metadata if metadata is None else metadata
            goes_on = old.whole
            log = old.log if goes_on else []
        if goes_on and old is not None:
            assert old.terms.epoch == terms.epoch
            assert old.terms.current < terms.current
        else:
            assert terms.epoch not in self.epochs
        assert (terms.base, terms.spans[:-1]) == (
            len(log),
            tuple(one for one in old.terms.spans if one[1] < len(log)) if goes_on and old else (),
        )
        self.epochs.add(terms.epoch)
        producer = Producer(
            generation=generation,
            terms=terms,
            replaced=None if old is None else old.generation,
            owner=owner,
            metadata=metadata,
            items=list(log),
        )
        self._put(producer.record())
        return producer

    def holds(self, producer: Producer) -> bool:
        """Whether all is there that the producer has stored."""
        record = self.record
        return record is not None and record.whole and record.generation == producer.generation

    def reach(self, producer: Producer) -> Verdict:
        """Something that the producer writes arrives: is it refused (G2), or is a claim that the
        store has lost put back first (G7)?"""
        record = self.record
        if producer.over is not None:
            return producer.over
        forgotten = record is None or record.generation == producer.replaced
        if forgotten and producer.terms.current > self.buried:
            self._put(producer.record())
        elif record is None or record.generation != producer.generation:
            producer.over = Verdict.FENCED
        elif record.status is not Status.ACTIVE:
            producer.over = Verdict.CLOSED
        return producer.over or Verdict.STORED

    def store(self, producer: Producer) -> Verdict:
        """All of its chunks arrive, or its renewal, which mends the log as well."""
        verdict = self.reach(producer)
        if verdict is Verdict.STORED and self.record is not None:
            if not self.record.whole:
                # A log with a hole is put back together with all that belongs to it.
                self.record.metadata = producer.metadata
            self.record.log = list(producer.items)
            self.record.whole = True
            self.record.lapsed = False
            self._remember(self.record)
        return verdict

    def end(self, producer: Producer, status: Status, error: str | None = None) -> Verdict:
        verdict = self.store(producer)
        if verdict is Verdict.STORED and self.record is not None:
            self.record.end(status, error)
            producer.over = Verdict.CLOSED
        return verdict

    def cancel(self, epoch: int, reason: str | None) -> Status:
        """The answer to a cancel of the stream of this epoch (G9)."""
        record = self.record
        if record is None or record.terms.epoch != epoch:
            return Status.LOST
        standing = record.standing
        if standing in (Status.ACTIVE, Status.LOST):
            record.reason = record.reason or reason
        if standing is Status.LOST:
            record.end(Status.CANCELLED)
            return Status.CANCELLED
        if standing is Status.ACTIVE:
            record.cancelling = True
        return standing

    def remove(self) -> bool:
        if self.record is None:
            return False
        if self.record.status is Status.ACTIVE:
            # All that have claimed until now, also where a failover has brought an older one back.
            self.buried = max(self.buried, *(one.terms.current for one in self.takeovers))
        self.record = None
        return True

    def found_lost(self) -> None:
        """A reader came upon a lost session: a cancel that its producer did not live to see is
        carried out for it."""
        record = self.record
        if record is not None and record.standing is Status.LOST and record.cancelling:
            record.end(Status.CANCELLED)

    def lapse(self) -> None:
        """A lease passes in which nobody renewed."""
        if self.record is not None and self.record.status is Status.ACTIVE:
            self.record.lapsed = True

    def wipe(self) -> None:
        self.record = None
        self.buried = 0

    def go_back(self, record: Record | None, buried: int) -> None:
        """Be what it was: the newest writes are lost."""
        self.record, self.buried = record, buried
        if record is not None:
            self._put(record)

    def _put(self, record: Record) -> None:
        self.record = record
        if not self.takeovers or self.takeovers[-1].generation != record.generation:
            self.takeovers.append(record)
        self._remember(record)

    def _remember(self, record: Record) -> None:
        self.ever |= {
            (record.terms.cursor(offset), item) for offset, item in enumerate(record.log, 1)
        }


def text_of(log: Sequence[Item]) -> str:
    """The text that a reader holds who has read so much."""
    return "".join(data for data, event in log if event is None)


def _size(item: Item) -> int:
    return sum(len(part.encode()) for part in item if part is not None) or 1
