"""Tearing a thread out of what it waits for: a model that says nothing must not hold a worker that
nobody wants an answer of any more."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

__all__ = ["Interruption"]

# What interrupts a system call, as Celery's soft time limits do with the other one.
_SIGNAL: signal.Signals | None = getattr(signal, "SIGUSR2", None)
# How long it takes until the next try, in seconds: the first may come between two waits.
_AGAIN = 0.25


class Interruption:
    """Of a block that waits: once it was begun, the block raises ``error``, be it entered later.

    Only where that is possible: in the main thread of a process, as that of the pools ``prefork``
    and ``solo`` is, and where nobody else has a use for the signal. Elsewhere nothing happens.
    """

    def __init__(self, error: Exception) -> None:
        self._error = error
        self._begun = False
        self._waiting = False
        self._timer: threading.Timer | None = None
        self._possible = _is_installed()

    def begin(self) -> None:
        """From any thread."""
        if self._possible and not self._begun:
            self._begun = True
            self._try()

    def __enter__(self) -> None:
        global _current  # noqa: PLW0603 - there is one main thread
        if self._possible:
            _current = self
            self._waiting = True
            if self._begun:
                self._waiting = False
                raise self._error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._waiting = False
        if self._timer is not None:
            self._timer.cancel()

    def on_signal(self) -> None:
        if self._begun and self._waiting:
            self._waiting = False
            raise self._error

    def _try(self) -> None:
        if self._waiting and _SIGNAL is not None:
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, _SIGNAL)
            self._timer = threading.Timer(_AGAIN, self._try)
            self._timer.daemon = True
            self._timer.start()


_current: Interruption | None = None


def _on_signal(_: int, __: FrameType | None) -> None:
    if _current is not None:
        _current.on_signal()


def _is_installed() -> bool:
    """Whether the signal is ours, in the thread that runs here. It stays so: one that is late must
    not end the process."""
    if _SIGNAL is None or threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(_SIGNAL) == signal.SIG_DFL:
        signal.signal(_SIGNAL, _on_signal)
    return signal.getsignal(_SIGNAL) is _on_signal
