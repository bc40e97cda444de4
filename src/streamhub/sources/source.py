"""What a model's provider streams, as a source: drawn, translated, and closed in every case."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
)
from contextlib import aclosing, suppress
from typing import Any, Protocol, cast

from ..errors import StreamHubError
from ..parts import AnyPart
from ..producing.provider_errors import provider_failed
from ..producing.threads import drawn_in_thread

__all__ = ["ProviderStream", "Translator"]

# So much may have come that was not drawn.
_BUFFERED = 16
# How long the provider's connection may take to close.
_CLOSING = 2.0


class Translator(Protocol):
    """Makes text and parts of the events of one stream. Does no I/O."""

    def translate(self, event: Any) -> Iterable[str | AnyPart]:
        """What ``event`` says.

        :raises ProviderFailed: it is the provider's way to say that it failed.
        """

    def end(self) -> Iterable[str | AnyPart]:
        """What follows the last event of a stream that has ended.

        :raises ProviderFailed: that was not its end.
        """


class ProviderStream(AsyncIterator[str | AnyPart]):
    """What a model's provider streams, as text and parts. For ``hub.run``, and to be iterated once.

    However that ends, also before it has begun, the response of the provider is closed.

    :param response: the stream of a provider's client, async or sync; a context manager or an
        awaitable that gives one; or a function without parameters, called in a thread, that gives
        one of these. A sync one is drawn from in a thread, and torn out of a read when nobody
        draws any more.
    :param translator: makes text and parts of its events.
    :raises TypeError: ``response`` is none of these.
    """

    def __init__(self, response: object, translator: Translator) -> None:
        given = _is_stream(response) or inspect.isawaitable(response) or callable(response)
        if not given or isinstance(response, str | bytes | bytearray):
            raise TypeError(
                "a source takes the stream of a provider's client, async or sync, an awaitable of "
                "one, or a function without parameters that returns one; not "
                f"{type(response).__name__}"
            )
        self._response = response
        self._translator = translator
        # Made when it is asked for: it holds this object, which nobody else may hold.
        self._items: AsyncGenerator[str | AnyPart, None] | None = None

    def __aiter__(self) -> ProviderStream:
        return self

    async def __anext__(self) -> str | AnyPart:
        """:raises ProviderFailed: the provider refused the request, or broke off its answer."""
        if self._items is None:
            self._items = self._translated()
        return await anext(self._items)

    async def aclose(self) -> None:
        """Close the provider's response, and draw no more. Idempotent."""
        if self._items is None:
            self._items = self._translated()
            await _close(self._response)
        await self._items.aclose()

    def __del__(self) -> None:
        # It never came to be drawn from, as when its hub was closed in that very moment.
        if getattr(self, "_items", self) is None:
            with suppress(RuntimeError):  # of a task whose event loop is gone
                _forget(self._response)

    async def _translated(self) -> AsyncGenerator[str | AnyPart, None]:
        async with aclosing(_events(self._response)) as events:
            async for event in events:
                for item in self._translator.translate(event):
                    yield item
            for item in self._translator.end():
                yield item


async def _events(response: object) -> AsyncGenerator[Any, None]:
    """What the provider streams.

    :raises ProviderFailed: it refused the request, or broke off.
    """
    try:
        async with aclosing(_drawn(response)) as drawn:
            async for event in drawn:
                yield event
    except (StreamHubError, _NoStreamError):
        raise
    except Exception as error:
        raise provider_failed(error) from error


async def _drawn(response: Any) -> AsyncGenerator[Any, None]:
    if not (_is_stream(response) or inspect.isawaitable(response)):
        response = await _called(response)
    is_awaited = inspect.isawaitable(response) and not _is_stream(response)
    if is_awaited:
        response = await _awaited(response)
    if hasattr(response, "model_dump"):
        raise _no_stream(response)  # though it can be iterated: by its fields
    if _is_async(response, is_awaited=is_awaited):
        manager, stream, begun = response, response, False
        try:
            if not isinstance(response, AsyncIterable):
                stream = await response.__aenter__()
            async for event in stream:
                begun = True
                yield event
        finally:
            if begun and inspect.isasyncgen(stream):
                await _unwind(cast("AsyncGenerator[Any, None]", stream))
            await _close(stream)
            if stream is not manager:
                _forget(manager)
    elif isinstance(response, Iterable) or hasattr(response, "__enter__"):
        sync = _SyncStream(response)
        async with aclosing(drawn_in_thread(sync.open, closed=sync.close, tear=True)) as drawn:
            async for event in drawn:
                yield event
    else:
        raise _no_stream(response)


