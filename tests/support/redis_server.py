"""A private redis-server, in a process that tests may stop, kill, freeze and start again."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from streamhub.testing.waiting import patience

from .certificates import Certificates
from .child_processes import Leash

HOST = "127.0.0.1"
#: Below what systems hand out to outgoing connections, so that a stopped server's port stays free.
PORTS = range(20_000, 32_000)
_START = 20.0


class RedisServer:
    """One redis-server without persistence, on a loopback port and on a unix socket.

    ``start`` returns when it answers. After ``stop`` or ``kill`` it can be started again, empty,
    at the same addresses.
    """

    def __init__(
        self,
        *,
        password: str | None = None,
        replica_of: RedisServer | None = None,
        certificates: Certificates | None = None,
        client_certificates: bool = False,
        maxmemory: str | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.port = free_port()
        self.password = password
        self.certificates = certificates
        # A path that is short enough for a unix socket, which pytest's own are not.
        self.directory = Path(tempfile.mkdtemp(prefix="streamhub-"))
        self.arguments = [
            *_options(password, replica_of, certificates, client_certificates, maxmemory),
            *arguments,
        ]
        self._has_run = False
        self._process: subprocess.Popen[bytes] | None = None
        self._leash: Leash | None = None
        self._log: _Log | None = None

    def __repr__(self) -> str:
        return f"<RedisServer {HOST}:{self.port}>"

    @property
    def url(self) -> str:
        """Where to connect, with the password: ``redis://``, or ``rediss://`` with certificates."""
        scheme = "redis" if self.certificates is None else "rediss"
        return f"{scheme}://{self._login}{HOST}:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self._login}{self.socket_path}?db=0"

    @property
    def socket_path(self) -> Path:
        return self.directory / "redis.sock"

    @property
    def log(self) -> str:
        """The newest lines that the server has printed."""
        return "" if self._log is None else self._log.text

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self} is not running"
        return self._process.pid

    def start(self, *arguments: str) -> None:
        """Start it, this time with these arguments too; return when it accepts connections."""
        assert self._process is None, f"{self} is running"
        for _ in range(3):
            if self._launch(arguments):
                self._has_run = True
                return
            self.kill()
            if self._has_run or "Address already in use" not in self.log:
                break
            self.port = free_port()
        if not self._has_run:
            self.close()
        raise RuntimeError(f"redis-server did not start on port {self.port}:\n{self.log}")

    def stop(self) -> None:
        """End it as a service manager would; what it held is gone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL; what it held is gone."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it, and start it again with nothing in it."""
        self.kill()
        self.start()

    def forget(self) -> None:
        """Lose what it has written to its disk; it must have ended."""
        assert self._process is None, f"{self} is running"
        for path in self.directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def pause(self) -> None:
        """Freeze it: connections stay open, and nothing is answered until ``resume``."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def close(self) -> None:
        """Kill it for good, and remove its directory."""
        self.kill()
        shutil.rmtree(self.directory)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _login(self) -> str:
        return "" if self.password is None else f":{self.password}@"

    #: What it prints once it answers.
    _READY = b"eady to accept connections"

    def _command(self) -> list[str]:
        port = "--port" if self.certificates is None else "--tls-port"
        return [
            *(program(), "--port", "0", port, str(self.port), "--bind", HOST),
            *("--unixsocket", str(self.socket_path), "--dir", str(self.directory)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no"),
            # A replica is served at once, not with others that may come within 5 s.
            *("--repl-diskless-sync-delay", "0"),
            *("--logfile", "", "--loglevel", "notice", *self.arguments),
        ]

    def _launch(self, arguments: Sequence[str]) -> bool:
        self._process = subprocess.Popen(
            [*self._command(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._leash = Leash(self._process.pid, self.directory)
        assert self._process.stdout is not None
        self._log = _Log(self._process.stdout, self._READY)
        if not self._log.is_ready(patience(_START)):
            return False
        socket.create_connection((HOST, self.port), patience(_START)).close()
        return True

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        # A paused server takes no other signal before it goes on.
        self._process.send_signal(signal.SIGCONT)
        self._process.wait()
        self._process = None
        if self._leash is not None:
            self._leash.release()
        if self._log is not None:
            self._log.close()
        with contextlib.suppress(FileNotFoundError):
            self.socket_path.unlink()


class _Log:
    """Reads what a server prints, so that its pipe never fills, and notices when it is ready."""

    def __init__(self, pipe: IO[bytes], ready: bytes) -> None:
        self._pipe = pipe
        self._sign = ready
        self._lines: deque[str] = deque(maxlen=50)
        self._ready = False
        self._decided = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        return "".join(list(self._lines))

    def is_ready(self, timeout: float) -> bool:
        """Whether the server is ready, known once it says so or ends."""
        self._decided.wait(timeout)
        return self._ready

    def close(self) -> None:
        """Read what an ended server has left."""
        self._reader.join()
        self._pipe.close()

    def _read(self) -> None:
        for line in self._pipe:
            self._lines.append(line.decode(errors="replace"))
            if self._sign in line:
                self._ready = True
                self._decided.set()
        self._decided.set()


def program() -> str:
    """The path of redis-server; ``REDIS_SERVER`` may name another."""
    for name in os.environ.get("REDIS_SERVER", "redis-server valkey-server").split():
        if path := shutil.which(name):
            return path
    raise RuntimeError("there is no redis-server to test with; `make test` installs one")


def _options(
    password: str | None,
    replica_of: RedisServer | None,
    certificates: Certificates | None,
    client_certificates: bool,
    maxmemory: str | None,
) -> list[str]:
    options: list[str] = []
    if password is not None:
        options += ["--requirepass", password, "--masterauth", password]
    if replica_of is not None:
        options += ["--replicaof", HOST, str(replica_of.port)]
    if certificates is not None:
        options += ["--tls-cert-file", str(certificates.certificate)]
        options += ["--tls-key-file", str(certificates.key)]
        options += ["--tls-ca-cert-file", str(certificates.authority)]
        options += ["--tls-auth-clients", "yes" if client_certificates else "no"]
        options += ["--tls-replication", "yes"]
    if maxmemory is not None:
        options += ["--maxmemory", maxmemory]
    return options


def free_port(ports: Sequence[int] = PORTS) -> int:
    """A port that nobody listens on; random, so that runs side by side pick different ones."""
    for port in random.sample(ports, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise RuntimeError(f"none of 100 ports tried in {ports} is free")
