"""Python programs as forks of a process that has imported what they all need.

Each is a process like one that ``python -c`` or ``python -m`` starts, with an exit of its own, its
signals, its pipes and its environment. But the interpreter has begun, and the packages of others
and the library's core are imported: that takes most programs of tests longer than all that they do.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["ForkedProcess", "fork_python", "is_forkable"]

_PROGRAM = Path(__file__).with_name("forking.py")
#: What an interpreter asks for as it begins: who sets it wants one that begins.
_OF_INTERPRETERS = ("PYTHON", "LANG", "LC_")


def is_forkable(env: Mapping[str, str]) -> bool:
    """Whether a program with this environment may be a fork: nothing in it is for interpreters,
    beyond what this process has, too."""
    return all(
        os.environ.get(name) == env.get(name)
        for name in {*os.environ, *env}
        if name.startswith(_OF_INTERPRETERS)
    )


async def fork_python(
    *args: str,
    module: str | None = None,
    source: str | None = None,
    stdin: int = PIPE,
    stdout: int = PIPE,
    stderr: int = PIPE,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    unbuffered: bool = False,
    imports: Sequence[str] = (),
) -> ForkedProcess:
    """``python -m module args…`` or ``python -c source args…``, in a session of its own.

    ``stdin``, ``stdout`` and ``stderr`` are files of ours, or ``PIPE``. What it ``imports``, as few
    do, is imported for all that come after it, too.
    """
    loop = asyncio.get_running_loop()
    ours: list[int | None] = []
    theirs: list[int] = []
    pipes: list[int] = []
    for number, given in enumerate((stdin, stdout, stderr)):
        if given != PIPE:
            ours.append(None)
            theirs.append(given)
            continue
        read, write = os.pipe()
        mine, its = (write, read) if number == 0 else (read, write)
        ours.append(mine)
        theirs.append(its)
        pipes.append(its)
    request = {
        "argv": [module or "-c", *args],
        "module": module,
        "source": source,
        "env": dict(os.environ if env is None else env),
        "cwd": str(Path.cwd()),
        "fds": [0, 1, 2, *pass_fds],
        "unbuffered": unbuffered,
        "imports": [*imports],
    }
    try:
        connection = _server().ask(json.dumps(request).encode(), [*theirs, *pass_fds])
    finally:
        for fd in pipes:
            os.close(fd)
    transport, told = await loop.create_unix_connection(_Told, sock=connection)
    process = ForkedProcess(await told.pid, told, transport)
    if ours[0] is not None:
        process.stdin = await _writer(ours[0])
    if ours[1] is not None:
        process.stdout = await process.reader(ours[1])
    if ours[2] is not None:
        process.stderr = await process.reader(ours[2])
    return process


class ForkedProcess:
    """What tests use of ``asyncio.subprocess.Process``."""

    def __init__(self, pid: int, told: _Told, transport: asyncio.BaseTransport) -> None:
        self.pid = pid
        self.stdin: StreamWriter | None = None
        self.stdout: StreamReader | None = None
        self.stderr: StreamReader | None = None
        self._told = told
        self._transports = [transport]

    @property
    def returncode(self) -> int | None:
        return self._told.code.result() if self._told.code.done() else None

    async def wait(self) -> int:
        return await asyncio.shield(self._told.code)

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    async def communicate(self, data: bytes | None = None) -> tuple[bytes, bytes]:
        """Write, read to the end and wait; lets go of all pipes."""

        async def feed() -> None:
            if self.stdin is not None:
                try:
                    if data:
                        self.stdin.write(data)
                        await self.stdin.drain()
                except (BrokenPipeError, ConnectionResetError):
                    pass
                self.stdin.close()

        async def read(stream: StreamReader | None) -> bytes:
            return b"" if stream is None else await stream.read()

        _, out, err = await asyncio.gather(feed(), read(self.stdout), read(self.stderr))
        await self.wait()
        for transport in self._transports:
            transport.close()
        return out, err

    async def reader(self, fd: int) -> StreamReader:
        loop = asyncio.get_running_loop()
        reader = StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0)
        )
        self._transports.append(transport)
        return reader


class _Told(asyncio.Protocol):
    """What the server tells of a process: its pid, and how it ended."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.pid: asyncio.Future[int] = loop.create_future()
        self.code: asyncio.Future[int] = loop.create_future()
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        for answer, line in zip((self.pid, self.code), self._data.split(b"\n")[:-1], strict=False):
            if not answer.done():
                answer.set_result(int(line))

    def connection_lost(self, error: Exception | None) -> None:
        for answer in (self.pid, self.code):
            if not answer.done():
                answer.set_exception(EOFError("the server of forks has ended"))
                # A test that has ended does not ask any more.
                answer.exception()


class _Server:
    """One process of which all programs of this worker are forks; it ends with this process."""

    def __init__(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="streamhub-")
        self._path = f"{self._directory}/forks"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._path)
            listener.listen(64)
            # Who asks before it has imported all waits for its answer, and blocks no event loop.
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM.read_text(), str(listener.fileno())],
                stdin=subprocess.PIPE,
                start_new_session=True,
                pass_fds=[listener.fileno()],
            )
        atexit.register(self.close)

    def ask(self, request: bytes, fds: Sequence[int]) -> socket.socket:
        """Have it fork; it answers on the connection."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        socket.send_fds(connection, [len(request).to_bytes(4, "big")], list(fds))
        connection.sendall(request)
        return connection

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        shutil.rmtree(self._directory, ignore_errors=True)


_started: _Server | None = None


def _server() -> _Server:
    global _started  # noqa: PLW0603 - one for all tests of a worker
    if _started is None:
        _started = _Server()
    return _started


async def _writer(fd: int) -> StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(_Flow, os.fdopen(fd, "wb", 0))
    return StreamWriter(transport, protocol, None, loop)


class _Flow(asyncio.streams.FlowControlMixin):
    """What a ``StreamWriter`` asks of a pipe."""

    def __init__(self) -> None:
        super().__init__()
        self._closed = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self._closed.done():
            self._closed.set_result(None)

    def _get_close_waiter(self, stream: Any) -> asyncio.Future[None]:
        return self._closed
