"""When the writer may go: how long what is ready gathers yet, and how long a failure is left alone.

While a round trip is under way, chunks gather for the next: no delay when idle, batches under load,
and two round trips at a time under heavy load.

| what is ready                  | rounds under way         | the next may begin                 |
|--------------------------------|--------------------------|------------------------------------|
| nothing                        | any                      | not before something is            |
| anything                       | that of a stream alone   | when it has ended                  |
| few, or one that is to go alone | any                     | when they have ended               |
| something urgent               | none; or, beside plenty, | at once                            |
|                                | any                      |                                    |
| nothing urgent                 | the same                 | ``linger`` after the first of it   |
|                                |                          | came, and ``distance`` after the   |
|                                |                          | last round began                   |

The first line that fits decides. Urgent is what somebody waits for. A round that begins is the only
thing that may have the next one begin later than it would have before.
"""

from __future__ import annotations

from math import inf

__all__ = ["PLENTY", "Pacing", "distance"]

# More than one round trip at a time only where so many reports of work have come: else more chunks
# should gather for each. Then the store need not wait while the next is made ready.
PLENTY = 64
# Many streams with a chunk now and then would keep both sides busy with round trips of one chunk:
# the more of them share a round, the longer the next one waits for more.
_SHORTEST = 0.00025
_LONGEST = 0.004
_PER_STREAM = 0.001
_FIRST_PAUSE = 0.05
_LAST_PAUSE = 1.0


def distance(streams: float) -> float:
    """How many seconds after a round that so many streams shared the next one may begin."""
    return min(max(_SHORTEST, _PER_STREAM * (streams - 1)), _LONGEST)


class Pacing:
    """Each method but ``due`` is an input. Times are seconds of any clock that does
    not go back.

    :param linger: for how many seconds chunks gather that nobody waits for.
    """

    __slots__ = (
        "_alone", "_began", "_distance", "_linger", "_marks", "_pause", "_pausing", "_ready",
        "_rounds", "_urgent", "since", "strained",
    )  # fmt: skip

    def __init__(self, linger: float) -> None:
        self._linger = linger
        #: Whether anything is ready, and how often that was reported: a sign of how much there is.
        self._ready, self._marks = False, 0
        self._urgent = False
        #: How many rounds are under way, and whether one of them is of a stream that goes alone.
        self._rounds, self._alone = 0, False
        #: When the oldest of what is ready came at the earliest.
        self.since: float = 0.0
        #: When a round began, and how many seconds after that the next one may.
        self._began, self._distance = -inf, _SHORTEST
        #: How long the next failure is left alone, and whether one is.
        self._pause, self._pausing = _FIRST_PAUSE, False
        #: Whether anything has failed since all was well.
        self.strained: bool = False

    def due(self, *, alone: bool = False) -> float:
        """When the next round may begin: at once, if that is in the past; ``inf``, if not before
        something happens.

        :param alone: whether what is ready first goes alone.
        """
        if not self._ready:
            return inf
        if self._rounds and (alone or self._alone or self._marks < PLENTY):
            return inf
        if self._urgent:
            return -inf
        return max(self.since + self._linger, self._began + self._distance)

    @property
    def lone(self) -> bool:
        """Whether one stream had the last round for itself: nothing gathers in this turn of the
        event loop that could share the next."""
        return self._distance == _SHORTEST

    def mark(self, came: float, urgent: bool) -> bool:
        """A stream has something to write, which came then at the earliest. Whether the next round
        may be due earlier for it."""
        first = not self._ready
        if first or came < self.since:
            self._ready, self.since = True, came
        self._marks += 1
        if urgent:
            self._urgent = True
        return urgent or first or self._marks == PLENTY

    def begin(self, left: int, *, more: bool, carries: bool, alone: bool) -> None:
        """A round begins with all that was ready, but for what ``left`` streams have.

        :param more: whether of a stream in it more is left than fits.
        :param carries: whether there was anything to write. Else there is no round after all.
        :param alone: whether it is of a stream that goes alone.
        """
        self._ready = left > 0
        self._marks = PLENTY if more else left
        if not left:
            self._urgent = False
        if carries:
            self._rounds += 1
            self._alone = alone

    def gone(self, now: float, streams: int) -> None:
        """The store has been given that round, in which so many streams have a part."""
        self._began, self._distance = now, distance(streams)

    def end(self) -> None:
        """A round has ended."""
        self._rounds -= 1
        self._alone = False

    def fail(self) -> float | None:
        """Something could not be written: in how many seconds it is tried again. None, if it is
        then that something else is that has failed before."""
        if self._pausing:
            return None
        self._pausing = self.strained = True
        pause = self._pause
        self._pause = min(2 * pause, _LAST_PAUSE)
        return pause

    def retry(self) -> None:
        """What has failed is tried again."""
        self._pausing = False

    def recover(self) -> None:
        """All is well: the next failure is the first again."""
        self._pause, self.strained = _FIRST_PAUSE, False
