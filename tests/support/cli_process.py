"""The command line in real processes: run to its end, talked to, or on a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyte

from streamhub import Hub, LiveStream
from streamhub.testing.waiting import bounded, patience

from .child_processes import Leash
from .fork_server import ForkedProcess, fork_python, is_forkable

STREAMHUB = (sys.executable, "-m", "streamhub")
#: Takes the terminal that it is started on as its controlling one, so that Ctrl-C is a signal.
_ON_TERMINAL = (
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execv(sys.executable, [sys.executable, '-m', 'streamhub', *sys.argv[1:]])"
)
_OURS = (
    "STREAMHUB_URL",
    "STREAMHUB_KEY_PREFIX",
    "NO_COLOR",
    "FORCE_COLOR",
    "GITHUB_ACTIONS",
    "PY_COLORS",
    "COLUMNS",
    "LINES",
)
# Far more than anything takes: only a hang gets there.
_BOUND = 60.0
#: What the tests give to calls that wait: as far away.
WAIT = 30.0


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


class CliProcess:
    """A running ``streamhub``."""

    def __init__(self, process: Process | ForkedProcess) -> None:
        self._process = process

    async def read(self, size: int) -> str:
        """So many bytes of its standard output."""
        assert self._process.stdout is not None
        async with bounded(_BOUND):
            return (await self._process.stdout.readexactly(size)).decode()

    async def line(self) -> str:
        """The next line of its standard output."""
        assert self._process.stdout is not None
        async with bounded(_BOUND):
            return (await self._process.stdout.readline()).decode()

    async def address(self) -> str:
        """Where a server serves, as it says on its standard error."""
        assert self._process.stderr is not None
        said = b"begin"
        async with bounded(_BOUND):
            while said and b" on http://" not in said:
                said = await self._process.stderr.readline()
        return said.decode().split(" on ")[-1].strip()

    async def send(self, data: bytes) -> None:
        """Write to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self, *, close_stdin: bool = True) -> Ended:
        """How it ended, and what of its output was not read before."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        if close_stdin and self._process.stdin is not None:
            self._process.stdin.close()
        async with bounded(_BOUND):
            out, err, code = await asyncio.gather(
                self._process.stdout.read(), self._process.stderr.read(), self._process.wait()
            )
        return Ended(code, out.decode(errors="surrogateescape"), err.decode())

    async def error_output(self) -> str:
        """Its standard error, once it has ended; for a process whose output is not ours."""
        assert self._process.stderr is not None
        async with bounded(_BOUND):
            return (await self._process.stderr.read()).decode()

    async def code(self) -> int:
        async with bounded(_BOUND):
            return await self._process.wait()


@contextlib.asynccontextmanager
async def start_cli(
    *args: str, url: str | None = None, env: Mapping[str, str] | None = None, stdout: int = PIPE
) -> AsyncIterator[CliProcess]:
    """``streamhub args…``; killed at the end if it still runs."""
    process = await _start(STREAMHUB, args, environment(url, env), stdout=stdout)
    async with _leashed(process):
        yield CliProcess(process)


async def cli(
    *args: str,
    url: str | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | Path = b"",
    python: tuple[str, ...] = STREAMHUB,
) -> Ended:
    """Run ``streamhub args…`` to its end, with standard input from a pipe or from a file."""
    with contextlib.ExitStack() as files:
        source = PIPE
        if isinstance(stdin, Path):
            source = files.enter_context(stdin.open("rb")).fileno()
        process = await _start(python, args, environment(url, env), stdin=source)
        async with _leashed(process), bounded(_BOUND):
            data = stdin if isinstance(stdin, bytes) else None
            out, err = await process.communicate(data)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(errors="surrogateescape"), err.decode())


async def follow(hub: Hub, session_id: str) -> LiveStream:
    """The session, as soon as some process has claimed it."""
    stream = await hub.get(session_id, wait=patience(WAIT))
    assert stream is not None
    return stream


class Terminal:
    """A terminal that a ``streamhub`` runs on: what a person would see and type."""

    def __init__(self, process: Process, master: int, size: tuple[int, int]) -> None:
        #: All that was printed.
        self.screen = ""
        self._process = process
        self._master = master
        self._seen = pyte.Screen(*size)
        self._feed = pyte.ByteStream(self._seen)

    @property
    def lines(self) -> list[str]:
        """What stands on it now."""
        return [line.rstrip() for line in self._seen.display]

    async def stands(self, *texts: str, without: str | None = None) -> list[str]:
        """Its lines, once they hold all of these texts, and not that one."""
        async with bounded(_BOUND):
            while True:
                lines = self.lines
                shown = "\n".join(lines)
                if all(text in shown for text in texts) and (
                    without is None or without not in shown
                ):
                    return lines
                if not await self._read():
                    raise EOFError(f"it ended without showing {texts}:\n{shown}")

    def resize(self, columns: int, lines: int) -> None:
        """Somebody makes its window larger or smaller."""
        self._seen.resize(lines, columns)
        _set_size(self._master, (columns, lines))

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def modes(self) -> list[object]:
        """How it treats what is typed and printed."""
        return termios.tcgetattr(self._master)

    async def shows(self, text: str) -> None:
        """Return once the text was printed."""
        async with bounded(_BOUND):
            while text not in self.screen:
                if not await self._read():
                    raise EOFError(f"it ended without printing {text!r}: {self.screen!r}")

    async def type(self, text: str) -> None:
        await asyncio.to_thread(os.write, self._master, text.encode())

    async def code(self) -> int:
        """Its exit code; by then ``screen`` is complete."""
        async with bounded(_BOUND):
            while await self._read():
                pass
            return await self._process.wait()

    async def _read(self) -> bool:
        try:
            data = await asyncio.to_thread(os.read, self._master, 65536)
        except OSError:
            # So does Linux tell that the last one has closed the terminal.
            data = b""
        self.screen += data.decode(errors="replace")
        self._feed.feed(data)
        return bool(data)


@contextlib.asynccontextmanager
async def start_on_terminal(
    *args: str,
    url: str | None = None,
    env: Mapping[str, str] | None = None,
    size: tuple[int, int] = (100, 30),
) -> AsyncIterator[Terminal]:
    """``streamhub args…`` on a terminal of so many columns and lines."""
    master, slave = pty.openpty()
    _set_size(slave, size)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _ON_TERMINAL, *args),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**environment(url, env), "TERM": "xterm-256color"},
            start_new_session=True,
        )
    finally:
        os.close(slave)
    try:
        async with _leashed(process):
            yield Terminal(process, master, size)
    finally:
        os.close(master)


def _set_size(terminal: int, size: tuple[int, int]) -> None:
    columns, lines = size
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def environment(url: str | None, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, without what changes how the command line behaves."""
    env = {name: value for name, value in os.environ.items() if name not in _OURS}
    if url is not None:
        env["STREAMHUB_URL"] = url
    return {**env, **(more or {})}


async def _start(
    python: tuple[str, ...],
    args: Sequence[str],
    env: Mapping[str, str],
    *,
    stdin: int = PIPE,
    stdout: int = PIPE,
) -> Process | ForkedProcess:
    if python == STREAMHUB and is_forkable(env):
        # An application, which asks a model: its client takes a second to import.
        imports = ["openai"] if args[:1] == ("demo",) else []
        return await fork_python(
            *args, module="streamhub", stdin=stdin, stdout=stdout, env=env, imports=imports
        )
    return await asyncio.create_subprocess_exec(
        *(*python, *args),
        stdin=stdin,
        stdout=stdout,
        stderr=PIPE,
        env=env,
        start_new_session=True,
    )


@contextlib.asynccontextmanager
async def _leashed(process: Process | ForkedProcess) -> AsyncIterator[None]:
    leash = Leash(process.pid)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdin is not None:
            process.stdin.close()
        # Reading to the end lets go of the pipes, whose transports would warn otherwise.
        await process.communicate()
        leash.release()
