"""What a store may add to its sessions: an index of them, and feeds of how they ended.

A feed is a name under which any number of workers, anywhere, get each end once. Two things make it:

- **The schedule**, one for each feed: which streams are to be looked after, and when next. A stream
  is put on the schedules of all feeds *before* it is claimed, and put on them again by whatever
  puts it back, so that none is forgotten whoever dies in between. The schedule is a hint and no
  more: a stream that stands on it twice, too early or for nothing does no harm.
- **The state** of each end in each feed, kept beside the session's record and changed with it in
  one step: that is the truth about who has an end, how often it was tried, and whether it is done.

A stream that ended and is replaced by another while a feed has not done its end is *set aside* with
its record and its chunks, until all feeds are done or ``unsaved`` is over.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from ..chunks import Chunk, Cursor, SessionInfo
from .watch import Watch

__all__ = [
    "FORGOTTEN_AFTER",
    "SUPERVISE",
    "DeadEnd",
    "Due",
    "FeedInfo",
    "Feeds",
    "Later",
    "Outcome",
    "Taken",
    "check_feed",
    "is_supervisor",
    "suits",
]

#: A feed that nobody has opened for so many seconds is forgotten.
FORGOTTEN_AFTER = 7 * 24 * 3600.0
#: The name of the supervisors that look after all sessions; of those of one owner it begins with
#: this, and ends with a colon and the owner.
SUPERVISE = ":supervise"
_NAME = re.compile(r"[a-z0-9_.-]{1,64}", re.ASCII)


def check_feed(name: object) -> None:
    """:raises ValueError: no name of a feed of ends."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"a feed's name is 1 to 64 of the signs a-z 0-9 _ - and ., not {name!r:.100}"
        )


def is_supervisor(feed: str) -> bool:
    """Whether it is the name of a supervisor, which uses the schedule alone."""
    return feed.startswith(":")


def suits(feed: str, owner: str | None) -> bool:
    """Whether sessions of this owner are put on its schedule: ``:supervise:<owner>`` looks after
    those of one owner, every other name after all."""
    *_, wanted = feed.split(":", 2) if feed.count(":") > 1 else (owner,)
    return wanted == owner


class Due(msgspec.Struct, frozen=True):
    """A stream that is to be looked after.

    ``aside`` names the generation whose claim set the stream aside; None for the one that has the
    session now. Most of those set aside do not exist: nothing was to be kept when it was claimed.
    """

    session_id: str
    aside: str | None = None


class Taken(msgspec.Struct, frozen=True):
    """A worker has this end, for as long as it renews its lease."""

    due: Due
    #: How the stream stands, with its metadata. Its status is final: a lost one was ended as
    #: ``LOST`` by the taking, so that its producer cannot go on; another may still continue it.
    info: SessionInfo
    #: Seconds since 1970 by the store's clock.
    ended: float
    #: The how manieth time this end is handed out in this feed: 1, 2, …
    attempt: int


class Later(msgspec.Struct, frozen=True):
    """Not yet: the stream has a producer, may still be continued, or another worker has its end."""

    seconds: float


class DeadEnd(msgspec.Struct, frozen=True):
    """An end that was given up after so many attempts."""

    due: Due
    info: SessionInfo
    attempts: int
    #: What the last attempt said.
    error: str
    #: Seconds since 1970 by the store's clock.
    ended: float


class FeedInfo(msgspec.Struct, frozen=True):
    """A feed that the store knows."""

    name: str
    #: Seconds since a worker has asked for ends.
    idle: float
    #: How many streams are overdue, and by how many seconds the oldest is.
    overdue: int
    oldest: float


#: ``again``: it is due after a while; ``back``: so, too, and it counts as never handed out;
#: ``dead``: given up.
Outcome = Literal["done", "again", "back", "dead"]


class Feeds(Protocol):
    """The feeds of a store. All of it may raise ``StoreUnavailable``, and all may be repeated.

    Names of feeds are 1 to 64 of ``a-z 0-9 _ - .``; those of supervisors, which use the schedule
    alone, begin with a colon: ``:supervise`` for all sessions, ``:supervise:<owner>`` for those of
    one owner.
    """

    async def open(self, feed: str, *, unsaved: float) -> None:
        """Make the feed known: what is claimed from now on, and all that the index has, is put on
        its schedule. Keeps what was claimed since for ``unsaved`` seconds after its end, or until
        it is done.

        Asked again from time to time: a feed that nobody has opened for a week is forgotten.
        """
        ...

    async def due(self, feed: str, limit: int, *, hold: float) -> tuple[list[Due], float]:
        """Up to ``limit`` streams that are due, and in how many seconds the next one is (0 where
        more are due than were asked for; at most 60).

        Each is handed to one who asks, and due again after ``hold`` seconds: who gets it, says
        with ``put_off`` when it is really due.
        """
        ...

    async def put_off(self, feed: str, when: Mapping[Due, float | None]) -> None:
        """These are due again after so many seconds; None: not any more. Takes nothing off the
        schedule that was put on it since it was handed out."""
        ...

    def watch(self, sink: Callable[[], None]) -> Watch:
        """Call ``sink`` in the event loop when a stream may have become due earlier than ``due``
        has said: when one has ended or was released, and when it begins to listen. A hint, like all
        live events."""
        ...

    async def take(
        self, due: Due, feed: str, worker: str, *, lease: float, lost_after: float
    ) -> Taken | Later | None:
        """Take the end for ``worker``; None where there is nothing to do: it is done or dead, or
        the stream is not there.

        ``worker`` is a name that nobody else has, and another one for each end that somebody has at
        the same time: two ends of one session may be out at once.

        A stream that lost its producer is ended as ``LOST`` once that is ``lost_after`` seconds
        ago, or at once if it was set aside. Repeating a call that was granted is granted again and
        is no further attempt.
        """
        ...

    async def renew(self, due: Due, feed: str, worker: str, *, lease: float) -> bool:
        """Whether the worker still has the end; if so, for another ``lease``. One that is late has
        it as long as nobody else took it."""
        ...

    async def settle(
        self,
        due: Due,
        feed: str,
        worker: str,
        outcome: Outcome,
        *,
        after: float = 0.0,
        error: str = "",
    ) -> bool:
        """Give the end back, once and for all (``done``, ``dead``) or until ``after`` seconds have
        passed (``again``, ``back``). False: the worker does not have it any more, and nothing was
        changed.

        An end that was set aside since it was taken is found where it is now. One that another has
        continued is nobody's any more.

        When all feeds that the stream was claimed under are done with it, it is kept for no longer
        than ``retention``; one that was set aside is deleted. A dead end is kept as one that is not
        done. Repeating it is answered the same.
        """
        ...

    async def read(self, due: Due, after: Cursor, limit: int) -> list[Chunk]:
        """As ``Store.read``, of streams that are set aside, too."""
        ...

    def dead(self, feed: str) -> AsyncIterator[DeadEnd]:
        """The ends that were given up and are still stored."""
        ...

    async def revive(self, due: Due, feed: str) -> bool:
        """Have a dead end handed out again, as if for the first time; False if there is none."""
        ...

    async def known(self) -> Sequence[FeedInfo]:
        """All feeds, those of supervisors included."""
        ...
