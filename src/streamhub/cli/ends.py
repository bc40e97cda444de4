"""``streamhub ends``: the ends of sessions as JSON lines, each until it is written out."""

from __future__ import annotations

import asyncio

from ..errors import StreamHubError
from ..formats.info_json import end_json, info_json
from ..formats.json_text import encode
from .exits import Code, code_of
from .interrupts import Interrupted, unless_interrupted
from .output import Output
from .place import Place
from .terminal import note, redacted

__all__ = ["follow_ends", "list_dead"]


async def follow_ends(
    place: Place, name: str, *, lost_after: float, max_unsaved: float, wait: float | None
) -> int:
    """Write one end after the other, until nothing has come for ``wait`` seconds."""
    try:
        output = Output.stdout()
    except OSError as error:
        note(str(error), style="red")
        return Code.OTHER

    async def follow() -> StreamHubError | None:
        try:
            async with (
                place.hub() as hub,
                hub.ends(name, lost_after=lost_after, max_unsaved=max_unsaved) as ends,
            ):
                while True:
                    async with asyncio.timeout(wait):
                        end = await anext(ends)
                    line = encode({**end_json(end), "attempt": end.attempt})
                    await output.write(line + b"\n")
                    await output.drain()
                    if output.gone.is_set():
                        # Nobody knows how much of it was read.
                        await end.retry(0.0, reason="nobody reads standard output any more")
                        return None
                    await end.done()
        except TimeoutError:
            return None
        except StreamHubError as error:
            return error

    async with output:
        outcome = await unless_interrupted(follow(), output)
    if isinstance(outcome, Interrupted):
        note(str(outcome), style="yellow")
        return Code.INTERRUPTED
    if outcome is None:
        return Code.FINISHED
    note(redacted(str(outcome), place.url), style="red")
    return code_of(outcome)


async def list_dead(place: Place, name: str, *, retry: bool) -> int:
    """Write what was given up, and on request have it delivered again."""
    async with place.hub() as hub:
        async for dead in hub.ends(name).dead():
            retried = retry and await dead.retry()
            line = {
                "key": dead.key,
                "attempts": dead.attempts,
                "error": dead.error,
                "ended": dead.ended,
                "retried": retried,
                "session": info_json(dead.info),
            }
            print(encode(line).decode(), flush=True)
    return Code.FINISHED
