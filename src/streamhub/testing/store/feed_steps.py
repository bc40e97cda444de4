"""The steps that the tests of feeds are written in."""

from __future__ import annotations

from uuid import uuid4

import pytest

from ...chunks import Chunk, SessionInfo, Status
from ...errors import StreamHubError
from ...stores.base import Store
from ...stores.feeds import Due, Feeds, Later, Taken
from ..scene import Scene
from ..waiting import until
from .steps import claim, end

__all__ = [
    "UNSAVED",
    "FeedScene",
    "ended",
    "feeds_of",
    "handed_out",
    "take",
    "taken_by",
    "texts_of",
]

UNSAVED = 60.0


class FeedScene(Scene):
    """A session and a feed that nobody else uses."""

    @pytest.fixture
    def feed(self) -> str:
        return f"save-{uuid4().hex[:8]}"

    @pytest.fixture
    async def feeds(self, store: Store, feed: str) -> Feeds:
        feeds = feeds_of(store)
        await feeds.open(feed, unsaved=UNSAVED)
        return feeds


async def ended(
    store: Store, session_id: str, *, owner: str | None = None, retention: float = 60.0
) -> Due:
    claimed = await claim(store, session_id, owner=owner, retention=retention)
    await end(store, claimed, Status.FINISHED)
    return Due(session_id)


async def take(
    feeds: Feeds,
    due: Due,
    feed: str,
    worker: str,
    *,
    lease: float = 60.0,
    lost_after: float = 60.0,
) -> Taken | Later | None:
    return await feeds.take(due, feed, worker, lease=lease, lost_after=lost_after)


async def taken_by(
    feeds: Feeds,
    due: Due,
    feed: str,
    worker: str,
    *,
    lease: float = 60.0,
    lost_after: float = 60.0,
) -> Taken:
    answer = await take(feeds, due, feed, worker, lease=lease, lost_after=lost_after)
    assert isinstance(answer, Taken)
    assert due == answer.due
    return answer


async def handed_out(
    feeds: Feeds, feed: str, due: Due, *, hold: float = 60.0, alone: bool = False
) -> None:
    """Wait until the stream is due and handed out to us: what ends is put on the schedule a moment
    after it."""

    async def comes() -> bool:
        found, _ = await feeds.due(feed, 100, hold=hold)
        if alone:
            assert set(found) <= {due}
        return due in found

    await until(comes)


async def texts_of(feeds: Feeds, due: Due, info: SessionInfo) -> list[str]:
    assert info.terms is not None
    chunks: list[Chunk] = await feeds.read(due, info.terms.place(0), 100)
    return [chunk.data for chunk in chunks]


def feeds_of(store: Store) -> Feeds:
    feeds = store.feeds
    if feeds is None:
        raise StreamHubError("the store has no feeds")
    return feeds
