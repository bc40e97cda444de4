"""What ``run`` may be given to produce from: three kinds of source, drawn from as one."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..stream import LiveStream

__all__ = ["Source", "check", "close_unused", "feed"]

Source = AsyncIterable[str] | Iterable[str] | Callable[["LiveStream"], Awaitable[object]]

# How far a thread may draw ahead of what was published.
_AHEAD = 64


def check(source: object) -> None:
    """:raises TypeError: nothing can be drawn from ``source``."""
    allowed = "an async iterable of str, an iterable of str, or an async function of the stream"
    if isinstance(source, str | bytes | bytearray):
        raise TypeError(f"source must be {allowed}, not {type(source).__name__}: put it in a list")
    if inspect.isasyncgenfunction(source) or inspect.isgeneratorfunction(source):
        raise TypeError(f"source must be {allowed}: call the generator function {source!r}")
    if inspect.iscoroutine(source):
        raise TypeError(f"source must be {allowed}: hand in the function, not its coroutine")
    if not (isinstance(source, AsyncIterable | Iterable) or callable(source)):
        raise TypeError(f"source must be {allowed}, not {type(source).__name__}")


async def feed(source: Source, stream: LiveStream) -> None:
    """Publish all of ``source`` into ``stream``; what it holds is closed afterwards."""
    if isinstance(source, AsyncIterable):
        try:
            async for chunk in source:
                await stream.publish(chunk)
        finally:
            await close_unused(source)
    elif isinstance(source, Iterable):
        async for chunk in _drawn_in_thread(source):
            await stream.publish(chunk)
    else:
        producing = source(stream)
        if not inspect.isawaitable(producing):
            raise TypeError(
                f"source {source!r} must be an async function, but returned {producing!r}"
            )
        await producing


async def close_unused(source: object) -> None:
    """Close a source from which nothing (more) is drawn, if it can be closed."""
    close = getattr(source, "aclose", None) or getattr(source, "close", None)
    if close is None:
        return
    if isinstance(source, AsyncIterable):
        closing = close()
        if inspect.isawaitable(closing):
            await closing
    elif isinstance(source, Iterable):
        await asyncio.to_thread(close)


async def _drawn_in_thread(source: Iterable[str]) -> AsyncIterator[str]:
    """Draw from ``source`` in a thread of its own, so that it may block without holding others."""
    loop = asyncio.get_running_loop()
    drawn: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    stopped = threading.Event()

    def hand_over(kind: str, value: object = None) -> None:
        try:
            loop.call_soon_threadsafe(drawn.put_nowait, (kind, value))
        except RuntimeError:  # the loop is closed: nobody wants it any more
            stopped.set()

    def draw() -> None:
        try:
            try:
                for chunk in source:
                    room.acquire()
                    if stopped.is_set():
                        break
                    hand_over("chunk", chunk)
            finally:
                close = getattr(source, "close", None)
                if close is not None:
                    close()
        except Exception as error:
            hand_over("error", error)
        except BaseException as error:  # as SystemExit: it is the source that ends, not the loop
            hand_over("error", RuntimeError(f"the source raised {error!r}"))
        else:
            hand_over("end")

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(draw,), name="streamhub source", daemon=True).start()
    try:
        while True:
            kind, value = await drawn.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            room.release()
            yield value
    finally:
        stopped.set()
        room.release()
