"""How one session stands, as far as this process knows: a machine without an event loop.

Its inputs are looks at the store and their answers, live events, and the time. What follows is in
its attributes: how the session stands, when the store is to be looked at again, and ``turn``, which
goes on whenever those who wait have to look around.

::

    state     means                                      goes on to
    UNKNOWN   nobody has looked yet                      KNOWN, AWAY, GONE, FAILED
    KNOWN     it is active, has ended, or is lost        KNOWN, AWAY, GONE, FAILED
    AWAY      the store does not have it (any more); a   KNOWN, AWAY, GONE, FAILED
              producer that lives puts it back within a
              lease
    GONE      a lease has passed, or it was removed      KNOWN, GONE, FAILED
    FAILED    nothing can be known of it                 (for good)

    input              state             what follows
    a look begins      stays             what was asked for before it waits for its answer
    … finds it         KNOWN             look again when its lease lapses, or by polling
    … finds it lost,   stays             look again at once: a renewal was on its way
      signs of life
      meanwhile
    … finds nothing    AWAY or GONE      look again several times a lease
    … is overtaken     stays             look again at once
    … finds damage     FAILED            everybody is told
    … fails            stays             look again as soon as the store may be back
    chunks             KNOWN             the lease lasts from now on
    … of another term  doubted           look at once
    an end             KNOWN (ended)     no look
    a release          KNOWN (lost)      look again at the old pace: somebody may continue it
    a claim, removal,  doubted           look at once; chunks that are held may be another's
      (un)synced
    somebody else      doubted, if it    look at once; a look under way that does not find it so
      found it         is news           is overtaken

While it is doubted, what was known is not told to anybody. There are two deadlines. ``_asked`` is
when somebody wants a look: it only comes nearer, until a look begins that answers it. ``_verdict``
is when silence becomes news: only an answer and a sign of life move it. A look that fails brings
back what it was to answer.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf

from msgspec.structs import replace

from ..chunks import Cursor, SessionInfo, Status
from ..errors import SessionCorrupted, StreamHubError
from ..stores.base import Appended, Claimed, Ended, LiveEvent, Released, Removed, Synced, Unsynced

__all__ = ["Standing", "State"]

# A lease is taken for lapsed this long after it, so that a renewal on its way still counts.
_LAPSE_MARGIN = 0.05
# By how much the store's clock and ours may disagree about a lease that was not renewed.
_CLOCK_MARGIN = 0.5
# How long a lapse is not believed after the store was away: producers need a moment as well. They
# try to renew several times a second, and whoever is dead shows within a second of its lease.
_GRACE = 0.75
# A producer notices within one of these that the store has lost its session.
_RENEWALS_PER_LEASE = 4
# How long the first look waits for the live channel.
_FIRST_LOOK = 0.25
# Without the live channel, and on sessions of the Go library, the store is polled.
_DEGRADED_POLL = 1.0
_FASTEST_POLL = 0.02
_SLOWEST_POLL = 1.0
# How long the end of a cancelled session whose producer died may take to be stored.
_RETRY_END = 1.0


class State(Enum):
    UNKNOWN = auto()
    KNOWN = auto()
    AWAY = auto()
    GONE = auto()
    FAILED = auto()


class Standing:
    """See the table above. Times are seconds of one clock that never goes back."""

    # What each live message needs comes first: of a thousand sessions little is in a processor's
    # cache.
    __slots__ = (  # noqa: RUF023
        "_heard", "trusted", "_term", "end", "_grown", "_verdict", "_lapses", "turn",
        "_asked", "_looking", "_pending", "_info", "known", "_lease", "_overtaken", "_removed",
        "_synced", "_was_synced", "_distrust_until", "_lapsed_since", "_away_since", "_poll",
        "_learned", "state", "failure", "begun", "answered", "to_end",
    )  # fmt: skip

    def __init__(self, lease: float, now: float) -> None:
        self.state: State = State.UNKNOWN
        self.failure: StreamHubError | None = None
        #: Whether what is known is complete: no events were missed since the last look.
        self.trusted: bool = False
        #: What the last look found, if it found the session at all.
        self.known: SessionInfo | None = None
        #: Goes on with all news but chunks: who was up to date in this turn need not look further.
        self.turn: int = 0
        #: The offset of the newest chunk that is known of.
        self.end: int = 0
        #: How many looks have begun, and the newest whose answer was taken in.
        self.begun: int = 0
        self.answered: int = 0
        self._info: SessionInfo | None = None
        self._term: int | None = None
        #: Whether chunks have come since, of which ``end`` knows already.
        self._grown = False
        self._lease = lease
        self._asked = now + _FIRST_LOOK
        self._pending = self._verdict = inf
        #: Until when the lease lasts at most, by the clock of this process.
        self._lapses = inf
        #: A lost session whose cancel was asked for: somebody has to end it.
        self.to_end: SessionInfo | None = None
        self._looking = False
        # Since the look began: events that it may not know of, and signs of life.
        self._overtaken = self._heard = False
        #: The generation under which somebody else has found the session since.
        self._learned: str | None = None
        self._removed = self._synced = self._was_synced = False
        self._distrust_until = 0.0
        self._lapsed_since = inf
        self._away_since: float | None = None
        self._poll = _FASTEST_POLL

    # What follows.

    @property
    def due(self) -> float:
        """When the store is to be looked at; never while it is being looked at."""
        return inf if self._looking else min(self._asked, self._verdict)

    @property
    def info(self) -> SessionInfo | None:
        """How the session stands; None while that is not known, or it is not there."""
        info = self._info if self.trusted else None
        if info is not None and self._grown:
            # Made when it is asked for: each chunk would have to pay for it otherwise.
            last = info.cursor(self.end)
            self._info = info = replace(info, status=Status.ACTIVE, last=last)
            self._grown = False
        return info

    def is_missing(self, *, patient: bool) -> bool:
        """Whether a reader is to be told that there is no such session. One that is ``patient``
        knows that it was there, and waits for as long as somebody may put it back."""
        if not self.trusted:
            return False
        return self.state is State.GONE or (
            self.state is State.AWAY and not patient and self.known is None
        )

    def has_answered(self, look: int) -> bool:
        """Whether the answer to the look of this number, or to a later one, was taken in."""
        return self.answered >= look or self.failure is not None

    # What is asked, and answered.

    def ask(self, at: float) -> int:
        """Have the store looked at by then; the number of the look that is the answer."""
        self._asked = min(self._asked, at)
        return self.begun + 1

    def begin_look(self) -> None:
        self._looking = True
        self.begun += 1
        self._pending, self._asked = self._asked, inf
        self._overtaken = self._heard = False
        self._learned = None

    def look_failed(self, again_at: float) -> None:
        """Nothing was learned: what it was to answer is asked again."""
        self._looking = False
        self._asked = min(self._asked, max(self._pending, again_at))
        self._pending = inf

    def answer(
        self, found: SessionInfo | SessionCorrupted | None, now: float, *, heard: Cursor
    ) -> bool:
        """Take in what a look found, unless events have overtaken it. Whether chunks that are held
        may be another's.

        :param heard: the newest chunk that events have told of.
        """
        self._looking, self._pending = False, inf
        lost = isinstance(found, SessionInfo) and found.status is Status.LOST
        if self._overtaken or (lost and self._heard) or self._is_older(found):
            self.ask(now)
            return False
        self.answered = self.begun
        self.turn += 1
        if isinstance(found, SessionCorrupted):
            self.fail(found)
            return False
        if found is None or self._went_back(found):
            return self._miss(found, now, heard)
        return self._find(found, now, heard)

    def learn(self, generation: str, now: float) -> None:
        """Somebody else has claimed the session or found it so: its handle is not to be told what
        was known before that."""
        self._learned = generation
        if self.trusted and (self._info is None or self._info.generation != generation):
            self.trusted = False
            self.turn += 1
            if self._looking:
                self._pending = min(self._pending, now)
            else:
                self.ask(now)

    def fail(self, failure: StreamHubError) -> None:
        """Nothing can be known of the session any more."""
        self.state, self.failure = State.FAILED, failure
        self._asked = self._verdict = inf
        self.turn += 1

    def distrust(self, now: float) -> None:
        """Believe no lapse of the lease for a while: nobody was watching, or could renew."""
        self._distrust_until = now + _GRACE

    # What happens.

    def append(self, event: Appended, end: int, now: float) -> bool | None:
        """Chunks were stored, and ``end`` is how far the unbroken row of known ones reaches.

        Whether they follow what was known of; None if they are news to nobody.
        """
        self._heard = True
        if not self.trusted:
            return None
        if self._term != event.term and not self._is_put_back(event):
            self._doubt(now)
            return None
        follows = event.base == self.end
        self._grown = True
        if end > self.end:
            self.end = end
        self._lapses = now + event.lease
        self._verdict = self._lapses + _LAPSE_MARGIN
        return follows

    def change(self, event: LiveEvent, now: float) -> bool:
        """Anything but chunks. Whether chunks that are held may be another's."""
        match event:
            case Synced() | Unsynced():
                if self._was_synced:
                    self.distrust(now)
                self._synced = isinstance(event, Synced)
                self._was_synced = True
                self._doubt(now)
                return True
            case Claimed():
                self._removed = False
                other = self._info is None or self._info.generation != event.generation
                self._doubt(now)
                return other
            case Removed():
                self._removed = True
                self._doubt(now)
                return True
            case Ended():
                self._on_end(event, now)
            case Released():
                self._on_release(event, now)
        return False

    # Transitions.

    def _on_end(self, event: Ended, now: float) -> None:
        self._overtaken = True
        info = self.info
        if info is None or info.term != event.term:
            self._doubt(now)
            return
        last = info.cursor(event.last)
        self._stands(replace(info, status=event.status, last=last, error=event.error, lease=None))
        self._verdict = inf
        self.turn += 1

    def _on_release(self, event: Released, now: float) -> None:
        self._overtaken = True
        info = self.info
        if info is None or info.term != event.term:
            self._doubt(now)
            return
        last = info.cursor(event.last)
        self._stands(replace(info, status=Status.LOST, last=last, lease=0.0))
        self._lapses = now
        self._verdict = now + self._lease + _LAPSE_MARGIN
        self.turn += 1

    def _doubt(self, now: float) -> None:
        """Tell nobody anything until the next look."""
        self._overtaken = True
        self.trusted = False
        self.turn += 1
        self.ask(now)

    def _is_older(self, found: SessionInfo | SessionCorrupted | None) -> bool:
        """Whether a look may have been answered before somebody else found the session."""
        if self._learned is None or isinstance(found, SessionCorrupted):
            return False
        return found is None or found.generation != self._learned

    def _is_put_back(self, event: Appended) -> bool:
        """Whether these are chunks of an earlier term, which the producer puts back."""
        terms = None if self._info is None else self._info.terms
        return terms is not None and terms.place(event.base).term == event.term

    def _went_back(self, found: SessionInfo) -> bool:
        """Whether the store went back to a time before what is known: a failover lost a claim."""
        return self.known is not None and found.generation == self.known.replaced

    def _find(self, found: SessionInfo, now: float, heard: Cursor) -> bool:
        before = self.known
        other = before is not None and before.generation != found.generation
        if heard.term == found.term and not other:
            last = max(found.last.offset, heard.offset)
            found = replace(found, last=found.cursor(last))
        found = self._believed(found, now)
        # A producer whose lease is longer than this hub's has that long to put back its data.
        self._lease = max(self._lease, found.lease or 0.0)
        self._verdict = now + self._silence(found, before)
        self.known = found
        self.state = State.KNOWN
        self._away_since, self._removed = None, False
        self._stands(found)
        self.trusted = True
        return other

    def _believed(self, found: SessionInfo, now: float) -> SessionInfo:
        """The session with its lapse as this process has it: by no clock but its own."""
        before = self.known
        unmarked = found.lease_mark is None
        renewed = before is None or unmarked or before.lease_mark != found.lease_mark
        if renewed:
            self._lapses = now + (found.lease or 0.0)
        elif found.status is Status.ACTIVE and found.lease is not None:
            # Nobody has renewed it since. Whatever the store's clock has done, no time is added.
            left = self._lapses + _CLOCK_MARGIN - now
            status = Status.ACTIVE if left > 0 else Status.LOST
            found = replace(found, status=status, lease=max(0.0, min(found.lease, left)))
        if found.status is not Status.LOST or found.lease is None:
            self._lapsed_since = inf
        else:
            self._lapsed_since = min(self._lapsed_since, now)
            # Once, for a store that goes away again and again must not hide a dead producer.
            until = min(self._distrust_until, self._lapsed_since + _GRACE)
            if now < until:
                found = replace(found, status=Status.ACTIVE, lease=until - now)
        if found.status is Status.LOST and found.cancelling:
            # Its producer died before it could stop. It is ended for it, and the end will tell.
            self.to_end = found
            found = replace(found, status=Status.ACTIVE, lease=_RETRY_END)
        return found

    def _silence(self, found: SessionInfo, before: SessionInfo | None) -> float:
        """For how many seconds nothing need be heard of the session."""
        seconds = inf
        if found.lease is not None:
            # Once lapsed it is looked at again at the old pace: it may be renewed after all.
            lasts = found.lease if found.status is Status.ACTIVE else self._lease
            seconds = lasts + _LAPSE_MARGIN
        elif found.status is Status.ACTIVE:
            grown = before is None or before.last != found.last
            self._poll = _FASTEST_POLL if grown else min(2 * self._poll, _SLOWEST_POLL)
            seconds = self._poll
        return seconds if self._synced else min(seconds, _DEGRADED_POLL)

    def _miss(self, past: SessionInfo | None, now: float, heard: Cursor) -> bool:
        """The session is not there, or not there any more as it was."""
        if self._away_since is None:
            self._away_since = now
        until = self._away_since + self._lease
        if self.known is not None and self.known.lease is not None:
            # Once its lease is over nobody lives who could put it back, unless that is under way.
            over = max(self._lapses, self._away_since + self._lease / _RENEWALS_PER_LEASE)
            until = min(until, over + _GRACE)
        left = until - now
        if past is not None and left <= 0:
            return self._find(past, now, heard)
        self._info = self._term = None
        gone = self._removed or left <= 0
        self.state = State.GONE if gone else State.AWAY
        pause = self._lease / 3 if gone else min(left, self._lease / 4)
        self._verdict = now + (pause if self._synced else min(pause, _DEGRADED_POLL))
        self.trusted = True
        return False

    def _stands(self, info: SessionInfo) -> None:
        self._info = info
        self._term = info.term
        self._grown, self.end = False, info.last.offset
