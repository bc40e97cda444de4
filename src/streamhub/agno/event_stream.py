"""``HubEventStream``: what agno's background runs say, in the sessions of a hub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
from agno.os.event_streams import BaseEventStream
from agno.os.utils import format_sse_event_with_index
from agno.run.base import RunStatus

from ..chunks import Chunk, SessionInfo, Status
from ..errors import (
    HubClosed,
    ProducerFailed,
    ProducerFenced,
    ProducerLost,
    SessionNotFound,
    StreamClosed,
)
from ..hub import Hub
from ..stream import LiveStream
from .run import Run, after_leg, is_stale, legs_of, status_of

__all__ = ["EVENT", "HubEventStream"]

#: The event type of a run's chunks: JSON of an event's index, and of the event as agno sends it.
EVENT = "agno"

_ENDS = (RunStatus.completed, RunStatus.error, RunStatus.cancelled, RunStatus.paused)
# For how long a tail asks at once for a leg that has not begun, in seconds.
_ASK = 60.0
# What an attempt that is fenced may still have said meanwhile, in events.
_MARGIN = 1000


class _Leg(msgspec.Struct):
    """A leg that is produced here."""

    stream: LiveStream
    next_index: int
    generation: int | None


class HubEventStream(BaseEventStream):  # type: ignore[misc]
    """A ``BaseEventStream`` whose tails are woken, on any replica::

        set_event_stream(HubEventStream(hub))

    The replica that executes a run produces its sessions, and no other can write there. Where it
    was killed, ``tail`` raises ``ProducerLost`` once its lease has lapsed, and the run's status is
    ``ERROR``, until another attempt takes over. What is kept, and for how long, is what the hub's
    config says: no event is trimmed while its run lives.

    :param prefix: what stands before a run's id in the id of its session; those of its legs have
        ``/`` and a number after it.
    """

    def __init__(self, hub: Hub, *, prefix: str = "agno:") -> None:
        if not isinstance(hub, Hub):
            raise TypeError(f"hub must be a streamhub.Hub, not {type(hub).__name__}")
        self._hub = hub
        self._prefix = prefix
        self._legs: dict[str, _Leg] = {}

    async def register_run(self, run_id: str, status: RunStatus = RunStatus.pending) -> None:
        async def register(run: Run | None) -> Run | None:
            return None if run is not None else Run(status.value)

        await self._change(run_id, register)

    async def set_run_status(
        self, run_id: str, status: RunStatus, generation: int | None = None
    ) -> None:
        if not await self._note(run_id, status, generation):
            return
        if status is RunStatus.running:
            await self._leg(run_id, generation)

    async def get_run_status(self, run_id: str) -> RunStatus | None:
        run = await self._run(run_id)
        return None if run is None else status_of(run, await self._info(run_id, run.leg))

    async def complete_run(
        self, run_id: str, status: RunStatus, generation: int | None = None
    ) -> None:
        status = status if status in _ENDS else RunStatus.completed
        if not await self._note(run_id, None, generation):
            return
        leg = await self._leg(run_id, generation)
        if leg is None:
            if status is RunStatus.cancelled and (run := await self._run(run_id)) is not None:
                # It runs elsewhere, and is ended there.
                stream = await self._hub.get(self._name(run_id, run.leg))
                if stream is not None:
                    await stream.cancel(reason="the run was cancelled")
            return
        self._legs.pop(run_id, None)
        with suppress(ProducerFenced, StreamClosed):
            await leg.stream.set_metadata({"status": status.value})
            if status is RunStatus.error:
                await leg.stream.fail("the run has failed")
            else:
                if status is RunStatus.cancelled:
                    await leg.stream.cancel(reason="the run was cancelled")
                await leg.stream.close()

    async def reopen_run(
        self, run_id: str, include_error: bool = False, floor: int | None = None
    ) -> bool:
        reopened = True

        async def reopen(run: Run | None) -> Run | None:
            nonlocal reopened
            run = run or Run(RunStatus.pending.value)
            info = await self._info(run_id, run.leg)
            allowed = {RunStatus.paused, RunStatus.pending}
            if include_error:
                allowed.add(RunStatus.error)
            if status_of(run, info) not in allowed:
                reopened = False
                return None
            run = after_leg(run, info) if info is not None else run
            base = run.base if floor is None else max(run.base, floor + 1)
            return msgspec.structs.replace(run, status=RunStatus.pending.value, base=base)

        await self._change(run_id, reopen)
        return reopened

    async def begin_attempt(self, run_id: str, generation: int) -> None:
        overtaken: str | None = None

        async def begin(run: Run | None) -> Run | None:
            nonlocal overtaken
            run = run or Run(RunStatus.pending.value)
            if run.generation is not None and generation <= run.generation:
                return None
            info = await self._info(run_id, run.leg)
            if info is not None and info.status in (Status.ACTIVE, Status.LOST):
                overtaken = info.session_id
                run = after_leg(run, info, _MARGIN)
            return msgspec.structs.replace(run, generation=generation)

        await self._change(run_id, begin)
        if overtaken is not None:
            self._legs.pop(run_id, None)
            if (stream := await self._hub.get(overtaken)) is not None:
                await stream.cancel(reason="another attempt has begun")

    async def reset_run_events(self, run_id: str, generation: int | None = None) -> None:
        dropped: range = range(0)

        async def reset(run: Run | None) -> Run | None:
            nonlocal dropped
            if run is None or is_stale(run, generation):
                return None
            info = await self._info(run_id, run.leg)
            if info is None and run.first == run.leg:
                return None
            dropped = range(run.first, run.leg + (info is not None))
            run = after_leg(run, info) if info is not None else run
            return msgspec.structs.replace(run, first=run.leg)

        await self._change(run_id, reset)
        if dropped:
            self._legs.pop(run_id, None)
        for leg in dropped:
            await self._hub.remove(self._name(run_id, leg))

    async def cleanup_run(self, run_id: str) -> None:
        self._legs.pop(run_id, None)
        legs = legs_of(await self._run(run_id))
        await self._hub.remove(self._prefix + run_id)
        for leg in legs:
            await self._hub.remove(self._name(run_id, leg))

    async def add_event(self, run_id: str, event: Any, generation: int | None = None) -> int:
        leg = self._legs.get(run_id)
        if leg is None or (generation is not None and generation != leg.generation):
            if not await self._note(run_id, RunStatus.running, generation):
                return -1
            leg = await self._leg(run_id, generation)
            if leg is None:
                return -1
        index, leg.next_index = leg.next_index, leg.next_index + 1
        with suppress(Exception):
            # Where agno keeps the run's events, it keeps their indices.
            event.event_index = index
        sse = format_sse_event_with_index(event, event_index=index, run_id=run_id)
        try:
            await leg.stream.publish(msgspec.json.encode([index, sse]).decode(), event=EVENT)
        except (ProducerFenced, StreamClosed, HubClosed):
            # Another attempt has taken over, or the run has ended.
            self._legs.pop(run_id, None)
            return -1
        return index

    async def replay(
        self, run_id: str, last_event_index: int | None = None
    ) -> list[tuple[int, Any]]:
        after = -1 if last_event_index is None else last_event_index
        found: list[tuple[int, Any]] = []
        for leg in legs_of(await self._run(run_id)):
            with suppress(SessionNotFound):
                found += [event async for event in self._stored(run_id, leg) if event[0] > after]
        return found

    async def get_last_index(self, run_id: str) -> int:
        run = await self._run(run_id)
        if run is None:
            return -1
        info = await self._info(run_id, run.leg)
        return run.base - 1 + (0 if info is None else info.last.offset)

    async def get_event_count(self, run_id: str) -> int:
        infos = [await self._info(run_id, leg) for leg in legs_of(await self._run(run_id))]
        return sum(info.last.offset for info in infos if info is not None)

    async def tail(
        self, run_id: str, last_event_index: int | None = None
    ) -> AsyncIterator[tuple[int, str]]:
        after = -1 if last_event_index is None else last_event_index
        leg = 0
        while (run := await self._run(run_id)) is not None:
            leg = max(leg, run.first)
            stream = await self._hub.get(self._name(run_id, leg), wait=_ASK)
            if stream is None:
                continue
            try:
                async with stream.subscribe() as subscription:
                    async for chunk in subscription:
                        index, sse = _read(chunk)
                        if index > after:
                            yield index, sse
                            after = index
            except ProducerFailed:
                pass
            except (ProducerLost, SessionNotFound):
                run = await self._run(run_id)
                if run is not None and max(run.first, run.leg) <= leg:
                    raise
            run = await self._run(run_id)
            if run is None or run.leg <= leg:
                return
            leg += 1

    def _name(self, run_id: str, leg: int) -> str:
        return f"{self._prefix}{run_id}/{leg}"

    async def _run(self, run_id: str) -> Run | None:
        with suppress(SessionNotFound):
            if (stream := await self._hub.get(self._prefix + run_id)) is not None:
                return await stream.metadata(Run)
        return None

    async def _info(self, run_id: str, leg: int) -> SessionInfo | None:
        with suppress(SessionNotFound):
            if (stream := await self._hub.get(self._name(run_id, leg))) is not None:
                return await stream.info()
        return None

    async def _change(
        self, run_id: str, change: Callable[[Run | None], Awaitable[Run | None]]
    ) -> Run | None:
        """Change what is known of a run, while nobody else does: ``change`` answers what it is to
        be, or None to leave it; the answer is what it is."""
        session_id = self._prefix + run_id
        while True:
            stream, created = await self._hub.register(session_id, takeover="continue")
            if created:
                break
            with suppress(SessionNotFound):
                await stream.wait()
        try:
            run = await stream.metadata(Run)
            changed = await change(run)
            if changed is not None:
                await stream.set_metadata(changed)
        finally:
            # An end that another change continues after, and that no supervisor looks after.
            await stream.cancel(reason="nothing is produced here")
            await stream.close()
        if changed is None and run is None:
            await self._hub.remove(session_id)
        return changed or run

    async def _note(
        self,
        run_id: str,
        status: RunStatus | None,
        generation: int | None,
    ) -> bool:
        """Note what an attempt says of its run; False if another one has overtaken it."""
        stale = False

        async def note(run: Run | None) -> Run | None:
            nonlocal stale
            run = run or Run(RunStatus.pending.value)
            if stale := is_stale(run, generation):
                return None
            return msgspec.structs.replace(
                run,
                status=run.status if status is None else status.value,
                generation=run.generation if generation is None else generation,
            )

        await self._change(run_id, note)
        return not stale

    async def _leg(self, run_id: str, generation: int | None) -> _Leg | None:
        """The leg that is under way, produced here; None if it is produced elsewhere."""
        if (leg := self._legs.get(run_id)) is not None:
            leg.generation = generation if generation is not None else leg.generation
            return leg
        produced: _Leg | None = None

        async def claim(run: Run | None) -> Run | None:
            nonlocal produced
            run = run or Run(RunStatus.running.value)
            info = await self._info(run_id, run.leg)
            if info is not None and info.status not in (Status.ACTIVE, Status.LOST):
                run = after_leg(run, info)
            stream, created = await self._hub.register(
                self._name(run_id, run.leg), takeover="continue"
            )
            if created:
                last = (await stream.info()).last.offset
                produced = _Leg(stream, run.base + last, run.generation)
            return run

        await self._change(run_id, claim)
        if produced is not None:
            self._legs[run_id] = produced
        return produced

    async def _stored(self, run_id: str, leg: int) -> AsyncIterator[tuple[int, str]]:
        stream = await self._hub.get(self._name(run_id, leg))
        if stream is None:
            return
        last = (await stream.info()).last
        if not last.offset:
            return
        async with stream.subscribe() as subscription:
            async for chunk in subscription:
                yield _read(chunk)
                if not chunk.cursor.is_before(last):
                    return


def _read(chunk: Chunk) -> tuple[int, str]:
    return msgspec.json.decode(chunk.data, type=tuple[int, str])
