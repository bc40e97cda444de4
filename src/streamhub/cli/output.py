"""Standard output, written by a thread, so that a reader that stalls never stops the event loop.

A full pipe or a paused terminal would otherwise keep leases from being renewed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import sys
import threading
from collections import deque
from types import TracebackType
from typing import Self

from ..chunks import Cursor
from .terminal import leave_line_open

__all__ = ["Output"]

# A pipe that polls as writable takes this much without blocking (PIPE_BUF, on every system that
# we know), so that what was written is known to the byte at any moment.
_PIECE = 4096
_MAX_CHUNKS = 4096


class Output:
    """An ordered, bounded queue of bytes to a file descriptor. An async context manager.

    ``gone`` is set as soon as nobody can read any more, between writes too; ``error`` then says
    why. What comes after that is dropped.
    """

    def __init__(self, fd: int, *, limit: int = 1 << 18) -> None:
        self.gone: asyncio.Event = asyncio.Event()
        self.error: OSError | None = None
        #: The cursor of the last chunk that was written whole.
        self.cursor: Cursor | None = None
        self._fd = fd
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._telling: set[asyncio.Event] = set()
        self._moved = asyncio.Event()
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._written = 0
        self._last_byte = b""
        self._cursors: deque[tuple[int, Cursor]] = deque()
        self._cursor_end = 0
        self._halt = False
        self._drop = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._thread = threading.Thread(target=self._run, name="stdout", daemon=True)

    @classmethod
    def stdout(cls) -> Output:
        """Our standard output.

        :raises OSError: it was closed before we were started.
        """
        if sys.stdout is None:
            raise OSError("standard output is closed")
        sys.stdout.flush()
        return cls(sys.stdout.fileno())

    @property
    def partial(self) -> int:
        """How many bytes of the chunk after ``cursor`` were written."""
        return self._written - self._cursor_end

    async def write(self, data: bytes, cursor: Cursor | None = None) -> None:
        """Queue the data, waiting while too much is queued."""
        while self._full() and not (self._drop or self.gone.is_set()):
            self._moved.clear()
            await self._moved.wait()
        if self._full() or self.gone.is_set():
            return
        with self._lock:
            self._waiting += data
            if cursor is not None:
                self._cursors.append((self._written + len(self._waiting), cursor))
        self._wake()

    def hurry(self) -> None:
        """From here on drop what has no room instead of waiting for it."""
        self._drop = True
        self._moved.set()

    async def drain(self) -> None:
        """Wait until everything is written, or nobody can read it."""
        while (self._waiting or self._cursors) and not self.gone.is_set():
            self._moved.clear()
            await self._moved.wait()

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop writing, with a chunk that is begun written whole if there is room for it.

        What is still queued is dropped: ``drain`` first.
        """
        self._halt = True
        self._wake()
        # Blocking, but only a terminal that was paused in the middle of a write takes that long.
        self._thread.join(0.5)
        leave_line_open(self._last_byte not in (b"", b"\n"))
        if not self._thread.is_alive():
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _full(self) -> bool:
        return len(self._waiting) >= self._limit or len(self._cursors) >= _MAX_CHUNKS

    def _wake(self) -> None:
        # A wake-up pipe that is full wakes as well.
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    def _run(self) -> None:
        try:
            while not self._halt:
                self._settle()
                if self._wait_for_turn():
                    self._write_piece(_PIECE)
            self._finish_chunk()
        except OSError as error:
            self.error = error
            self._tell(self.gone)
        finally:
            self._settle()

    def _wait_for_turn(self) -> bool:
        """Wait for something to do; True when there is something to write and room for it."""
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        # Asked for nothing, it still reports a reader that went away.
        poller.register(self._fd, select.POLLOUT if self._waiting else 0)
        room = False
        for fd, events in poller.poll():
            if fd == self._wake_read:
                os.read(self._wake_read, 65536)
            elif events & select.POLLOUT:
                room = True
            else:
                raise BrokenPipeError("nobody reads it any more")
        return room and not self._halt

    def _finish_chunk(self) -> None:
        """Write the rest of a chunk that is begun, as far as nobody has to be waited for."""
        poller = select.poll()
        poller.register(self._fd, select.POLLOUT)
        self._settle()
        while self.partial and self._cursors and poller.poll(0) == [(self._fd, select.POLLOUT)]:
            self._write_piece(min(_PIECE, self._cursors[0][0] - self._written))
            self._settle()

    def _write_piece(self, size: int) -> None:
        with self._lock:
            piece = bytes(self._waiting[:size])
        try:
            count = os.write(self._fd, piece)
        except BlockingIOError:
            return
        with self._lock:
            self._last_byte = piece[count - 1 : count]
            del self._waiting[:count]
            self._written += count

    def _settle(self) -> None:
        with self._lock:
            while self._cursors and self._cursors[0][0] <= self._written:
                self._cursor_end, self.cursor = self._cursors.popleft()
        self._tell(self._moved)

    def _tell(self, event: asyncio.Event) -> None:
        # One call on its way is enough: each takes room where signals arrive, too, and one that
        # finds none is lost.
        if event in self._telling:
            return
        self._telling.add(event)
        # The loop may be closed already when the last word comes.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._told, event)

    def _told(self, event: asyncio.Event) -> None:
        self._telling.discard(event)
        event.set()
