"""A Redis of the demo's own, which ends with this process however that ends."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CannotRun", "PrivateRedis", "private_redis", "program"]

_START_SECONDS = 10.0
_LOOK_EVERY = 0.02
# Reads until this process is gone, then kills the server and removes its directory.
_LEASH = 'read -r _; kill -9 "$1"; rm -rf "$2"'


class CannotRun(Exception):
    """The server ended, or did not answer, before it was of use."""


@dataclass(frozen=True)
class PrivateRedis:
    url: str
    pid: int


def program() -> str | None:
    """A Redis server on the PATH."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


@contextlib.asynccontextmanager
async def private_redis(server: str) -> AsyncIterator[PrivateRedis]:
    """Run ``server`` on a unix socket in a temporary folder, without persistence.

    :raises CannotRun: it did not come up.
    """
    directory = Path(tempfile.mkdtemp(prefix="streamhub-demo-"))
    socket = directory / "redis.sock"
    process = await asyncio.create_subprocess_exec(
        *(server, "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--dir", str(directory), "--logfile", str(directory / "log")),
        *("--save", "", "--appendonly", "no", "--daemonize", "no"),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
        # Ctrl-C on our terminal is for us alone.
        start_new_session=True,
    )
    leash = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", _LEASH, "leash", str(process.pid), str(directory)),
        stdin=PIPE,
        stdout=DEVNULL,
        stderr=DEVNULL,
        start_new_session=True,
    )
    try:
        await _answers(socket, process)
        yield PrivateRedis(f"unix://{socket}?db=0", process.pid)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        leash.kill()
        await leash.wait()
        shutil.rmtree(directory, ignore_errors=True)


async def _answers(socket: Path, process: Process) -> None:
    """Wait until the server does."""
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
                        return
            reason = f"it ended with exit code {process.returncode}"
    raise CannotRun(reason)
