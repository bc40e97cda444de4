"""The demo's acts. Everything in them is the public API; only the pace is staged."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator

from ...chunks import Cursor, Status
from ...hub import Hub
from ...stores.memory import MemoryStore
from ...stream import LiveStream
from ..exits import Code
from .stage import Actor, Result, Stage, open_stage
from .story import STORY, poems, tokens

__all__ = ["demo"]

ANSWER = "chat:lighthouse"
UNWANTED = "chat:poems"

_TRY_NEXT = (
    ("export STREAMHUB_URL=redis://localhost:6379/0", "where a Redis is; then, in one terminal"),
    (
        "streamhub run chat:1 -- sh -c 'while date; do sleep 1; done'",
        "stream a command, and in any others",
    ),
    ("streamhub tail chat:1", "replay and follow; Ctrl-C says the cursor to go on from"),
    ("streamhub tail chat:1 --after CURSOR", "go on there, without a loss or a double"),
    ("streamhub cancel chat:1 --wait 5", "stop it from anywhere"),
)


async def demo(*, fast: bool) -> int:
    """Play it on standard output; the exit code says whether all readers hold the same text."""
    pace = _Pace(slow=sys.stdout.isatty() and not fast)
    stage = open_stage(sys.stdout)
    store = MemoryStore()
    # Two hubs share the store as two servers would share a Redis.
    async with Hub(store) as here, Hub(store) as elsewhere:
        try:
            results = await _resume_act(here, elsewhere, stage, pace)
            results += await _cancel_act(here, elsewhere, stage, pace)
        finally:
            stage.end()
    good = all(result.equal for result in results)
    verdict = (
        "Every reader holds what was published: nothing lost, nothing doubled."
        if good
        else "The texts differ: this is a bug in streamhub."
    )
    stage.results("3. The proof: who holds what", results, verdict, good)
    stage.commands("Try it with Redis", _TRY_NEXT)
    return Code.FINISHED if good else Code.FAILED


class _Pace:
    """How fast a language model speaks, and how long a person needs to see it."""

    def __init__(self, *, slow: bool) -> None:
        self._token = 0.045 if slow else 0.001
        self._breath = 1.2 if slow else 0.0

    async def after(self, token: str) -> None:
        await asyncio.sleep(self._token * (4 if token.endswith((".", ":")) else 1))

    async def breath(self) -> None:
        await asyncio.sleep(self._breath)


# -- act 1: three readers of one answer ------------------------------------------------------


async def _resume_act(here: Hub, elsewhere: Hub, stage: Stage, pace: _Pace) -> list[Result]:
    answer = tokens(STORY)
    cut_at, back_at, late_at = (len(answer) * part // 100 for part in (30, 60, 75))
    producer = Actor("producer", f"writes {ANSWER}", "cyan")
    first, second, third = Actor("reader 1"), Actor("reader 2"), Actor("reader 3")
    back, late = asyncio.Event(), asyncio.Event()

    async def write(stream: LiveStream) -> None:
        for number, token in enumerate(answer, 1):
            producer.add(token, await stream.publish(token))
            stage.moved()
            if number == back_at:
                back.set()
            elif number == late_at:
                late.set()
            await pace.after(token)

    async def follow() -> None:
        stream = await _get(elsewhere, ANSWER)
        first.doing, first.style = "follows live", "cyan"
        stage.say(first, "subscribes on another hub, and gets every token as it is stored")
        await _read(stream, first, stage)
        first.doing, first.style = "has it all", "green"

    async def come_back() -> None:
        stream = await _get(elsewhere, ANSWER)
        second.doing, second.style = "follows live", "cyan"
        cursor = await _read(stream, second, stage, until=cut_at)
        second.doing, second.style = "is cut off", "red"
        stage.say(second, f"loses its connection after {cut_at} chunks; all it keeps is {cursor}")
        await back.wait()
        second.doing, second.style = "resumed", "cyan"
        stage.say(second, f"resumes with after={cursor}: the missed chunks, then live")
        await _read(stream, second, stage, after=cursor)
        second.doing, second.style = "has it all", "green"

    async def come_late() -> None:
        third.doing = "is not here yet"
        await late.wait()
        stream = await _get(elsewhere, ANSWER)
        third.doing, third.style = "came late", "cyan"
        stage.say(third, f"comes after {late_at} chunks and takes them as one batch, then live")
        await _read(stream, third, stage, batch=True)
        third.doing, third.style = "has it all", "green"

    stage.begin(
        "1. Readers may leave, resume, or come late",
        "One hub writes; three readers on another hub each see it in their own way.",
        [producer, first, second, third],
    )
    stream = await here.run(ANSWER, write)
    stage.say(producer, f"claims {ANSWER} and publishes {len(answer)} tokens")
    await pace.breath()
    async with asyncio.TaskGroup() as readers:
        for reader in (follow(), come_back(), come_late()):
            readers.create_task(reader)
    status = await stream.wait()
    producer.doing, producer.style = str(status), "green"
    stage.say(producer, f"is done: {ANSWER} is {status}, and stays readable for an hour")
    await pace.breath()
    stage.end()
    missed = back_at - cut_at
    return [
        _result("published", f"{len(answer)} tokens", STORY, STORY),
        _result("reader 1", f"live, {first.chunks} chunks", first.text, STORY),
        _result("reader 2", f"cut off, resumed {missed} chunks later", second.text, STORY),
        _result("reader 3", f"late, a batch and {third.chunks - 1} live chunks", third.text, STORY),
        _result("store", "text(), afterwards", await stream.text(), STORY),
    ]


# -- act 2: an answer that somebody stops ----------------------------------------------------


async def _cancel_act(here: Hub, elsewhere: Hub, stage: Stage, pace: _Pace) -> list[Result]:
    producer = Actor("producer", f"writes {UNWANTED}", "cyan")
    reader, button = Actor("reader 4"), Actor("stop")
    enough = asyncio.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            for number, token in enumerate(poems(), 1):
                yield token
                producer.text += token
                producer.chunks = number
                stage.moved()
                if number == 60:
                    enough.set()
                await pace.after(token)
        finally:
            producer.doing, producer.style = "was stopped", "yellow"
            stage.say(producer, f"is stopped, and cleans up, after {producer.chunks} tokens")

    async def follow() -> Status:
        stream = await _get(elsewhere, UNWANTED)
        reader.doing, reader.style = "follows live", "cyan"
        async with stream.subscribe() as subscription:
            async for chunk in subscription:
                reader.take(chunk)
                stage.moved()
        reader.doing, reader.style = f"ended: {subscription.status}", "yellow"
        return subscription.status

    stage.begin(
        "2. Anyone may cancel, from anywhere",
        "A producer writes on and on; somebody else, somewhere else, stops it.",
        [producer, reader, button],
    )
    stream = await here.run(UNWANTED, endless())
    stage.say(producer, f"claims {UNWANTED} and begins an answer without an end")
    following = asyncio.create_task(follow())
    await enough.wait()
    button.doing, button.style = "is pressed", "yellow"
    button.text = f"stream = await hub.get({UNWANTED!r})\nawait stream.cancel(wait=5)"
    stage.say(button, f"is pressed elsewhere: get({UNWANTED!r}), then cancel(wait=5)")
    status = await (await _get(elsewhere, UNWANTED)).cancel(wait=5)
    ended = await following
    button.doing = f"knows it is {status}"
    stage.say(reader, f"sees the end too: {ended}. A reader that leaves never stops anything")
    await pace.breath()
    stage.end()
    stored = await stream.text()
    how = f"{ended} after {reader.chunks} chunks"
    stopped = status is ended is Status.CANCELLED and bool(stored)
    return [_result("reader 4", how, reader.text, stored if stopped else "")]


# -- parts -----------------------------------------------------------------------------------


async def _get(hub: Hub, session_id: str) -> LiveStream:
    stream = await hub.get(session_id, wait=5)
    assert stream is not None, f"{session_id} was claimed before"
    return stream


async def _read(
    stream: LiveStream,
    actor: Actor,
    stage: Stage,
    *,
    after: Cursor | None = None,
    batch: bool = False,
    until: int | None = None,
) -> Cursor | None:
    """Read into the actor, to the end or until it has so many chunks; where it stopped."""
    async with stream.subscribe(after=after, batch_replay=batch) as subscription:
        async for chunk in subscription:
            actor.take(chunk)
            stage.moved()
            if actor.chunks == until:
                break
    return subscription.cursor


def _result(name: str, how: str, text: str, expected: str) -> Result:
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Result(name, how, len(text), digest, text == expected)
