"""``streamhub run``: stream a command's output, or standard input, into a session."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

from ..chunks import Status
from ..errors import StreamClosed, StreamHubError
from ..stores.base import Takeover
from ..stream import LiveStream
from .exits import Code, RunCode, code_of
from .input import Command, Source, StandardInput
from .interrupts import interrupts
from .output import Output
from .place import Place
from .terminal import note, redacted

__all__ = ["run"]

# How long the last output of a source that was stopped may take to arrive.
_LAST_WORDS = 1.0
# How soon a silent command is ended whose stream cannot be stored any more. Asks no store.
_LOOK_EVERY = 1.0
_NOT_STARTED = (RunCode.CANNOT_EXECUTE, RunCode.COMMAND_NOT_FOUND)


async def run(
    place: Place,
    session_id: str,
    command: Sequence[str],
    *,
    takeover: Takeover,
    owner: str | None,
    metadata: Any,
    quiet: bool,
    grace: float,
) -> int:
    """Claim the session, stream the command's output into it, and answer the exit code."""
    stop = _Stop()
    try:
        with interrupts(stop.by_signal):
            async with place.hub() as hub:
                stream, created = await hub.register(
                    session_id, stop.by_cancel, takeover=takeover, owner=owner, metadata=metadata
                )
                if not created:
                    return await _refuse(stream)
                async with _display(quiet) as display:
                    code = await _produce(stream, command, display, stop, grace)
                if not quiet or code in _NOT_STARTED:
                    await _say_end(stream)
                return code
    except StreamHubError as error:
        note(redacted(str(error), place.url), style="red")
        return Code.USAGE if code_of(error) is Code.USAGE else RunCode.STREAM_BROKEN


class _Stop:
    """Whether to stop, and why: the first reason counts.

    A second signal waits for nothing, not even for a store that should be told of the end.
    """

    def __init__(self) -> None:
        self.source: Source | None = None
        self.signal: signal.Signals | None = None
        self.cancelled = False
        self._requested = asyncio.Event()

    def by_cancel(self) -> None:
        if not self._requested.is_set():
            self.cancelled = True
            self._requested.set()

    def by_signal(self, number: signal.Signals) -> None:
        if not self._requested.is_set():
            self.signal = number
            self._requested.set()
        elif self.signal is not None:
            note("ended at once: the session may be left to its lease", style="red")
            if self.source is not None:
                self.source.kill()
            os._exit(RunCode.SIGNALLED + number)

    async def requested(self) -> None:
        await self._requested.wait()


@contextlib.asynccontextmanager
async def _display(quiet: bool) -> AsyncIterator[Output | None]:
    """Where to show what is streamed: our standard output, if it is wanted and open."""
    if quiet or sys.stdout is None:
        yield None
        return
    async with Output.stdout() as output:
        yield output


async def _produce(
    stream: LiveStream,
    command: Sequence[str],
    display: Output | None,
    stop: _Stop,
    grace: float,
) -> int:
    code = 0
    async with stream:
        try:
            source = await Command.start(command) if command else StandardInput()
        except OSError as error:
            return await _cannot_start(stream, command, error)
        stop.source = source
        code = await _drive(source, stream, display, stop, grace)
        if stop.signal == signal.SIGINT:
            await stream.cancel(reason="interrupted")
        elif stop.signal is not None:
            await stream.fail(f"ended by {stop.signal.name}")
        elif code and not stop.cancelled:
            await stream.fail(_how_it_failed(code))
    if display is not None:
        await _first_of(display.drain(), stop.requested())
        # Who stops us may still want to see the last words, but not wait for a reader.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await display.drain()
    if stop.signal is not None:
        return RunCode.SIGNALLED + stop.signal
    if stop.cancelled or await stream.wait() is Status.CANCELLED:
        return RunCode.CANCELLED
    return code if code >= 0 else RunCode.SIGNALLED - code


async def _drive(
    source: Source, stream: LiveStream, display: Output | None, stop: _Stop, grace: float
) -> int:
    """Stream the source to its end, or end it when asked to or when nothing can be stored."""
    pump = asyncio.ensure_future(_pump(stream, source, display))
    running = True
    try:
        await _first_of(pump, stop.requested(), _until_broken(stream))
        if pump.done():
            await pump
            running = False
        elif display is not None:
            display.hurry()
    except StreamClosed:
        stop.by_cancel()
    finally:
        if running:
            await source.stop(grace)
            await asyncio.wait({pump}, timeout=_LAST_WORDS)
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)
        stop.source = None
    if not running:
        return await source.wait()
    try:
        async with asyncio.timeout(_LAST_WORDS):
            return await source.wait()
    except TimeoutError:
        # Another user's, as with sudo, or stuck in the system: nobody can wait for that.
        note("the command could not be ended, and goes on", style="red")
        return 0


async def _until_broken(stream: LiveStream) -> None:
    """Return once nothing can be stored any more; a source that is silent would never tell."""
    with contextlib.suppress(StreamClosed):
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            await stream.flush()


async def _first_of(*awaitables: Awaitable[object]) -> None:
    """Wait for the first; what was not a task already is cancelled, and an error raised."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    ours = [task for task, given in zip(tasks, awaitables, strict=True) if task is not given]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ours:
            if task.done():
                await task
    finally:
        for task in ours:
            task.cancel()
        await asyncio.gather(*ours, return_exceptions=True)


async def _pump(stream: LiveStream, source: Source, display: Output | None) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    data = b"."
    while data:
        data = await source.read()
        text = decoder.decode(data, final=not data)
        if text:
            await stream.publish(text)
        if display is not None:
            await display.write(data)
    await source.wait()


async def _cannot_start(stream: LiveStream, command: Sequence[str], error: OSError) -> int:
    name = command[0] if command else "standard input"
    if isinstance(error, FileNotFoundError):
        code, reason = RunCode.COMMAND_NOT_FOUND, f"command not found: {name}"
    else:
        code, reason = RunCode.CANNOT_EXECUTE, f"cannot execute {name}: {error.strerror or error}"
    await stream.fail(reason)
    return code


async def _refuse(stream: LiveStream) -> int:
    info = await stream.info()
    if info.status is Status.FINISHED:
        note(
            f"session {info.session_id!r} is finished, there is nothing to continue; "
            "--takeover restart begins it anew",
            style="red",
        )
    else:
        owner = "" if info.owner is None else f"{info.owner!r}, "
        note(
            f"session {info.session_id!r} belongs to a live producer ({owner}generation "
            f"{info.generation}); nothing was started",
            style="red",
        )
    return RunCode.NOT_CLAIMED


async def _say_end(stream: LiveStream) -> None:
    info = await stream.info()
    error = "" if info.error is None else f": {info.error}"
    style = "dim" if info.status is Status.FINISHED else "yellow"
    note(f"{info.status}{error}; {info.bytes:,} bytes stored up to cursor {info.last}", style=style)


def _how_it_failed(code: int) -> str:
    if code > 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
