"""The guarantees G1 to G9 and G11, proved on a record: pure functions that name each violation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from streamhub.testing.waiting import slowness

from . import record
from .history import HEARS_WITHIN, History, Session

__all__ = ["READERS", "Violation", "assert_holds", "violations"]

#: The process that all readers are in.
READERS = "main"
#: G8: how long after its lease a dead producer may look alive.
_SHOWS_WITHIN = 1.0
#: How long after its lease whoever waits for a verdict has one.
_VERDICT_WITHIN = 5.0


class Violation(NamedTuple):
    guarantee: str
    session: str
    says: str

    def __str__(self) -> str:
        return f"{self.guarantee} is broken in {self.session}: {self.says}"


def violations(
    events: Sequence[record.Event], lease: float, *, patience: float = 0.0
) -> list[Violation]:
    """All that the record proves broken; ``events`` are in the order of their times.

    Where one fault follows another, and on a slow machine, who dies may show ``patience`` seconds
    later, and the lease of who lives may lapse so long after a fault that lets it lapse.

    A session that a fault emptied while nobody, or two at once, could put it back is held to the
    order of what was delivered and to how it ended, and to nothing that no producer promises.
    """
    history = History(events, patience, lease)
    found = []
    for guarantee, proof in _PROOFS:
        for session in history.sessions.values():
            found += [
                Violation(guarantee, session.name, says) for says in proof(session, history, lease)
            ]
    return found + [Violation("G11", "the store", says) for says in _nothing_stays(history)]


def assert_holds(events: Sequence[record.Event], lease: float) -> None:
    """Where work takes longer than on a quiet machine, who dies may show as much later.

    :raises AssertionError: a guarantee is broken; names the first violations.
    """
    found = violations(events, lease, patience=_SHOWS_WITHIN * (slowness() - 1.0))
    assert not found, "\n".join(map(str, found[:10]))


def _one_producer(session: Session, history: History, lease: float) -> Iterator[str]:
    """No chunk is stored that was published after another generation had the session."""
    if session.forfeited:
        return
    for claim in session.claims:
        later = [other for other in session.claims if other.at > claim.at]
        acknowledged = session.acknowledged[claim.generation]
        if not later or not acknowledged:
            continue
        since = later[0].at
        for one in session.published.values():
            late = one.generation == claim.generation and one.at > since
            if late and any(answer.last >= one.offset for answer in acknowledged):
                yield (
                    f"{claim.generation} published {one.offset} after "
                    f"{later[0].generation} had claimed, and it was acknowledged"
                )
                return


def _fencing(session: Session, history: History, lease: float) -> Iterator[str]:
    """Nothing of a stale generation takes effect, and whoever was told so writes no more."""
    for generation, at in session.fenced.items():
        after = [
            one
            for one in (*session.acknowledged[generation], *session.published.values())
            if one.generation == generation and one.at > at
        ]
        if after or session.closed.get(generation, at) > at:
            yield f"{generation} was fenced and wrote on"
    if session.forfeited:
        return
    for chunk in session.seen():
        if session.is_stale(chunk):
            yield (
                f"{chunk.seen_by} holds {chunk.offset} of a generation that had lost the session "
                f"before: {chunk.data!r:.60}"
            )
            return


def _complete_and_in_order(session: Session, history: History, lease: float) -> Iterator[str]:
    """Every reader gets every chunk after its start, once, in order, as it was published."""
    for reader, events in session.readers.items():
        position: tuple[int | None, int] = (None, 0)
        over = False
        for event in events:
            match event:
                case record.Opened(after=after):
                    position, over = after or (None, 0), False
                case record.Delivered(term=term, offset=offset, data=data):
                    known, last = position
                    if over:
                        yield f"{reader} was handed {offset} after the end"
                    if known not in (None, term) and not _follows(session, term, last, data):
                        yield f"{reader} was handed chunks of term {term} in term {known}"
                    if offset != last + 1:
                        yield f"{reader} was handed {offset} after {last}"
                    published = session.published.get(data)
                    # Who is killed within ``publish`` has not recorded where it put the chunk.
                    if data not in session.publishing or (
                        published and (term, offset) != (published.term, published.offset)
                    ):
                        yield f"{reader} was handed {offset}, which nobody published: {data!r:.60}"
                    position = (term, offset)
                case record.Ended(at=at):
                    over = True
                    yield from _ends_complete(session, reader, position, at)
                case record.Raised(error=error, said=said):
                    over = error != "ProducerLost"
                    # Who comes without a cursor knows of nothing that could be put back.
                    begins = position == (None, 0) and history.wiped(event.at - lease, event.at)
                    if not (begins and error == "SessionNotFound") and not _is_due(error, session):
                        yield f"{reader} was stopped by {error}: {said}"
        if not over and not session.forfeited:
            yield f"{reader} never came to an end"


def _follows(session: Session, term: int, last: int, data: str) -> bool:
    """Whether a chunk of this term may come after the offset ``last`` of another term."""
    # Who is killed within its first ``publish`` has not recorded where it began.
    claim = session.writer(data)
    return claim is None or (claim.term, claim.base) == (term, last)


def _ends_complete(
    session: Session, reader: str, position: tuple[int | None, int], at: float
) -> Iterator[str]:
    stored = session.stored
    if session.forfeited or any(claim.base == position[1] for claim in session.continued(at)):
        return
    term, offset = position
    held = () if stored is None else stored.chunks
    if offset != len(held):
        yield f"{reader} ended after {offset} of {len(held)} chunks"
    elif held and term not in (None, held[-1][0]):
        yield f"{reader} ended in term {term}, which is not what is stored"


def _is_due(error: str, session: Session) -> bool:
    """Whether a reader may get this error; what it says of the end is G4's, or G8's, to judge."""
    if error in ("StreamReplaced", "SessionNotFound", "CursorExpired"):
        return session.forfeited
    return error in ("ProducerLost", "ProducerFailed")


def _explicit_ends(session: Session, history: History, lease: float) -> Iterator[str]:
    """Nobody hears of an end that nobody asked for."""
    for reader, events in session.readers.items():
        for event in events:
            match event:
                case record.Ended(status=status):
                    pass
                case record.Raised(error="ProducerFailed"):
                    status = "failed"
                case _:
                    continue
            asked = (
                [one.at for one in session.asked]
                if status == "cancelled"
                else [one.at for one in session.closing.values() if one.status == status]
            )
            if not any(at <= event.at for at in asked):
                yield f"{reader} ended as {status}, which nobody asked for"


def _no_silent_loss(session: Session, history: History, lease: float) -> Iterator[str]:
    """What was acknowledged, or published before a successful close, is stored."""
    for failure in session.failed:
        yield f"{failure.generation} got {failure.error}"
    if session.forfeited:
        return
    stored = set()
    if session.stored is not None:
        stored = set(session.stored.chunks)
    for one in session.published.values():
        answers = session.acknowledged[one.generation]
        finished = one.generation in session.closed and not session.asked
        if not finished and not any(answer.last >= one.offset for answer in answers):
            continue
        if (one.term, one.offset, one.data) not in stored:
            by = "close" if finished else "flush"
            yield f"{one.offset} of {one.generation} is not stored, though {by} returned"
            return


def _exactly_once(session: Session, history: History, lease: float) -> Iterator[str]:
    """The log has no holes and no chunk twice."""
    if session.stored is None:
        return
    offsets = [offset for _, offset, _ in session.stored.chunks]
    if offsets != list(range(1, len(offsets) + 1)):
        yield f"the log has the offsets {offsets}"
    for data, times in Counter(data for *_, data in session.stored.chunks).items():
        if times > 1:
            yield f"the log has a chunk {times} times: {data!r:.60}"


def _cursors_name_content(session: Session, history: History, lease: float) -> Iterator[str]:
    """Two chunks with the same cursor are the same chunk, for all readers and for the log."""
    named: dict[tuple[int, int], str] = {}
    for chunk in session.seen():
        before = named.setdefault((chunk.term, chunk.offset), chunk.data)
        if before != chunk.data:
            yield f"{chunk.term}-{chunk.offset} named {before!r:.60} and {chunk.data!r:.60}"
            return


def _not_glued(session: Session, history: History, lease: float) -> Iterator[str]:
    """What stands before a chunk is one and the same, in the text of every reader and in the log:
    so two texts that hold the same chunk are the same up to it."""
    log = [] if session.stored is None else [data for *_, data in session.stored.chunks]
    before = dict(zip(log, ["", *log], strict=False))
    for reader, events in session.readers.items():
        for one, other in _joints(events):
            expected = before.setdefault(other, one)
            if expected != one:
                yield (
                    f"glued: the text of {reader} has {one!r:.60} before {other!r:.60}, "
                    f"where the log has {expected!r:.60}"
                )
                return


def _joints(events: Sequence[record.Event]) -> Iterator[tuple[str, str]]:
    """What this reader holds side by side in its text, where it can be known: "" is the start."""
    text: dict[tuple[int, int], str] = {}
    last: str | None = None
    for event in events:
        match event:
            case record.Opened(after=None):
                text, last = {}, ""
            case record.Opened(after=after) if after is not None:
                last = "" if after[1] == 0 else text.get(after)
            case record.Delivered(term=term, offset=offset, data=data):
                if last is not None:
                    yield last, data
                text[term, offset] = last = data


def _nobody_hangs(session: Session, history: History, lease: float) -> Iterator[str]:
    """Whoever reads hears something within lease and five seconds: all that live publish on, and
    of all others there is a verdict. A fault that lasts, and a machine that is late, come on top.
    """
    for reader, events in session.readers.items():
        ends = [event.at for event in events[1:]]
        for event, end in zip(events, [*ends, history.end], strict=True):
            if not isinstance(event, record.Opened | record.Delivered | record.Resumed):
                continue
            waited = end - event.at
            bound = max(lease + _VERDICT_WITHIN, lease + _SHOWS_WITHIN + history.patience)
            if waited <= bound:
                continue
            waited -= history.delay(event.at, end, READERS) + history.disturbed(event.at, end)
            if waited > bound:
                yield f"hanging: {reader} waited for {waited:.1f} s after {event}"


def _repair(session: Session, history: History, lease: float) -> Iterator[str]:
    """A log lasts, whatever the store has lost."""
    if session.forfeited:
        return
    for claim in session.began_anew():
        yield f"it began anew with {claim.generation}, under the term {claim.term}"


def _crashes_show(session: Session, history: History, lease: float) -> Iterator[str]:
    """The dead are lost to every reader in time, and the living are not."""
    # One that is gone, removed or begun anew is not lost any more: that has another bound.
    for stop in () if session.forfeited else history.stops:
        claim = session.claimant(stop.at)
        if claim is None or claim.process != stop.process or _is_over(session, claim, stop.at):
            continue
        within = lease + _SHOWS_WITHIN + history.patience
        deadline = stop.at + within
        for window in history.windows:
            # Who cannot reach the store, or writes into one that cannot, learns of it later.
            if window.overlaps(stop.at - lease, deadline):
                deadline = max(deadline, window.end + within)
        deadline += history.delay(stop.at, deadline, READERS)
        for reader, events in session.readers.items():
            if _is_open(events, stop.at) and not _has_shown(session, events, stop, deadline):
                late = history.end > deadline
                if late:
                    yield f"{stop.process} died, and {reader} did not hear of it in time"
    for reader, events in session.readers.items():
        for event in events:
            lost = isinstance(event, record.Raised) and event.error == "ProducerLost"
            if lost and not _may_be_lost(session, history, event.at, lease):
                yield f"{reader} was told that a producer is lost which lives"


def _is_over(session: Session, claim: record.Claimed, at: float) -> bool:
    ends = (session.closed, session.left, session.fenced)
    return bool(session.asked) or any(one.get(claim.generation, at) < at for one in ends)


def _is_open(events: Sequence[record.Event], at: float) -> bool:
    before = [event for event in events if event.at <= at]
    return bool(before) and isinstance(before[-1], record.Opened | record.Delivered)


def _has_shown(
    session: Session, events: Sequence[record.Event], stop: record.Stopped, until: float
) -> bool:
    since = stop.at
    if stop.revives and any(
        isinstance(event, record.Delivered) and since + 1.0 < event.at <= until for event in events
    ):
        # It went on before anybody looked.
        return True
    return any(
        isinstance(event, record.Raised | record.Ended) and since <= event.at <= until
        for event in events
    ) or any(since <= claim.at <= until for claim in session.claims)


def _may_be_lost(session: Session, history: History, at: float, lease: float) -> bool:
    claim = session.claimant(at)
    if claim is None or claim.generation in session.left:
        return True
    since = at - lease - 2 * _SHOWS_WITHIN - history.patience
    # A takeover may have come between the end of the lease and this reader's hearing of it.
    hearing = at - HEARS_WITHIN - history.lag(since, at)
    recent = [one for one in session.claims if one.at <= at]
    recent = recent[-2:] if claim.at >= hearing else recent[-1:]
    if any(history.stop_of(one.process, one.at, at) is not None for one in recent):
        return True
    lapsed = any(one.lapses and one.overlaps(since, at) for one in history.windows)
    return lapsed or history.lag(since, at) > lease / 2


def _cancels_last(session: Session, history: History, lease: float) -> Iterator[str]:
    """What was answered to be cancelled is stored so."""
    if session.forfeited or session.stored is None:
        return
    for answer in session.answered:
        if session.continued(answer.at) or session.closed_in_silence(answer.at):
            continue
        if answer.status == "cancelled" != session.stored.status:
            yield f"cancel answered cancelled, and it ended as {session.stored.status}"


def _nothing_stays(history: History) -> Iterator[str]:
    """Every key has a TTL at all times."""
    for look in history.keys:
        if look.immortal:
            yield f"{len(look.immortal)} of {look.count} keys have no TTL: {look.immortal[0]}"
            return


_PROOFS: Sequence[tuple[str, Callable[[Session, History, float], Iterator[str]]]] = (
    ("G1", _one_producer),
    ("G2", _fencing),
    ("G3", _complete_and_in_order),
    ("G3", _cursors_name_content),
    ("G3", _not_glued),
    ("G4", _explicit_ends),
    ("G5", _no_silent_loss),
    ("G6", _exactly_once),
    ("G7", _repair),
    ("G8", _crashes_show),
    ("G8", _nobody_hangs),
    ("G9", _cancels_last),
)
