"""A Redis of one's own, which ends with this process however that ends."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["CannotRun", "PrivateRedis"]

_START_SECONDS = 10.0
_LOOK_EVERY = 0.02
# Reads until this process is gone, then kills the server and removes its directory.
_LEASH = 'read -r _; kill -9 "$1"; rm -rf "$2"'


class CannotRun(Exception):
    """There is no server to run, or it ended, or did not answer, before it was of use."""


class PrivateRedis:
    """A Redis server on a unix socket in a temporary folder, without persistence: an async context
    manager, whose ``url`` is for :meth:`streamhub.Hub.from_url`.

    Whoever kills it gets another one at the same place, empty: whether the answers survive that is
    up to their producers.

    :param server: the program; by default ``redis-server``, or ``valkey-server``, of the PATH.
    :param on_start: is told the process id of each.

    ::

        async with PrivateRedis() as redis, Hub.from_url(redis.url) as hub:
            ...
    """

    def __init__(
        self, server: str | None = None, *, on_start: Callable[[int], None] | None = None
    ) -> None:
        self._server = server
        self._on_start = on_start
        #: The server, and who kills it if we cannot.
        self._running: list[Process] = []

    @property
    def url(self) -> str:
        return f"unix://{self._socket}?db=0"

    async def __aenter__(self) -> Self:
        """:raises CannotRun: it did not come up, or there is none."""
        self._program = self._server or _on_path()
        self._directory = Path(tempfile.mkdtemp(prefix="streamhub-"))
        self._socket = self._directory / "redis.sock"
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        self._keeper = asyncio.create_task(self._keep(), name="private redis")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        await self._end()

    async def _keep(self) -> None:
        while True:
            server, *_ = self._running
            await server.wait()
            await self._stop()
            await self._start()

    async def _start(self) -> None:
        """Start the server, and return when it answers."""
        try:
            server = await _quiet(
                *(self._program, "--port", "0", "--unixsocket", str(self._socket)),
                *("--unixsocketperm", "700", "--dir", str(self._directory)),
                *("--save", "", "--appendonly", "no", "--daemonize", "no"),
            )
        except OSError as error:
            raise CannotRun(f"{self._program} is of no use: {error.strerror}") from error
        self._running = [server]
        leash = ("/bin/sh", "-c", _LEASH, "leash", str(server.pid), str(self._directory))
        self._running.append(await _quiet(*leash))
        if (reason := await _answers(self._socket, server)) is not None:
            raise CannotRun(f"{self._program} is of no use: {reason}")
        if self._on_start is not None:
            self._on_start(server.pid)

    async def _stop(self) -> None:
        for process in self._running:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _end(self) -> None:
        await self._stop()
        shutil.rmtree(self._directory, ignore_errors=True)


def _on_path() -> str:
    for name in ("redis-server", "valkey-server"):
        if (path := shutil.which(name)) is not None:
            return path
    raise CannotRun("there is no redis-server on the PATH")


async def _quiet(*command: str) -> Process:
    """Start a process that prints nothing, and whose standard input ends with this process."""
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=PIPE,
        stdout=DEVNULL,
        stderr=DEVNULL,
        # Ctrl-C on our terminal is for us alone.
        start_new_session=True,
    )


async def _answers(socket: Path, process: Process) -> str | None:
    """Wait until the server does; why it does not."""
    reason = "it did not answer in time"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_SECONDS):
            while process.returncode is None:
                try:
                    reader, writer = await asyncio.open_unix_connection(socket)
                except OSError:
                    await asyncio.sleep(_LOOK_EVERY)
                    continue
                with contextlib.closing(writer):
                    writer.write(b"PING\r\n")
                    if await reader.readline() == b"+PONG\r\n":
                        return None
            reason = f"it ended with exit code {process.returncode}"
    return reason
