"""A supervisor for threads: what it resumes with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from streamhub import LostSession, Status
from streamhub.sync import Hub, LiveStream
from streamhub.testing.waiting import patience


def _publishes(stream: LiveStream) -> None:
    stream.publish("c")


async def _in_the_loop(lost: LostSession) -> list[str]:
    return [lost.text.upper()]


@pytest.mark.parametrize("url", ["memory"], indirect=True)
@pytest.mark.parametrize(
    ("resume", "status", "text"),
    [
        (lambda lost: [lost.text.upper()], Status.FINISHED, "aA"),
        (lambda lost: _publishes, Status.FINISHED, "ac"),
        (_in_the_loop, Status.FINISHED, "aA"),
        (lambda lost: None, Status.FAILED, "a"),
    ],
    ids=["iterable", "function", "async", "nothing"],
)
def test_a_thread_resumes_what_was_lost(
    hub: Hub,
    session_id: str,
    resume: Callable[[LostSession], Any],
    status: Status,
    text: str,
) -> None:
    """With what ``run`` takes in threads; after ``close`` nothing more is taken over."""
    with hub.supervise(resume):
        stream, created = hub.register(session_id)
        assert created
        stream.publish("a")
        stream.flush()
        production = stream._stream._production
        assert production is not None
        hub.background.call(production.release)
        reader = hub.get(session_id)
        assert reader is not None
        ended = reader.wait(patience())
        while ended is Status.LOST:
            ended = reader.wait(patience())
        assert (status, text) == (ended, reader.text())
    with pytest.raises(TypeError, match="resume must be an async function"):
        hub.supervise(42)  # type: ignore[arg-type]
