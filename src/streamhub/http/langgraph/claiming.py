"""Which run of a thread goes on: one at a time."""

from __future__ import annotations

import asyncio
import math

from ...chunks import SessionInfo, Status
from ...errors import SessionNotFound
from ...hub import Hub
from ...stream import LiveStream
from ..problems import BadRequest, Problem
from .owning import Owning, info_of
from .running import Running

__all__ = ["claimed", "run_session", "runs_of"]

# Of a thread, how many runs are remembered.
_MOST_RUNS = 20
# In seconds, when to look again for the session of a run that has only its thread so far.
_BEGINNING = 0.05


async def claimed(
    hub: Hub, running: Running, session_id: str, *, interrupts: bool, wait: float, owning: Owning
) -> LiveStream:
    """The thread, with the run as its source.

    :param session_id: of the thread.
    :param interrupts: whether the run takes the place of another one.
    :param wait: how many seconds that may take to stop.
    :raises BadRequest: another run goes on in it.
    """
    run = running.run
    until = asyncio.get_running_loop().time() + wait
    while True:
        before = await info_of(await hub.get(session_id))
        thread = await hub.run(
            session_id,
            running.produce,
            owner=run.owner,
            request=run.run_id,
            same_owner=owning.alone,
            metadata={"runs": [run.run_id, *runs_of(before)][:_MOST_RUNS]},
        )
        if thread.generation is not None:
            return thread
        try:
            info = await thread.info()
            owning.check_stream(info, run.owner)
            if info.status is not Status.ACTIVE:
                continue
            left = until - asyncio.get_running_loop().time()
            if not interrupts or left <= 0:
                raise BadRequest(_busy(info))
            other = await hub.get(run_session(run.thread_id, info.request or ""))
            if other is None:  # it has the thread, and is about to begin: there is nothing to stop
                await thread.wait(min(left, _BEGINNING))
                continue
            await other.cancel(reason=f"interrupted by run {run.run_id}")
            await thread.wait(left)
        except SessionNotFound:
            continue  # removed, or forgotten, meanwhile


def run_session(thread_id: str, run_id: str) -> str:
    """The session of a run's events."""
    return f"run:{thread_id}:{run_id}"


def runs_of(info: SessionInfo | None) -> list[str]:
    """Those that are remembered of a thread, the newest first."""
    stated = info.metadata if info is not None and isinstance(info.metadata, dict) else {}
    return [one for one in stated.get("runs", ()) if isinstance(one, str)]


def _busy(info: SessionInfo) -> Problem:
    detail = (
        "another run goes on in this thread; wait for its end, cancel it, or ask with "
        "multitask_strategy interrupt"
    )
    # If nobody runs it any more, this is when that shows.
    seconds = max(1, math.ceil(info.lease or 0.0))
    return Problem(409, "busy", detail, {"retry-after": str(seconds)})
