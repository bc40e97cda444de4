"""What ``run`` may be given to produce from: three kinds of source, drawn from as one."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import Protocol, TypeVar

from ..chunks import Cursor
from ..errors import InvalidChunk, ProducerFenced, StoreUnavailable, StreamClosed
from ..parts.coding import AnyPart, is_part
from .closing import comes_of_closing
from .threads import drawn_in_thread

__all__ = ["Items", "Published", "Source", "check", "close_unused", "feed", "produce"]

logger: logging.Logger = logging.getLogger("streamhub")


class Published(Protocol):
    """What a source is published into: a stream, by its producer's handle."""

    @property
    def session_id(self) -> str: ...

    async def publish(self, chunk: str | AnyPart, *, event: str | None = None) -> Cursor: ...

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool: ...


S = TypeVar("S", bound=Published)

#: ``S`` is the stream that a function is given.
Source = (
    AsyncIterable[str | AnyPart | None]
    | Iterable[str | AnyPart | None]
    | Callable[[S], Awaitable[object]]
)


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


async def produce(source: Source[S], stream: S) -> None:
    """Publish all of ``source``, and end the stream as that ends.

    What a source raises is told to subscribers by the end of the stream; here is where the
    operator hears of it.
    """
    told: Exception | None = None
    try:
        async with stream:
            try:
                await feed(source, stream)
            except StreamClosed:
                raise  # by a cancel, as a rule, and then all is well
            except Exception as error:
                # Now: storing the end takes time, in which the hub may close.
                told = error
                _tell(stream.session_id, error)
                raise
    except Exception as error:
        if error is not told:
            _tell(stream.session_id, error)


def _tell(session_id: str, error: Exception) -> None:
    if isinstance(error, ProducerFenced | StoreUnavailable | StreamClosed):
        # Not the source's fault: somebody else has the session, or the store is away.
        logger.warning("the source of session %r was stopped: %s", session_id, error)
    elif comes_of_closing(error):
        logger.info("the source of session %r ends with the hub", session_id)
    else:
        logger.error("the source of session %r failed", session_id, exc_info=error)


async def feed(source: Source[S], stream: S) -> None:
    """Publish all of ``source`` into ``stream``; what it holds is closed afterwards.

    None and "", of which models send some, are skipped.

    :raises InvalidChunk: an item is something else than text or a part.
    """
    if isinstance(source, AsyncIterable | Iterable):
        items = Items(source, stream)
        if isinstance(source, AsyncIterable):
            try:
                async for item in source:
                    await items.publish(item)
            finally:
                await close_unused(source)
        else:
            close = getattr(source, "close", None) or _nothing
            async with aclosing(drawn_in_thread(lambda: source, closed=close)) as drawn:
                async for one in drawn:
                    await items.publish(one)
    else:
        producing = source(stream)
        if not inspect.isawaitable(producing):
            raise TypeError(
                f"source {source!r} must be an async function, but returned {producing!r}"
            )
        await producing


class Items:
    """Publishes what comes of a source that is drawn from."""

    def __init__(self, source: object, stream: Published) -> None:
        self._source = source
        self._stream = stream
        self._index = -1
        self._warned = False

    async def publish(self, item: object) -> None:
        self._index += 1
        if not isinstance(item, str):
            if item is None:
                return
            if is_part(item):
                await self._stream.publish(item)
                return
            raise InvalidChunk(
                self._stream.session_id,
                f"the item at index {self._index} of source {_name(self._source)} must be str or "
                f"one of streamhub.parts (None is skipped), not {type(item).__name__}",
            )
        if not item:
            return
        try:
            await self._stream.publish(item)
        except InvalidChunk:
            # All that can be wrong with a str: half a character, where a model's tokens part it.
            if not self._warned:
                self._warned = True
                logger.warning(
                    "session %r: the item at index %d of source %s has lone surrogates, which no "
                    "UTF-8 can hold: they are stored as U+FFFD, here and in later items",
                    self._stream.session_id, self._index, _name(self._source),
                )  # fmt: skip
            await self._stream.publish(_storable(item))


def _storable(text: str) -> str:
    """``text`` with two halves of a character as that, and a half alone as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _nothing() -> None:
    """What there is to close where nothing is."""


def _name(source: object) -> str:
    """What its author calls a source: the function of a generator, or else a type."""
    name = getattr(source, "__qualname__", None)
    return name if isinstance(name, str) else type(source).__qualname__


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
