"""One run of a task: what its function yields is published, until that ends or is to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable
from contextlib import suppress
from typing import Any

from celery.exceptions import Ignore

from .. import sync
from ..chunks import Status
from ..errors import HubClosed, ProducerFenced, StreamClosed, StreamHubError
from ..producing import sources
from ..stream import LiveStream
from .interruption import Interruption
from .process import ProcessHub, logger

__all__ = ["Run", "Stopped"]


class Stopped(Ignore):  # type: ignore[misc]
    """There is nobody to produce for, or another worker is to go on. Passes through automatic
    retries, as ``Ignore`` does."""


_END = object()


class Run:
    """What happens to the stream of a task between its claim and its end.

    :param drain: as for ``task``.
    :param handed_over: sends the task to another worker.
    """

    def __init__(
        self, hub: ProcessHub, drain: float | None, *, handed_over: Callable[[], None]
    ) -> None:
        self.is_handed_over: bool = False
        self._hub = hub
        self._drain = drain
        self._send_again = handed_over
        self._feeding: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._stream: LiveStream | None = None
        #: Whether the worker shuts down, and the time that it gave is over.
        self._leaves = False
        #: Whether that has stopped the function before its end.
        self._broken_off = False
        self._interruption = Interruption(Stopped("its stream is to end"))

    @property
    def stream(self) -> sync.LiveStream:
        """The stream, for the thread of the task."""
        return sync.LiveStream(self._hub.background, self._claimed)

    @property
    def _claimed(self) -> LiveStream:
        assert self._stream is not None
        return self._stream

    def begin(self, stream: LiveStream) -> None:
        """The session is claimed."""
        self._stream = stream
        if self._drain is not None:
            self._hub.background.call(self._watch)

    def end(self) -> None:
        """Nothing more is drawn."""
        if self._watching is not None:
            with suppress(HubClosed):
                self._hub.background.call(self._unwatch)

    async def on_cancel(self) -> None:
        """Stop what runs in the event loop. A thread may need a moment, or learn it from what it
        publishes next: its stream ends here and now."""
        if self._feeding is not None:
            self._feeding.cancel("cancelled")
        elif self._stream is not None:
            await self._stream.close()
            self._interruption.begin()

    def draw(self, call: Callable[[], Any]) -> None:
        """Call the task's function, and publish all that comes of it: in this thread, if that is
        a plain iterable.

        :raises Stopped: its readers want no more, or somebody else writes the session, or another
            worker is to go on.
        """
        try:
            with self._interruption:
                source = call()
            if source is None:
                return
            sources.check(source)
            if isinstance(source, AsyncIterable):
                self._hub.background.call(self._feed, source)
            elif isinstance(source, Iterable):
                self._draw(source)
            else:
                raise TypeError(f"a task must yield or return an iterable, not {source!r:.100}")
        except Stopped:
            self._broken_off = self._leaves
            raise
        except StreamClosed as closed:
            if closed.status is not Status.CANCELLED:
                raise
            raise Stopped("its stream was cancelled") from None
        except ProducerFenced as fenced:
            logger.warning("%s", fenced)
            raise Stopped(str(fenced)) from None

    def close(self) -> None:
        """End the stream as finished, unless it is handed over or has another end."""
        if self._broken_off and self._claimed.stopping != "cancelled":
            self._hand_over()
            return
        with suppress(ProducerFenced):
            self._hub.background.call(self._claimed.close)

    def fail(self, error: BaseException) -> None:
        try:
            self._hub.background.call(self._claimed.fail, error)
        except StreamHubError as failure:
            if type(failure) is not type(error):
                error.add_note(f"streamhub: the stream could not be ended as failed: {failure}")

    def release(self) -> None:
        """Leave the session to whoever runs the task next."""
        with suppress(StreamHubError):
            self._hub.background.call(self._claimed.release)

    def _draw(self, source: Iterable[Any]) -> None:
        items = sources.Items(source, self._claimed)
        drawn = iter(source)
        try:
            while True:
                with self._interruption:
                    item = next(drawn, _END)
                if item is _END:
                    return
                self._hub.background.call(items.publish, item)
                if self._leaves:
                    raise Stopped("its worker shuts down")
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    async def _feed(self, source: AsyncIterable[Any]) -> None:
        self._feeding = asyncio.create_task(sources.feed(source, self._claimed))
        try:
            await self._feeding
        except asyncio.CancelledError:
            if self._feeding.cancelled() and (self._leaves or self._claimed.stopping):
                raise Stopped("its stream is to end") from None
            # A time limit of the task has interrupted the call.
            self._feeding.cancel()
            await asyncio.wait({self._feeding})
            raise
        finally:
            self._feeding = None

    async def _watch(self) -> None:
        self._watching = asyncio.create_task(self._leave_in_time())

    async def _unwatch(self) -> None:
        assert self._watching is not None
        self._watching.cancel()
        await asyncio.wait({self._watching})

    async def _leave_in_time(self) -> None:
        assert self._drain is not None
        await self._hub.wait_leaving()
        await asyncio.sleep(self._drain)
        self._leaves = True
        if self._feeding is not None:
            self._feeding.cancel("handover")
        else:
            self._interruption.begin()

    def _hand_over(self) -> None:
        """Release first: whoever is sent the task may claim at once."""
        self.release()
        self.is_handed_over = True
        self._send_again()
