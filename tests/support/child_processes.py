"""Real child processes for tests, which never outlive the process that started them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .fork_server import ForkedProcess, fork_python


class Leash:
    """Kills a process group as soon as this process is gone, however it went, and removes what
    the group has left in ``directory``.

    A shell waits for the end of a pipe that only this process holds open: that also works where
    this process gets SIGKILL and no clean-up of its own runs.
    """

    def __init__(self, group: int, directory: Path | None = None) -> None:
        end = 'read -r _; kill -9 -"$1"; test -z "$2" || rm -rf "$2"'
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", end, "leash", str(group), str(directory or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def release(self) -> None:
        """The group has ended by itself."""
        self._shell.kill()
        self._shell.communicate()


class PythonProcess:
    """A Python program in a process of its own, of which the test reads the output lines."""

    def __init__(self, process: Process | ForkedProcess, errors: Path) -> None:
        self._process = process
        self._leash = Leash(process.pid)
        self._errors = errors

    @classmethod
    async def start(
        cls,
        source: str,
        *args: str,
        errors: Path,
        pass_fds: Sequence[int] = (),
        has_begun: bool = True,
    ) -> Self:
        """Run the source as ``python -u -c`` would.

        :param has_begun: whether its interpreter may have begun, and imported what most need; not
            where it patches what others import.
        """
        process: Process | ForkedProcess
        with errors.open("wb") as stderr:
            if has_begun:
                process = await fork_python(
                    *args, source=source, stderr=stderr.fileno(), pass_fds=pass_fds, unbuffered=True
                )
            else:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-u", "-c", source, *args),
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=stderr,
                    start_new_session=True,
                    pass_fds=pass_fds,
                )
        return cls(process, errors)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    @property
    def stderr(self) -> str:
        return self._errors.read_text(errors="replace")

    async def line(self) -> str:
        """The next line that it prints.

        :raises EOFError: it has closed its output; the message holds its standard error.
        """
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise EOFError(f"the process printed no further line:\n{self.stderr}")
        return line.decode().rstrip("\n")

    async def send(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    async def wait(self) -> int:
        """Its exit code, once it has ended; negative for a signal."""
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it alone a signal; its children get none."""
        self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL it with its children; does nothing when they have ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self._process.stdin is not None:
            self._process.stdin.close()
        # Reading to the end lets go of the pipe, whose transport would warn otherwise.
        await self._process.communicate()
        self._leash.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill()
