"""One answer, drawn from the upstream into its session: until the upstream has told its end, over
as many of its connections as that takes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress

import msgspec

from ...errors import ChunkTooLarge, StreamHubError, StreamTooLarge
from ...formats.sse import Event
from ...hub import Hub
from ...stream import LiveStream
from ..ahead import Ahead
from ..errors import GatewayError, UpstreamFailed, UpstreamRefused, error_of
from ..upstream import Headers, decoded, storable
from .asked import REQUEST_EVENT, Asked, Facts
from .objects import Told, began, told
from .speaking import ResponsesApi, Speaks
from .stored import Log, find

__all__ = ["Answering"]

logger: logging.Logger = logging.getLogger("streamhub")

# How often an upstream is asked to go on without having said anything more, and how long it is left
# alone before, in seconds.
_ATTEMPTS = 10
_FIRST_PAUSE = 0.1
_LAST_PAUSE = 5.0
# How long a body is read after its last event, so that the connection can be used again.
_REST = 0.5
# How long one that is stopped before its first event waits for that: less than a producer may take.
_LAST_CHANCE = 2.0
_KEEP_ALIVE = "keepalive"


class Answering:
    """
    :param headers: what is sent upstream, the key of the client among them.
    :param asked: what a new answer is asked for with.
    :param previous: the upstream's name for the response before.
    :param pieces: the request, as it is kept before the events.
    :param log: of an answer that is to go on.
    """

    def __init__(
        self,
        hub: Hub,
        speaks: Speaks,
        facts: Facts,
        headers: Headers,
        *,
        asked: Asked | None = None,
        previous: str | None = None,
        pieces: Sequence[str] = (),
        log: Log | None = None,
    ) -> None:
        self._hub = hub
        self._speaks = speaks
        self._facts = facts
        self._headers = headers
        self._asked = asked
        self._previous = previous
        self._pieces = pieces
        #: Whether the upstream is to go on by itself.
        self._background = facts.background
        #: The upstream's name for the response, and its number of the last event.
        self._upstream = None if log is None else log.upstream
        self._last = None if log is None else log.last_number
        self._reattaches = log is not None and log.reattaches
        self._any = bool(log is not None and log.events)
        self._over: Told | None = told(log.events[-1]) if log is not None and log.is_over else None
        self._error: Told | None = None
        #: Whether what is read now goes on after the last event, which may come again.
        self._attached = False
        #: Done with the first event, and raises where there is none.
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        #: Whether somebody waits for that, who is told of a failure in another way.
        self.awaited: bool = log is None
        #: Called when all of it is drawn, or no more of it is.
        self.on_done: Callable[[], object] = lambda: None
        #: Why the answer has failed, where the upstream has not said so itself.
        self.failure: GatewayError | None = None
        self._task: asyncio.Task[None] | None = None
        self._ahead: Ahead[AsyncIterator[Event]] | None = None

    def ask_ahead(self, session_id: str) -> None:
        """Ask now, while the session is still being claimed; to be dropped if it is not."""
        self._ahead = Ahead(self._events(session_id))

    async def drop(self) -> None:
        """Nobody is to read what was asked for ahead, unless somebody does. Idempotent."""
        if self._ahead is not None:
            await self._ahead.drop()

    def stop(self) -> None:
        """Close the request to the upstream now, whatever becomes of the session."""
        if self._task is not None:
            self._task.cancel()

    async def produce(self, stream: LiveStream) -> None:
        """What ``hub.run`` takes."""
        self._task = asyncio.current_task()
        try:
            for piece in self._pieces:
                await stream.publish(piece, event=REQUEST_EVENT)
            self.failure = await self._draw(stream)
        except asyncio.CancelledError:
            if stream.stopping == "cancelled":
                await self._stop(stream)
            raise
        except StreamHubError as error:
            self._tell_begun(error_of(error))
            raise
        except Exception:
            self._tell_begun(GatewayError(500, "gateway_error", "the gateway failed"))
            raise
        finally:
            await self.drop()
            self.on_done()
            if stream.stopping == "cancelled":
                # Which is an end like any other, and its events tell it.
                self._tell_begun(None)
            elif self.failure is None:
                self._tell_begun(GatewayError(503, "shutting_down", "the gateway is shutting down"))
        if self.failure is not None:
            await self.fail(stream, self.failure)
        elif self._over is not None:
            await self._end(stream, self._over)

    async def _draw(self, stream: LiveStream) -> GatewayError | None:
        """Publish all that the upstream says; why it has not come to an end, if it has not."""
        failure: GatewayError
        attempts = 0
        while self._over is None:
            before = self._last
            try:
                if self._background and self._upstream is None:
                    await self._read_first(stream)
                else:
                    await self._read(stream)
                failure = self._ended_early()
            except UpstreamRefused as refused:
                if self._has_no_background(refused):
                    self._background = False
                    continue
                if not (self._reattaches and _is_passing(refused)):
                    return refused
                failure = refused
            except UpstreamFailed as failed:
                failure = failed if self._error is None else self._ended_early()
            except GatewayError as error:
                return error  # it cannot be asked of this upstream
            except (ChunkTooLarge, StreamTooLarge) as error:
                message = f"the answer is larger than {error.limit:,} bytes, or an event of it"
                return GatewayError(502, "answer_too_large", message)
            if self._over is not None:
                break
            if not self._reattaches:
                return failure
            attempts = 0 if self._last != before else attempts + 1
            if attempts > _ATTEMPTS:
                return failure
            logger.info("%s: goes on after %s: %s", stream.session_id, self._last, failure)
            if attempts:
                if await self._ended_otherwise(stream):
                    break
                await asyncio.sleep(min(_FIRST_PAUSE * 2**attempts, _LAST_PAUSE))
        return None

    def _ended_early(self) -> UpstreamFailed:
        if (error := self._error) is None:
            message = "the upstream has ended its stream before its answer"
            return UpstreamFailed(502, "upstream_broke_off", message)
        # Nothing need follow that.
        code, message = error.code or "server_error", error.message or "no reason given"
        return UpstreamFailed(502, str(code), str(message))

    async def _read_first(self, stream: LiveStream) -> None:
        """As ``_read``. Who stops it before the first event waits for that, a little: without the
        upstream's name for the answer, nobody could stop what goes on there, or go on with it."""
        reading = asyncio.ensure_future(self._read(stream))
        try:
            await asyncio.shield(reading)
        except asyncio.CancelledError:
            if self._upstream is None:
                either: list[asyncio.Future[None]] = [reading, self.begun]
                await asyncio.wait(
                    either, timeout=_LAST_CHANCE, return_when=asyncio.FIRST_COMPLETED
                )
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            raise

    async def _read(self, stream: LiveStream) -> None:
        ahead, self._ahead = self._ahead, None
        async with ahead or self._events(stream.session_id) as events:
            async for event in events:
                await self._take(stream, event)
                if self._over is not None:
                    break
            else:
                return
            with suppress(TimeoutError, GatewayError):
                async with asyncio.timeout(_REST):
                    async for _ in events:
                        pass

    def _events(self, session_id: str) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        self._attached = self._upstream is not None
        if self._upstream is None:
            assert self._asked is not None
            return self._speaks.ask(
                self._asked,
                self._headers,
                session_id=session_id,
                previous=self._previous,
                background=self._background,
            )
        assert isinstance(self._speaks, ResponsesApi)
        after = -1 if self._last is None else self._last
        return self._speaks.attach(self._upstream, self._headers, after=after)

    async def _take(self, stream: LiveStream, event: Event) -> None:
        if event.data == "[DONE]":
            return
        data, said = _read_event(event.data)
        number = said.sequence_number
        if said.type == _KEEP_ALIVE or (
            self._attached
            and number is not None
            and self._last is not None
            and number <= self._last
        ):
            return
        if not self._any and said.type != "response.created":
            await self._say_created(stream, data)
        await stream.publish(data, event=said.type)
        if not self._any:
            self._any = True
            # It is not asked for again, and may be large.
            self._asked, self._pieces = None, ()
        if number is not None:
            self._last = number
        if said.response is not None:
            self._upstream = said.response.id or self._upstream
            if said.response.background and number is not None:
                self._reattaches = isinstance(self._speaks, ResponsesApi)
        if said.type == "error":
            self._error = said
        self._tell_begun(None)
        if said.is_last:
            self._over = said
            # At once: what else the upstream does with its connection is no part of the answer.
            await self._end(stream, said)

    async def _say_created(self, stream: LiveStream, data: str) -> None:
        """Before what the upstream begins with instead."""
        response = decoded(data).get("response")
        if not isinstance(response, dict):
            response_id = stream.session_id.rpartition(":")[2]
            response = began(response_id, self._facts, self._asked, "in_progress")
        begun = {**response, "status": "in_progress", "output": [], "error": None}
        said = msgspec.json.encode({"type": "response.created", "response": begun}).decode()
        await stream.publish(said, event="response.created")

    async def _end(self, stream: LiveStream, over: Told) -> None:
        if over.type == "response.failed":
            await stream.fail(_reason(over))
        else:
            await stream.close()

    def _has_no_background(self, refused: UpstreamRefused) -> bool:
        """Whether it is only that the upstream cannot go on by itself: the gateway then does."""
        return (
            self._background
            and self._upstream is None
            and refused.status in (400, 404, 422, 501)
            and "background" in refused.message.lower()
        )

    async def _ended_otherwise(self, stream: LiveStream) -> bool:
        """Whether the upstream has ended the answer without an event that says so, as where
        somebody has cancelled it there."""
        assert isinstance(self._speaks, ResponsesApi)
        assert self._upstream is not None
        try:
            response = msgspec.json.decode(
                await self._speaks.retrieve(self._upstream, self._headers)
            )
            status = response["status"]
        except (GatewayError, msgspec.DecodeError, KeyError, TypeError):
            return False
        if status not in ("completed", "failed", "incomplete", "cancelled"):
            return False
        kind = f"response.{'incomplete' if status == 'cancelled' else status}"
        data = msgspec.json.encode({"type": kind, "response": response}).decode()
        await stream.publish(data, event=kind)
        self._over = told(data)
        return True

    async def _stop(self, stream: LiveStream) -> None:
        """It was cancelled: so is what the upstream does in its background."""
        concluding = asyncio.ensure_future(self._conclude(stream, None))
        try:
            if self._reattaches and self._over is None and self._upstream is not None:
                assert isinstance(self._speaks, ResponsesApi)
                try:
                    await self._speaks.cancel(self._upstream, self._headers)
                except GatewayError as error:
                    logger.warning("%s: cannot be cancelled upstream: %s", stream.session_id, error)
        finally:
            await concluding

    async def fail(self, stream: LiveStream, failure: GatewayError) -> None:
        """End it so, told by events, or in another way to whoever waits for the first one."""
        if self.awaited and not self._any:
            self._tell_begun(failure)
        else:
            logger.warning("%s: %s: %s", stream.session_id, failure.code, failure)
            await self._conclude(stream, failure)
        await stream.fail(f"{failure.code}: {failure}")

    async def _conclude(self, stream: LiveStream, failure: GatewayError | None) -> None:
        """Store the end that the upstream did not tell; if that cannot be, readers make it up."""
        if self._over is not None:
            return
        try:
            await stream.flush()
            stored = await find(self._hub, stream.session_id)
            if stored is None:
                return
            log = await stored.log()
            for _ in range(log.missing):
                # Numbers are counted from the end of the request.
                await stream.publish("", event=REQUEST_EVENT)
            code, message = (None, None) if failure is None else (failure.code, str(failure))
            for kind, data in log.conclude(code, message):
                await stream.publish(data, event=kind)
        except StreamHubError as error:
            logger.info("%s: its end could not be stored: %s", stream.session_id, error)

    def _tell_begun(self, failure: GatewayError | None) -> None:
        if self.begun.done():
            return
        if failure is None:
            self.begun.set_result(None)
        else:
            self.begun.set_exception(failure)
            self.begun.exception()  # whoever asked may have gone


