"""Those who produce, read, continue and cancel in a campaign, and record all that they see."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any

from streamhub import (
    Cursor,
    CursorExpired,
    Hub,
    HubClosed,
    LiveStream,
    ProducerFailed,
    ProducerFenced,
    ProducerLost,
    SessionNotFound,
    Status,
    StoreUnavailable,
    StreamClosed,
    StreamHubError,
    StreamReplaced,
)

from . import record
from .record import Record

__all__ = ["Cast", "Pause", "term_of"]

#: The session and the generation of an event.
Facts = dict[str, Any]

#: Between two attempts to reach a store that is away.
_PAUSE = 0.05
_FLUSH_EVERY = 5
#: What chunks are filled up with: every line break, NUL, and characters of one to four bytes.
_FILLINGS = ("", "\n", "\r\n", "\x00", "é", "…", "🙂", "\u2028", "data: ", "x" * 300)


def term_of(cursor: Cursor) -> int:
    """The first half of a cursor: what tells chunks of the same offset apart."""
    return int(str(cursor).partition("-")[0])


class Pause:
    """Has a reader take nothing more after ``left`` chunks, until ``over``."""

    def __init__(self, left: int, over: asyncio.Event) -> None:
        self.left = left
        self.over = over


class Cast:
    """Acts on one hub, in one process. ``stop`` tells its producers to close their streams,
    ``ending`` those of some sessions."""

    def __init__(
        self, hub: Hub, record: Record, *, process: str, pace: float, buffer: int = 256
    ) -> None:
        self.hub = hub
        self.record = record
        self.process = process
        self.stop = asyncio.Event()
        self.ending: set[str] = set()
        self._pace = pace
        self._buffer = buffer

    async def produce(self, session: str, *, takeover: bool = False) -> None:
        """Claim the session and publish until ``stop``; or until somebody else ends it."""
        claimed = await self._register(session, "continue" if takeover else "restart")
        if claimed is not None:
            await self._produce(claimed, session)

    async def take_over(self, session: str, takeover: str, patience: float) -> None:
        """Claim the session as soon as that is granted, within ``patience`` seconds; publish."""
        until = time.monotonic() + patience
        while not self.stop.is_set() and time.monotonic() < until:
            try:
                claimed = await self._register(session, takeover)
            except HubClosed:
                return
            if claimed is not None:
                await self._produce(claimed, session)
                return
            await asyncio.sleep(_PAUSE)

    async def _produce(self, claimed: LiveStream, session: str) -> None:
        assert claimed.generation is not None
        facts: Facts = {"session": session, "generation": claimed.generation}
        try:
            await self._publish(claimed, facts)
        except ProducerFenced:
            self.record.add(record.Fenced(**facts))
        except StreamClosed as error:
            if error.status is Status.CANCELLED:
                self.record.add(record.Closed(**facts))
            else:
                self.record.add(record.Failed(**facts, error=str(error)))
        except HubClosed:
            self.record.add(record.Left(**facts))
        except StreamHubError as error:
            self.record.add(record.Failed(**facts, error=f"{type(error).__name__}: {error}"))

    async def rescue(self, session: str) -> None:
        """Continue the session whenever it is lost, until it has ended."""
        while not self.stop.is_set():
            try:
                stream = await self.hub.get(session, wait=1.0)
                if stream is None:
                    continue
                status = await stream.wait()
                if status is not Status.LOST:
                    return
                await self.produce(session, takeover=True)
            except (StoreUnavailable, SessionNotFound):
                await asyncio.sleep(_PAUSE)
            except HubClosed:
                return

    async def follow(
        self,
        session: str,
        reader: str,
        *,
        after: Cursor | None = None,
        pause: Pause | None = None,
    ) -> None:
        """Read the session to its end, through whatever happens to its producers."""
        reads = after is not None
        while True:
            try:
                stream = await self.hub.get(session, wait=1.0)
            except StoreUnavailable:
                await asyncio.sleep(_PAUSE)
                continue
            except HubClosed:
                return
            if stream is None:
                if reads:
                    reads = False
                    self._raised(session, reader, SessionNotFound(session))
                if self.stop.is_set():
                    # Lost with its producer; whether that may be is for the proof to say.
                    return
                continue
            reads = True
            try:
                await self._read(stream, session, reader, after, pause)
                return
            except ProducerLost as error:
                self._raised(session, reader, error)
                after = error.cursor
                await asyncio.sleep(_PAUSE)
            except (StreamReplaced, SessionNotFound, CursorExpired) as error:
                self._raised(session, reader, error)
                if isinstance(error, CursorExpired) and self.stop.is_set():
                    # Nobody is there any more who could put the chunks back.
                    return
                after = None
                await asyncio.sleep(_PAUSE)
            except (ProducerFailed, StreamHubError) as error:
                self._raised(session, reader, error)
                return

    async def remove(self, session: str) -> None:
        """Remove the session, as soon as the store takes it."""
        self.record.add(record.RemovalAsked(session=session))
        while True:
            try:
                await self.hub.remove(session)
            except StoreUnavailable:
                await asyncio.sleep(_PAUSE)
            else:
                return

    async def settle(self, session: str) -> None:
        """Have the session end that nobody produces any more: a lost one is cancelled."""
        while True:
            try:
                stream = await self.hub.get(session)
                if stream is None:
                    return
                status = (await stream.info()).status
                if status is Status.LOST:
                    self.record.add(record.CancelAsked(session=session))
                    await stream.cancel(wait=1.0)
                elif status is not Status.ACTIVE:
                    return
            except SessionNotFound:
                return
            except StoreUnavailable:
                pass
            await asyncio.sleep(_PAUSE)

    async def cancel(self, session: str) -> None:
        """Cancel until that has an effect, whatever is away or gone in between."""
        self.record.add(record.CancelAsked(session=session))
        while not self.stop.is_set():
            try:
                stream = await self.hub.get(session, wait=1.0)
                if stream is not None:
                    status = await stream.cancel(wait=10.0)
                    if status in (Status.ACTIVE, Status.LOST):
                        continue
                    self.record.add(record.CancelAnswered(session=session, status=status))
                    return
            except StoreUnavailable:
                await asyncio.sleep(_PAUSE)
            except HubClosed:
                return

    async def _register(self, session: str, takeover: str) -> LiveStream | None:
        while True:
            try:
                stream, created = await self.hub.register(session, takeover=takeover)  # type: ignore[arg-type]
            except StoreUnavailable:
                await asyncio.sleep(_PAUSE)
                continue
            if not created or stream.generation is None:
                return None
            # Nothing is stored yet: the first cursor of this generation tells where it begins.
            self.record.add(record.Granted(session=session, generation=stream.generation))
            return stream

    async def _publish(self, stream: LiveStream, facts: Facts) -> None:
        generation = facts["generation"]
        random = Random(generation)
        first = True
        last = 0
        async with stream:
            while not self.stop.is_set() and facts["session"] not in self.ending:
                data = f"{generation}:{last}:{random.choice(_FILLINGS)}"
                self.record.add(record.Publishing(**facts, data=data))
                cursor = await stream.publish(data)
                if first:
                    first = False
                    self.record.add(
                        record.Claimed(
                            **facts,
                            term=term_of(cursor),
                            base=cursor.offset - 1,
                            process=self.process,
                        )
                    )
                last = cursor.offset
                self.record.add(
                    record.Published(**facts, term=term_of(cursor), offset=last, data=data)
                )
                if not last % _FLUSH_EVERY:
                    await stream.flush()
                    self.record.add(record.Acknowledged(**facts, last=last))
                await asyncio.sleep(self._pace)
            self.record.add(record.Closing(**facts, status="finished"))
        self.record.add(record.Closed(**facts))

    async def _read(
        self,
        stream: LiveStream,
        session: str,
        reader: str,
        after: Cursor | None,
        pause: Pause | None,
    ) -> None:
        start = None if after is None else (term_of(after), after.offset)
        self.record.add(record.Opened(session=session, reader=reader, after=start))
        async with stream.subscribe(after=after, buffer=self._buffer) as chunks:
            async for chunk in chunks:
                cursor = chunk.cursor
                self.record.add(
                    record.Delivered(
                        session=session,
                        reader=reader,
                        term=term_of(cursor),
                        offset=cursor.offset,
                        data=chunk.data,
                    )
                )
                if pause is not None:
                    await self._pause(session, reader, pause)
        self.record.add(record.Ended(session=session, reader=reader, status=chunks.status))

    async def _pause(self, session: str, reader: str, pause: Pause) -> None:
        pause.left -= 1
        if pause.left == 0:
            self.record.add(record.Paused(session=session, reader=reader))
            await pause.over.wait()
            self.record.add(record.Resumed(session=session, reader=reader))

    def _raised(self, session: str, reader: str, error: Exception) -> None:
        self.record.add(
            record.Raised(
                session=session, reader=reader, error=type(error).__name__, said=str(error)
            )
        )
