"""The signals that ask us to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

__all__ = ["interrupts"]

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