def _read_event(data: str) -> tuple[str, Told]:
    """An event as it is stored, and what it says.

    :raises UpstreamFailed: it is none.
    """
    try:
        return data, _checked(told(data))
    except (msgspec.DecodeError, RecursionError) as error:
        failure = UpstreamFailed(
            502, "upstream_unexpected", f"the upstream has sent what is no event: {error}"
        )
    try:
        # Half a character, which no UTF-8 can hold.
        data = storable(json.dumps(decoded(data), ensure_ascii=False, allow_nan=False))
        return data, _checked(told(data))
    except (ValueError, RecursionError):
        raise failure from None


def _checked(said: Told) -> Told:
    """
    :raises msgspec.ValidationError: it cannot be told to clients as an event of its type.
    """
    if not said.type.isprintable() or said.type in ("", REQUEST_EVENT):
        raise msgspec.ValidationError(f"Unexpected type {said.type!r:.80}")
    if said.response is None and (said.is_last or said.type == "response.created"):
        raise msgspec.ValidationError(f"{said.type} without its response")
    return said


def _is_passing(refused: UpstreamRefused) -> bool:
    """Whether the upstream may say something else soon."""
    return refused.status >= 500 or refused.status in (408, 409, 425, 429)


def _reason(over: Told) -> str:
    error = None if over.response is None else over.response.error
    if isinstance(error, dict):
        return f"{error.get('code') or 'server_error'}: {error.get('message') or 'no reason given'}"
    return "server_error: the upstream gave no reason"
