"""The same for threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from streamhub import Chunk, Cursor, End, HubConfig, LostSession, SessionInfo, Status, parts
from streamhub.sync import (
    DeadEnd,
    Ends,
    Hub,
    Inbox,
    LiveStream,
    Message,
    Source,
    Subscription,
    Supervisor,
    TakenEnd,
)


def tokens() -> Iterator[str]:
    yield "a"


async def async_tokens() -> AsyncIterator[str]:
    yield "a"


def body(stream: LiveStream) -> None:
    stream.publish("a")


def saved(end: End) -> None: ...


def resume(lost: LostSession) -> Source | None:
    return [lost.text] if lost.resumes else None


def main(url: str) -> None:
    with Hub.from_url(url, config=HubConfig()) as hub:
        assert_type(hub, Hub)
        stream, created = hub.register("chat:1", lambda: None, on_end=saved)
        assert_type((stream, created), tuple[LiveStream, bool])
        with stream:
            assert_type(stream.publish("a"), Cursor)
            assert_type(stream.publish(parts.Finish("stop")), Cursor)
            inbox = stream.inbox()
            assert_type(inbox, Inbox)
            for message in inbox:
                assert_type(message, Message)
                assert_type(message.data, str)
                message.done()
        for source in (tokens(), ["a"], async_tokens(), body):
            assert_type(hub.run("chat:1", source), LiveStream)
        found = hub.get("chat:1", wait=1.0)
        assert_type(found, LiveStream | None)
        assert found is not None
        with found.subscribe(last=5) as subscription:
            assert_type(subscription, Subscription)
            for chunk in subscription:
                assert_type(chunk, Chunk)
        assert_type(found.cancel(wait=1.0), Status)
        assert_type(found.message(), parts.Message)
        assert_type(found.metadata(dict[str, int]), dict[str, int] | None)
        for info in hub.sessions():
            assert_type(info, SessionInfo)
        with hub.ends("save") as ends:
            assert_type(ends, Ends)
            for end in ends:
                assert_type(end, TakenEnd)
                end.done()
            for dead in ends.dead():
                assert_type(dead, DeadEnd)
                assert_type(dead.retry(), bool)
        with hub.supervise(resume) as supervisor:
            assert_type(supervisor, Supervisor)
    hub.close(drain=1.0)
