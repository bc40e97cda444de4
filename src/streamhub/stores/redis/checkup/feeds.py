"""What the feeds of ends mean for the memory of a server, and for who waits for ends. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...feeds import FeedInfo, is_supervisor
from .findings import Finding, Level

__all__ = ["judge_feeds"]

# A worker asks once a minute, however little there is to do.
_UNREAD = 150.0
# What is due is handed out at once to who asks.
_OVERDUE = 60.0


def judge_feeds(feeds: Sequence[FeedInfo]) -> Iterator[Finding]:
    """A finding on each feed and on each supervisor that the store knows."""
    for feed in sorted(feeds, key=lambda feed: feed.name):
        supervisor = is_supervisor(feed.name)
        kind = f"{'supervisor' if supervisor else 'feed'} {feed.name!r}"
        waiting = f"{feed.overdue:,} streams are overdue"
        if feed.overdue:
            waiting += f", the oldest by {_time(feed.oldest)}"
        if feed.idle > _UNREAD:
            yield Finding(
                level=Level.WARNING,
                subject="feeds",
                found=f"{kind}: nobody has read it for {_time(feed.idle)}; {waiting}",
                meaning="lost sessions are not resumed"
                if supervisor
                else "ends, and their chunks, are kept for max_unsaved and then gone unsaved",
                advice="run a worker for it; one that is not needed any more is forgotten a week "
                "after it was last opened",
            )
        elif feed.oldest > _OVERDUE:
            yield Finding(
                level=Level.WARNING,
                subject="feeds",
                found=f"{kind}: {waiting}",
                meaning="its workers do not keep up",
                advice="run more of them, or see what slows them",
            )
        else:
            yield Finding(level=Level.OK, subject="feeds", found=f"{kind} is read; {waiting}")


def _time(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