class _NoStreamError(TypeError):
    """The application's mistake, and not the provider's."""


def _no_stream(response: object) -> _NoStreamError:
    return _NoStreamError(
        f"{type(response).__name__} is no stream of a provider's client: was it asked to stream?"
    )


class _SyncStream:
    """A stream that blocks, opened and closed in the thread that draws from it."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def open(self) -> Iterable[Any]:
        if not isinstance(self._response, Iterable):
            self._response = self._response.__enter__()
        return self._response

    def close(self) -> None:
        _close_sync(self._response)


async def _called(function: Callable[[], Any]) -> Any:
    """What ``function`` returns, which may take as long as a request does."""
    returned: list[Any] = []
    unwanted = threading.Event()

    def call() -> Iterator[None]:
        returned.append(function())
        yield

    def discard() -> None:
        if unwanted.is_set():
            with suppress(IndexError):
                _close_sync(returned.pop())

    try:
        async with aclosing(drawn_in_thread(call, closed=discard, tear=True)) as drawn:
            async for _ in drawn:
                pass
        return returned.pop()
    except BaseException:
        # Before the thread looks whether it is, or after: one of the two closes it.
        unwanted.set()
        with suppress(IndexError):
            await _close(returned.pop())
        raise


async def _awaited(response: Awaitable[Any]) -> Any:
    try:
        return await response
    except asyncio.CancelledError:
        if isinstance(response, asyncio.Future) and response.done() and not response.cancelled():
            # It came in the very moment in which nobody wanted it any more.
            with suppress(Exception):
                await _close(response.result())
        raise


def _is_stream(response: object) -> bool:
    return isinstance(response, AsyncIterable | Iterable) or any(
        hasattr(response, name) for name in ("__aenter__", "__enter__")
    )


def _is_async(response: object, *, is_awaited: bool) -> bool:
    if isinstance(response, AsyncIterable) and isinstance(response, Iterable):
        # One class for both, as LiteLLM has it: how it can be drawn from depends on what it holds.
        held = getattr(response, "completion_stream", None)
        return is_awaited if held is None else isinstance(held, AsyncIterable)
    return isinstance(response, AsyncIterable) or hasattr(response, "__aenter__")


async def _unwind(stream: AsyncGenerator[Any, None]) -> None:
    """End what ``stream`` draws from: other generators, as a rule, down to the one that has the
    response. Who closes the first of them leaves the others to the garbage collector, however long
    that takes; who cancels the last of them where it waits ends all.
    """

    async def draw() -> None:
        await anext(stream)

    for _ in range(_BUFFERED):
        drawing = asyncio.ensure_future(draw())
        try:
            await asyncio.sleep(0)
        finally:
            drawing.cancel()
        await asyncio.wait({drawing}, timeout=_CLOSING)
        if not drawing.done() or drawing.cancelled() or drawing.exception() is not None:
            return


async def _close(response: object) -> None:
    """Close a stream, or what was to become one."""
    _forget(response)
    close = getattr(response, "aclose", None) or getattr(response, "close", None)
    if close is None or inspect.iscoroutine(response):
        return
    # What follows of it is no failure of the answer, and may take no longer than the hub has.
    with suppress(Exception):
        async with asyncio.timeout(_CLOSING):
            if isinstance(response, AsyncIterable) or inspect.iscoroutinefunction(close):
                closing = close()
                if inspect.isawaitable(closing):
                    await closing
            else:
                await asyncio.to_thread(close)


def _close_sync(response: object) -> None:
    _forget(response)
    close = getattr(response, "close", None)
    if close is not None:
        with suppress(Exception):
            close()


def _forget(response: object) -> None:
    """See to it that a request that was never made is not missed by anybody."""
    held = [] if isinstance(response, Iterable | AsyncIterable) else _fields(response)
    for one in (response, *held):
        if inspect.iscoroutine(one):
            one.close()
        elif isinstance(one, asyncio.Future):
            one.cancel()


def _fields(response: object) -> list[object]:
    """What a context manager of a client holds; as a rule, a coroutine is among it."""
    return [*vars(response).values()] if hasattr(response, "__dict__") else []
