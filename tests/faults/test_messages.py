"""Messages to a producer that is killed again and again."""

from __future__ import annotations

from random import Random

from ..conftest import RunPython
from .messages import send_through_kills


async def test_each_message_is_answered_once_whoever_is_killed(
    redis_url: str, run_python: RunPython, session_id: str
) -> None:
    """In the order in which they were sent: none is lost, and none is answered twice."""
    figures = await send_through_kills(
        redis_url, session_id, run_python, kills=2, random=Random("messages")
    )

    assert figures.sent > 0
    assert (figures.sent, 0, 0, True) == (
        figures.handled,
        figures.lost,
        figures.doubled,
        figures.in_order,
    )
