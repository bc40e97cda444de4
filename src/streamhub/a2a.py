"""The events of A2A tasks for all replicas of a server, on a hub:
``pip install "streamhub-llm[a2a]"``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

import msgspec

try:
    from a2a.server.agent_execution.active_task import (
        INTERRUPTED_TASK_STATES,
        TERMINAL_TASK_STATES,
    )
    from a2a.server.cluster.event_stream import TaskEventStream, VersionedEvent
    from a2a.server.cluster.version import TaskVersion
    from a2a.types.a2a_pb2 import Message, StreamResponse, Task, TaskStatusUpdateEvent
    from a2a.utils.proto_utils import parse_lenient, to_stream_response
    from google.protobuf.json_format import MessageToDict
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] != "a2a":
        raise
    raise ModuleNotFoundError(
        'streamhub.a2a needs a2a: pip install "streamhub-llm[a2a]"', name="a2a"
    ) from None

from .chunks import Status
from .errors import HubClosed, ProducerFenced, SessionNotFound, StreamClosed, StreamReplaced
from .hub import Hub
from .stream import LiveStream

__all__ = ["EVENT", "HubTaskEventStream"]

logger: logging.Logger = logging.getLogger("streamhub")

#: The event type of a task's chunks.
EVENT = "a2a"

# For how long a subscriber asks at once for a task that has published nothing yet, in seconds.
_ASK = 60.0
# How often a publisher finds a session changing hands before it gives up.
_ATTEMPTS = 8


class HubTaskEventStream(TaskEventStream):  # type: ignore[misc]
    """A ``TaskEventStream`` whose subscribers are woken, and hear of an end::

        handler = DefaultRequestHandler(executor, store, card, event_stream=HubTaskEventStream(hub))

    A task is a session, ``a2a:<task id>``. The replica that publishes first produces it, until the
    task is done or waits for input; events of others, such as the cancel of a task that runs
    elsewhere, go through its inbox. Where it was killed, its subscribers get ``ProducerLost`` once
    its lease has lapsed, and whoever publishes next goes on. A cancel of the session ends it at
    once, and fails the task with the agent's next event.

    :param prefix: what stands before the task's id in the session's.
    """

    def __init__(self, hub: Hub, *, prefix: str = "a2a:") -> None:
        if not isinstance(hub, Hub):
            raise TypeError(f"hub must be a streamhub.Hub, not {type(hub).__name__}")
        self._hub = hub
        self._prefix = prefix
        self._produced: dict[str, LiveStream] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._forwarding: set[asyncio.Task[None]] = set()

    async def publish(self, task_id: str, event: VersionedEvent) -> None:
        """Have ``event`` stored, or sent to the replica that produces the task's session.

        :raises StreamClosed: somebody has cancelled the session: by this the task fails.
        :raises StreamHubError: it could be neither.
        """
        text = _written(event)
        # Each waits for those that were published here before it.
        lock = self._locks.setdefault(task_id, asyncio.Lock())
        async with lock:
            await self._publish(task_id, text)
            if _ends_leg(event):
                await self._close(task_id)

    async def subscribe(
        self, task_id: str, *, after: TaskVersion
    ) -> AsyncGenerator[VersionedEvent, None]:
        """Events that are newer than ``after``: those that are stored, then those that come. Also
        where the task has published none yet, or waits for input. Ends with the task.

        :raises ProducerLost: the replica that runs the task is gone.
        :raises StreamReplaced: events were missed, since the task went on after it had waited for
            input: read the task again.
        :raises SessionNotFound: its session was removed, or has expired.
        """
        session_id = self._prefix + task_id
        while (stream := await self._hub.get(session_id, wait=_ASK)) is None:
            pass
        while True:
            waits = False
            stream_id = (await stream.info()).stream_id
            async with stream.subscribe() as subscription:
                async for chunk in subscription:
                    if chunk.event != EVENT:
                        continue
                    event = _read(chunk.data)
                    waits = _waits_for_input(event)
                    if event.version.is_after(after):
                        yield event
            if not waits:
                return
            # It goes on as another stream.
            await stream.wait_replaced(stream_id)
            stream = await self._hub.get(session_id)
            if stream is None:
                raise SessionNotFound(session_id)

    async def destroy(self, task_id: str) -> None:
        """End what this replica produces of the task. It stays for ``HubConfig.retention``."""
        await self._close(task_id)

    async def _publish(self, task_id: str, text: str) -> None:
        last: Exception | None = None
        for _ in range(_ATTEMPTS):
            stream = self._produced.get(task_id) or await self._claimed(task_id)
            try:
                if stream.generation is not None:
                    await stream.publish(text, event=EVENT)
                    return
                await stream.send(text, EVENT)
            except (ProducerFenced, StreamClosed, StreamReplaced, SessionNotFound) as error:
                # It has ended, or belongs to another replica, since it was looked at.
                last = error
                if self._produced.pop(task_id, None) is not None and _is_cancel(error):
                    # Whoever runs the task is to hear of it.
                    raise
                continue
            with suppress(SessionNotFound):
                if (await stream.info()).status is not Status.LOST:
                    return
            # What was sent waits in the inbox for whoever continues.
            await self._claimed(task_id)
            return
        assert last is not None
        raise last

    async def _claimed(self, task_id: str) -> LiveStream:
        """The stream of the task: produced here, if nobody else does."""
        session_id = self._prefix + task_id
        found = await self._hub.get(session_id)

        async def on_cancel() -> None:
            # It is kept: what is published next raises.
            if (produced := self._produced.get(task_id)) is not None:
                await produced.close()

        with suppress(SessionNotFound):
            lost = found is not None and (await found.info()).status is Status.LOST
            stream, created = await self._hub.register(
                session_id, on_cancel, takeover="continue" if lost else "restart"
            )
            if created:
                self._produced[task_id] = stream
                if stream.stopping == "cancelled":
                    await stream.close()
                forwarding = asyncio.create_task(self._forward(task_id, stream))
                self._forwarding.add(forwarding)
                forwarding.add_done_callback(self._forwarding.discard)
            return stream
        raise SessionNotFound(session_id)

    async def _forward(self, task_id: str, stream: LiveStream) -> None:
        """Publish what other replicas have sent."""
        try:
            async for message in stream.inbox():
                if message.event == EVENT:
                    message.done()
                    await stream.publish(message.data, event=EVENT)
                    if _ends_leg(_read(message.data)):
                        await self._close(task_id, stream)
        except (HubClosed, ProducerFenced, StreamClosed):
            pass
        except Exception:
            logger.exception("task %s: events of other replicas are not published", task_id)

    async def _close(self, task_id: str, stream: LiveStream | None = None) -> None:
        if stream is None or self._produced.get(task_id) is stream:
            stream = self._produced.pop(task_id, None)
        if stream is not None:
            with suppress(ProducerFenced):
                await stream.close()


def _is_cancel(error: Exception) -> bool:
    return isinstance(error, StreamClosed) and error.status is Status.CANCELLED


def _ends_leg(event: VersionedEvent) -> bool:
    """Whether nothing follows, or not before somebody answers."""
    if isinstance(event.event, Message):
        return True
    return _state(event) in TERMINAL_TASK_STATES or _waits_for_input(event)


def _waits_for_input(event: VersionedEvent) -> bool:
    return _state(event) in INTERRUPTED_TASK_STATES


def _state(event: VersionedEvent) -> Any:
    if isinstance(event.event, Task | TaskStatusUpdateEvent):
        return event.event.status.state
    return None


def _written(event: VersionedEvent) -> str:
    # By which its maker alone reads it, but which has to travel.
    version = event.version._value
    told = {"version": version, "event": MessageToDict(to_stream_response(event.event))}
    return msgspec.json.encode(told).decode()


def _read(text: str) -> VersionedEvent:
    told = msgspec.json.decode(text)
    response = parse_lenient(told["event"], StreamResponse())
    event = getattr(response, response.WhichOneof("payload"))
    return VersionedEvent(event=event, version=TaskVersion(told["version"]))
