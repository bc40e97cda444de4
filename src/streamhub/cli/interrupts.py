"""What asks us to stop: signals, and a reader of standard output that leaves."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from .output import Output

__all__ = ["Interrupted", "interrupts", "unless_interrupted"]

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interrupts(callback: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call back in the event loop for SIGINT, SIGTERM and SIGHUP instead of dying of them.

    A signal that we were started to ignore (``nohup``) stays ignored.
    """
    loop = asyncio.get_running_loop()
    caught = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    for number in caught:
        loop.add_signal_handler(number, callback, number)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


class Interrupted(Exception):
    """We were asked to stop, or nobody reads what we write."""


async def unless_interrupted(working: Coroutine[Any, Any, T], output: Output) -> T | Interrupted:
    """What came of it, or that it was interrupted first."""
    caught: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()

    def catch(number: signal.Signals) -> None:
        if not caught.done():
            caught.set_result(number)

    with interrupts(catch):
        work = asyncio.ensure_future(working)
        gone = asyncio.ensure_future(output.gone.wait())
        try:
            await asyncio.wait({work, gone, caught}, return_when=asyncio.FIRST_COMPLETED)
            if work.done() and not output.gone.is_set():
                return work.result()
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
    if caught.done():
        return Interrupted(f"interrupted by {caught.result().name}")
    error = output.error
    if error is None or isinstance(error, BrokenPipeError):
        return Interrupted("interrupted: nobody reads standard output any more")
    return Interrupted(f"interrupted: cannot write to standard output: {error.strerror or error}")
