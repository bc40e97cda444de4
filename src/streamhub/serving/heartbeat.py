"""How long a response has sent nothing, at next to no cost for what it does send."""

from __future__ import annotations

import asyncio

__all__ = ["Heartbeat"]


class Heartbeat:
    """Interrupts its task in a wait that lasts for ``seconds``.

    All waits share one timer, which looks at when the present one began; ``asyncio.timeout`` would
    set up and take down a timer for each chunk.

    ::

        heartbeat.begin()
        try:
            piece = await what_comes_next()
        except asyncio.CancelledError:
            if not heartbeat.end():
                raise
            piece = b":\n"
        else:
            heartbeat.end()
    """

    def __init__(self, seconds: float) -> None:
        """In the task that waits. To be closed."""
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self._seconds = seconds
        self._time = task.get_loop().time
        self._since: float | None = None
        self._cancelling = 0
        self._interrupted = False
        self._timer = task.get_loop().call_later(seconds, self._look)

    def begin(self) -> None:
        self._cancelling = self.task.cancelling()
        self._since = self._time()

    def end(self) -> bool:
        """Whether the wait was interrupted for its length alone."""
        self._since = None
        if not self._interrupted:
            return False
        self._interrupted = False
        # Who cancels the task meanwhile has to be obeyed.
        return self.task.uncancel() <= self._cancelling

    def close(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        if self.task.done():
            return
        now = self._time()
        due = self._seconds + (now if self._since is None else self._since)
        if due <= now:
            self._interrupted = True
            self.task.cancel()
            due = now + self._seconds
        self._timer = self.task.get_loop().call_at(due, self._look)
