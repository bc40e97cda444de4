"""ASGI applications in server processes of their own, on ports that outlive them."""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from .child_processes import PythonProcess

__all__ = ["Port", "ServerProcess"]

HOST = "127.0.0.1"

#: Before the source: the last argument is the number of the listening socket.
_LISTEN = """
import socket, sys
listening = socket.socket(fileno=int(sys.argv.pop()))
"""

#: After the source, which has defined ``app``.
_SERVE = """
import uvicorn

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets=sockets)
        if self.started:
            print("serving")

# On a slow machine clients come back on a connection that has been idle for long.
config = uvicorn.Config(app, log_level="warning", lifespan="on", timeout_keep_alive=300)
try:
    Server(config).run(sockets=[listening])
except KeyboardInterrupt:
    pass  # as uvicorn's command line does
"""


class Port:
    """A free loopback port, listened to while it is entered.

    Any number of processes serve it, one after the other or side by side. While none does,
    connections wait.
    """

    def __init__(self) -> None:
        self._socket = socket.create_server((HOST, 0), backlog=2048)
        # Or each piece but the first waits until the one before is acknowledged: 40 ms.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def number(self) -> int:
        number: int = self._socket.getsockname()[1]
        return number

    @property
    def fileno(self) -> int:
        """Of the listening socket, for a process that inherits it."""
        return self._socket.fileno()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.number}"

    async def serve(self, source: str, *args: str, errors: Path) -> ServerProcess:
        """Start a process in which ``source`` defines the ASGI application ``app``; return when it
        serves. ``args`` are its ``sys.argv[1:]``."""
        number = self.fileno
        process = await ServerProcess.start(
            f"{_LISTEN}{source}{_SERVE}", *args, str(number), errors=errors, pass_fds=[number]
        )
        process.port = self.number
        try:
            assert "serving" == await process.line()
        except BaseException:
            await process.kill()
            raise
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()


class ServerProcess(PythonProcess):
    """A process that serves a :class:`Port`."""

    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def resident_bytes(self) -> int:
        """How much memory it occupies."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (kilobytes,) = [
            line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")
        ]
        return int(kilobytes) * 1024
