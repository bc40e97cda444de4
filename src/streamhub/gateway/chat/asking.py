"""Asks the upstream for one chat completion, and publishes what it answers, as it comes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from typing import Any

from ...errors import ChunkTooLarge, StreamHubError, StreamTooLarge
from ...formats.sse import Event
from ...stream import LiveStream
from ..ahead import Ahead
from ..errors import GatewayError, UpstreamFailed
from ..upstream import UpstreamAnswer, decoded
from .failures import REFUSED, TOLD, reason_of
from .folding import is_complete
from .log import HEAD, Head, body_chunks, data_event

__all__ = ["Asking", "headers_of", "whole_body"]

_DONE = "[DONE]"
# The last chunks say why an answer has ended: one per choice, and one of the usage.
_LAST = 16
# In seconds: for so long what an answer begins with waits for its first event.
_HEAD_ALONE = 0.02
# In seconds: what still comes after the end of an answer, so that its connection can be used again.
_AFTERWARDS = 1.0


class Asking:
    """The source of one answer's session.

    :param ask: opens the request to the upstream.
    :param streamed: whether the client has asked for events.
    :param most: how many bytes a body may have that is no stream of events.
    :param on_over: called once, when nothing more is asked of the upstream.
    """

    def __init__(
        self,
        ask: Callable[[], AbstractAsyncContextManager[UpstreamAnswer]],
        *,
        streamed: bool,
        most: int,
        on_over: Callable[[], object],
    ) -> None:
        self._ask = ask
        self._streamed = streamed
        self._most = most
        self._on_over = on_over
        self._task: asyncio.Task[Any] | None = None
        self._ahead: Ahead[UpstreamAnswer] | None = None
        #: The head of an answer whose events are on their way; None once it is known that there are
        #: none, and the session says why.
        self.begun: asyncio.Future[Head | None] = asyncio.get_running_loop().create_future()
        self.over: bool = False

    def ask_ahead(self) -> None:
        """Ask now, while the session is still being claimed; to be dropped if it is not."""
        self._ahead = Ahead(self._ask())

    async def drop(self) -> None:
        """There is nothing to publish into (any more). Idempotent."""
        self.finish()
        if self._ahead is not None:
            await self._ahead.drop()

    async def __call__(self, stream: LiveStream) -> None:
        self._task = asyncio.current_task()
        try:
            async with self._ahead or self._ask() as answer:
                await self._publish(stream, answer)
        except GatewayError as error:
            await stream.fail(reason_of(error))
        except (ChunkTooLarge, StreamTooLarge) as error:
            message = (
                f"the upstream's answer is larger than {error.limit:,} bytes, or an event of it"
            )
            await stream.fail(reason_of(UpstreamFailed(502, "answer_too_large", message)))
        finally:
            self.finish()

    def finish(self) -> None:
        """Nothing more comes. Idempotent."""
        if not self.begun.done():
            self.begun.set_result(None)
        if not self.over:
            self.over = True
            self._on_over()

    def stop(self) -> None:
        """Close the request to the upstream now, whatever becomes of the session."""
        if self._task is not None:
            self._task.cancel()

    async def _publish(self, stream: LiveStream, answer: UpstreamAnswer) -> None:
        # Where the upstream does not say what it sends, it is what was asked for.
        wanted = ("text/event-stream", "") if self._streamed else ()
        if answer.status >= 300 or answer.media_type not in wanted:
            await self._publish_whole(stream, answer)
            return
        head = Head(answer.status, headers_of(answer), streamed=True)
        self.begun.set_result(head)
        last: deque[str] = deque(maxlen=_LAST)
        async with aclosing(answer.events()) as events:
            event = await _first(events, stream, head)
            while event is not None:
                last.append(event.data)
                if event.data == _DONE:
                    break
                if (event := await anext(events, None)) is not None:
                    data, name = _chunk(event)
                    await stream.publish(data, event=name)
            # Before the end is told: who hears of it has nothing to stop.
            self.finish()
            await _end(stream, last)
            with suppress(TimeoutError, GatewayError):
                async with asyncio.timeout(_AFTERWARDS):
                    async for _ in events:
                        pass

    async def _publish_whole(self, stream: LiveStream, answer: UpstreamAnswer) -> None:
        """What is no stream of events: a whole answer, or an error of the upstream's."""
        refused = answer.status >= 400
        if self._streamed and not refused:
            raise await answer.unexpected("a stream of events")
        body = await whole_body(answer, self._most)
        head = Head(answer.status, headers_of(answer), streamed=False)
        await stream.publish(head.encode(), event=HEAD)
        for data, event in body_chunks(body):
            await stream.publish(data, event=event)
        if refused:
            message = f"the upstream has refused the request: {answer.status}"
            await stream.fail(reason_of(UpstreamFailed(502, REFUSED, message)))


async def _first(events: AsyncIterator[Event], stream: LiveStream, head: Head) -> Event | None:
    """The first event, if there is one, which is published with the head: they are stored together,
    and the event waits for no other write. Where the upstream begins long before it says something,
    the head is published alone."""
    begins = [(head.encode(), HEAD)]

    def begin_alone() -> None:
        # What is wrong with the stream is raised by what follows.
        with suppress(StreamHubError):
            del begins[: stream.production("publish").producer.accept_together(begins)]

    # No task for either: what has come already is on its way to the store before anything else.
    alone = asyncio.get_running_loop().call_later(_HEAD_ALONE, begin_alone)
    try:
        event = await anext(events, None)
    finally:
        alone.cancel()
    chunks = [*begins, *_chunks(event)]
    taken = stream.production("publish").producer.accept_together(chunks)
    for data, kind in chunks[taken:]:
        await stream.publish(data, event=kind)
    return event


def _chunks(event: Event | None) -> list[tuple[str, str]]:
    return [] if event is None else [_chunk(event)]


def _chunk(event: Event) -> tuple[str, str]:
    """What is stored of an event."""
    return event.data, data_event(None if event.event == "message" else event.event)


def headers_of(answer: UpstreamAnswer) -> list[tuple[str, str]]:
    """The headers that are passed on with what was read: it is not compressed any more."""
    return [pair for pair in answer.headers.items() if pair[0] != "content-encoding"]


async def whole_body(answer: UpstreamAnswer, most: int) -> bytes:
    """The body of an answer that is no stream of events.

    :raises UpstreamFailed: it is larger, or an answer to something else.
    """
    body = await answer.read(most + 1)
    if len(body) > most:
        message = f"the upstream's answer is larger than {most:,} bytes"
        raise UpstreamFailed(502, "answer_too_large", message)
    if answer.status < 400 and (answer.media_type != "application/json" or not _object(body)):
        raise await answer.unexpected("a JSON object")
    return body


async def _end(stream: LiveStream, last: deque[str]) -> None:
    """End the session as the upstream has ended its answer."""
    chunks = [chunk for data in last if data != _DONE and (chunk := _object(data)) is not None]
    if chunks and chunks[-1].get("error"):
        await stream.fail(reason_of(UpstreamFailed(502, TOLD, "the upstream's answer has failed")))
    elif last and (last[-1] == _DONE or is_complete(chunks)):
        await stream.close()
    else:
        # Where neither a length nor chunks frame the body, a cut looks like its end.
        message = "the upstream's answer ended before it was complete"
        raise UpstreamFailed(502, "upstream_ended_early", message)


def _object(data: str | bytes) -> dict[str, Any] | None:
    try:
        chunk = decoded(data)
    except ValueError:
        return None
    return chunk if isinstance(chunk, dict) else None
