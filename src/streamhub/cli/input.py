"""Where ``run`` reads its text from: a command's standard output, or our own standard input."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from typing import Protocol

__all__ = ["Command", "Source", "StandardInput"]

_PIECE = 65536


class Source(Protocol):
    """Bytes as they come, from something that can be told to stop."""

    async def read(self) -> bytes:
        """What has come, at least one byte; nothing at the end."""
        ...

    async def stop(self, grace: float) -> None:
        """Make the source end, by force after ``grace`` seconds. It must not have ended yet."""
        ...

    def kill(self) -> None:
        """End it by force, at once. It must not have ended yet."""
        ...

    async def wait(self) -> int:
        """Its exit code: negative is the signal that killed it."""
        ...


class Command:
    """A command in a session of its own, so that we alone answer to the terminal's Ctrl-C."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self._process = process
        self._stdout = process.stdout

    @classmethod
    async def start(cls, argv: Sequence[str]) -> Command:
        """Start it; its standard input and standard error are ours.

        :raises OSError: there is no such command, or it cannot be executed.
        """
        return cls(await asyncio.create_subprocess_exec(*argv, stdout=PIPE, start_new_session=True))

    async def read(self) -> bytes:
        return await self._stdout.read(_PIECE)

    async def stop(self, grace: float) -> None:
        """SIGTERM to the command and all that it started, SIGKILL to what is left after."""
        self._signal_group(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._process.wait()
                # Nothing tells that the last process of a group is gone.
                while self._signal_group(0):  # noqa: ASYNC110 - so it can only be asked for
                    await asyncio.sleep(0.02)
                return
        self.kill()

    def kill(self) -> None:
        self._signal_group(signal.SIGKILL)

    async def wait(self) -> int:
        return await self._process.wait()

    def _signal_group(self, number: int) -> bool:
        """Signal the command's process group; False if nobody is left in it."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            # Somebody else's by now (sudo): it will end when it likes.
            return True
        return True


class StandardInput:
    """Our standard input, read by a thread: a file, a pipe and a terminal alike can be."""

    def __init__(self) -> None:
        if sys.stdin is None:
            raise OSError("standard input is closed")
        self._fd = sys.stdin.fileno()
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[bytes | OSError] = asyncio.Queue()
        self._wanted = threading.Semaphore(0)
        self._stopped = False
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="stdin", daemon=True)
        self._thread.start()

    async def read(self) -> bytes:
        if self._stopped:
            return b""
        self._wanted.release()
        piece = await self._pieces.get()
        if isinstance(piece, OSError):
            raise piece
        return piece

    async def stop(self, grace: float) -> None:
        if not self._stopped:
            self._stopped = True
            os.close(self._wake_write)
            self._wanted.release()
            self._thread.join(grace)
            self._pieces.put_nowait(b"")

    def kill(self) -> None:
        pass

    async def wait(self) -> int:
        return 0

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._wake_read, 0)
        poller.register(self._fd, select.POLLIN)
        piece: bytes | OSError = b"\0"
        while piece and not isinstance(piece, OSError):
            self._wanted.acquire()
            woken = {fd for fd, _ in poller.poll()}
            if self._wake_read in woken:
                return
            try:
                piece = os.read(self._fd, _PIECE)
            except BlockingIOError:
                self._wanted.release()
                continue
            except OSError as error:
                piece = error
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)
