"""What assistant-stream keeps resumable streams in, on a hub:
``pip install "streamhub-llm[assistant-stream]"``."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Literal

try:
    from assistant_stream.resumable import (
        CancellationSignal,
        ResumableStreamEntry,
        ResumableStreamError,
        ResumableStreamRole,
        ResumableStreamStatus,
        validate_stream_id,
    )
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] != "assistant_stream":
        raise
    raise ModuleNotFoundError(
        "streamhub.assistant_stream needs assistant_stream: "
        'pip install "streamhub-llm[assistant-stream]"',
        name="assistant_stream",
    ) from None

from .chunks import Chunk, Status
from .errors import (
    ProducerFailed,
    ProducerFenced,
    ProducerLost,
    SessionNotFound,
    StreamClosed,
    StreamReplaced,
)
from .hub import Hub
from .stream import LiveStream

__all__ = ["BINARY_EVENT", "TEXT_EVENT", "HubResumableStreamStore"]

#: The event types of a stream's chunks: as they are, and in base64 where they are no UTF-8.
TEXT_EVENT = "assistant-stream"
BINARY_EVENT = "assistant-stream-base64"

_STATUSES: dict[Status, ResumableStreamStatus] = {
    Status.ACTIVE: "streaming",
    Status.FINISHED: "done",
    Status.CANCELLED: "done",
    Status.FAILED: "error",
    Status.LOST: "error",
}


class HubResumableStreamStore:
    """A ``ResumableStreamStore``: each stream is a session of its id::

        context = create_resumable_stream_context(store=HubResumableStreamStore(hub))

    Readers are woken, and do not poll. Only who has acquired a stream appends to it: an append of
    a producer that was replaced raises ``ProducerFenced``. One whose process was killed is an
    ``"error"`` as soon as its lease has lapsed, its readers are told, and the next who acquires
    the id produces anew; so it is where the task that appends was cancelled.

    How long a stream is kept after its end is ``HubConfig.retention``; one that streams is kept
    for as long as that takes. ``stream.cancel()`` of the session stops it from anywhere: the next
    append raises, and readers are done.
    """

    def __init__(self, hub: Hub) -> None:
        if not isinstance(hub, Hub):
            raise TypeError(f"hub must be a streamhub.Hub, not {type(hub).__name__}")
        self._hub = hub
        self._produced: dict[str, _Produced] = {}
        self._readers: dict[str, set[_Reader]] = {}

    async def acquire(self, stream_id: str, *, ttl_ms: int | None = None) -> ResumableStreamRole:
        """``"producer"`` for one of all who ask for a stream that is not there, or whose producer
        was lost; ``"consumer"`` for all others.

        :raises ValueError: ``ttl_ms`` is longer than the hub keeps a stream after its end.
        """
        validate_stream_id(stream_id)
        retention = self._hub.config.retention
        if ttl_ms is not None and ttl_ms > retention * 1000:
            raise ValueError(
                f"ttl_ms={ttl_ms:,}: this hub keeps streams for {retention:g} s after their end; "
                "open it with a longer HubConfig(retention=…)"
            )
        found = await self._hub.get(stream_id)
        status = None if found is None else await _status(found)
        if status not in (None, Status.LOST):
            return "consumer"
        stream, created = await self._hub.register(
            stream_id, takeover="continue" if status is None else "restart"
        )
        if not created:
            return "consumer"
        self._produced[stream_id] = _Produced(stream)
        return "producer"

    async def append(self, stream_id: str, chunk: bytes) -> None:
        """Add ``chunk`` to a stream that was acquired here.

        :raises ResumableStreamError: ``finalized``, the stream has ended.
        :raises RuntimeError: there is no such stream, or it was not acquired here.
        :raises ProducerFenced: it was acquired by another since.
        :raises ChunkTooLarge, StreamTooLarge: over ``max_chunk_bytes``, ``max_stream_bytes``.
        """
        validate_stream_id(stream_id)
        produced = await self._required(stream_id)
        if produced is None:
            raise ResumableStreamError("finalized", f"Stream already finalized: {stream_id}")
        try:
            await produced.append(chunk)
        except StreamClosed:
            self._produced.pop(stream_id, None)
            raise ResumableStreamError(
                "finalized", f"Stream already finalized: {stream_id}"
            ) from None
        except ProducerFenced as fenced:
            self._produced.pop(stream_id, None)
            if fenced.current is None:
                raise RuntimeError(f"Stream not found: {stream_id}") from fenced
            raise

    async def finalize(
        self, stream_id: str, status: Literal["done", "error"], error: str | None = None
    ) -> None:
        """End a stream that was acquired here, once all is stored; one that has ended stays so.

        :raises RuntimeError: there is no such stream, or it was not acquired here.
        :raises ProducerFenced: it was acquired by another since.
        """
        validate_stream_id(stream_id)
        produced = await self._required(stream_id)
        if produced is None:
            return
        self._produced.pop(stream_id, None)
        if status == "done":
            await produced.stream.close()
        else:
            await produced.stream.fail(error or "Stream errored")

    async def read(
        self, stream_id: str, cursor: str, signal: CancellationSignal
    ) -> AsyncIterator[ResumableStreamEntry]:
        """All chunks after ``cursor``, ``""`` for the start, as they come; until the end, or until
        ``signal`` is set.

        :raises RuntimeError: there is no such stream; it ended as an error, which is the message;
            or its producer was lost.
        :raises ResumableStreamError: ``missing``, it vanished meanwhile, but for a ``delete`` here.
        :raises InvalidCursor: ``cursor`` is malformed.
        """
        validate_stream_id(stream_id)
        stream = await self._hub.get(stream_id, after=cursor or None)
        if stream is None:
            raise RuntimeError(f"Stream not found: {stream_id}")
        reader = _Reader()
        readers = self._readers.setdefault(stream_id, set())
        readers.add(reader)
        subscription = stream.subscribe(after=cursor or None)

        async def stop() -> None:
            await signal.wait()
            await subscription.aclose()

        stopping = asyncio.create_task(stop())
        try:
            async for chunk in subscription:
                if signal.is_set():
                    return
                yield ResumableStreamEntry(cursor=str(chunk.cursor), chunk=_bytes_of(chunk))
        except ProducerFailed as failed:
            raise RuntimeError(failed.error) from failed
        except (ProducerLost, StreamReplaced) as lost:
            raise RuntimeError(str(lost)) from lost
        except SessionNotFound as gone:
            if not reader.deleted:
                raise ResumableStreamError("missing", str(gone)) from gone
        finally:
            stopping.cancel()
            await subscription.aclose()
            readers.discard(reader)
            if not readers:
                self._readers.pop(stream_id, None)

    async def status(self, stream_id: str) -> ResumableStreamStatus:
        """How the stream stands; one whose producer was lost is an ``"error"``."""
        validate_stream_id(stream_id)
        found = await self._hub.get(stream_id)
        status = None if found is None else await _status(found)
        return "missing" if status is None else _STATUSES[status]

    async def delete(self, stream_id: str) -> None:
        """Delete the stream, whoever produces it; those who read it here are done."""
        validate_stream_id(stream_id)
        for reader in self._readers.get(stream_id, ()):
            reader.deleted = True
        self._produced.pop(stream_id, None)
        await self._hub.remove(stream_id)

    async def _required(self, stream_id: str) -> _Produced | None:
        """What is produced here; None if the stream has ended.

        :raises RuntimeError: it is neither.
        """
        if (produced := self._produced.get(stream_id)) is not None:
            return produced
        found = await self._hub.get(stream_id)
        status = None if found is None else await _status(found)
        if status is None:
            raise RuntimeError(f"Stream not found: {stream_id}")
        if status in (Status.ACTIVE, Status.LOST):
            raise RuntimeError(f"Stream was not acquired here: {stream_id}")
        return None


class _Reader:
    def __init__(self) -> None:
        self.deleted = False


class _Produced:
    """A stream that was acquired here, and the task that appends to it."""

    def __init__(self, stream: LiveStream) -> None:
        self.stream = stream
        self._task: asyncio.Task[object] | None = None
        self._releasing: asyncio.Task[None] | None = None

    async def append(self, chunk: bytes) -> None:
        task = asyncio.current_task()
        if task is not self._task and task is not None:
            self._task = task
            task.add_done_callback(self._on_done)
        try:
            await self.stream.publish(chunk.decode(), event=TEXT_EVENT)
        except UnicodeDecodeError:
            await self.stream.publish(base64.b64encode(chunk).decode(), event=BINARY_EVENT)

    def _on_done(self, task: asyncio.Task[object]) -> None:
        """Who is cancelled finalizes nothing: nobody is to wait for it."""
        if task is self._task and task.cancelled():
            self._releasing = asyncio.get_running_loop().create_task(self.stream.release())


async def _status(stream: LiveStream) -> Status | None:
    with suppress(SessionNotFound):
        return (await stream.info()).status
    return None


def _bytes_of(chunk: Chunk) -> bytes:
    return base64.b64decode(chunk.data) if chunk.event == BINARY_EVENT else chunk.data.encode()
