"""The program of the server of forks: see ``fork_server``. It runs by its text, as ``python -c``.

What it imports is what programs of tests need of others, and the library's core. It runs no thread
and no event loop, and keeps nothing open that a fork would inherit.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import io
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import types
from collections.abc import Sequence
from typing import Any


def serve(listener: socket.socket) -> dict[str, Any]:
    """Fork for each request; in a fork, return what it is to do."""
    woken, waker = os.pipe()
    for fd in (woken, waker):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    running: dict[int, socket.socket] = {}
    connection, given = listener, list[int]()
    request: dict[str, Any] = {}
    selector = selectors.DefaultSelector()
    for one in (0, listener, woken):
        selector.register(one, selectors.EVENT_READ)
    while True:
        ready = {key.fd for key, _ in selector.select()}
        if 0 in ready:
            # Whose tests these are has ended.
            os._exit(0)
        if woken in ready:
            os.read(woken, 4096)
            _tell_ended(running)
        if listener.fileno() in ready:
            connection, request, given = _asked(listener)
            for name in request["imports"]:
                importlib.import_module(name)
            pid = os.fork()
            if not pid:
                break
            for fd in given:
                os.close(fd)
            running[pid] = connection
    selector.close()
    os.setsid()
    # From here on it can be told from its server, and killed with all that it starts.
    connection.sendall(b"%d\n" % os.getpid())
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for one in (*running.values(), connection, listener):
        one.close()
    for fd in (woken, waker):
        os.close(fd)
    _take(request, given)
    return request


def _asked(listener: socket.socket) -> tuple[socket.socket, dict[str, Any], list[int]]:
    """The next request, where it came from, and the files that came with it."""
    connection, _ = listener.accept()
    header, fds, _, _ = socket.recv_fds(connection, 4, 16)
    with connection.makefile("rb") as file:
        request: dict[str, Any] = json.loads(file.read(int.from_bytes(header, "big")))
    # Out of the way of the numbers that they are to have.
    return connection, request, [_above(fd) for fd in fds]


def _above(fd: int) -> int:
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 500)
    os.close(fd)
    return moved


def _tell_ended(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        connection = running.pop(pid)
        # A test that has ended does not ask any more.
        with contextlib.suppress(OSError):
            connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
        connection.close()


def _take(request: dict[str, Any], given: Sequence[int]) -> None:
    """Have the files, the environment and the arguments that were asked for."""
    kinds = [(one.encoding, one.errors) for one in (sys.stdin, sys.stdout, sys.stderr)]
    # The objects that were made of the old files must not close the new ones.
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.detach()
    for fd, number in zip(given, request["fds"], strict=True):
        os.dup2(fd, number)
        os.close(fd)
    encoding, errors = kinds[0]
    sys.stdin = io.TextIOWrapper(
        io.BufferedReader(io.FileIO(0, closefd=False)), encoding=encoding, errors=errors
    )
    unbuffered = request["unbuffered"]
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            io.FileIO(fd, "wb", closefd=False)
            if unbuffered
            else io.BufferedWriter(io.FileIO(fd, "wb", closefd=False)),
            encoding=kinds[fd][0],
            errors=kinds[fd][1],
            line_buffering=fd == 2 or os.isatty(fd),
            write_through=unbuffered,
        )
        for fd in (1, 2)
    )
    for name in ("stdin", "stdout", "stderr"):
        # What an interpreter has begun with, as uvicorn and Textual look at it.
        setattr(sys, f"__{name}__", getattr(sys, name))
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = request["argv"]


def _import() -> None:
    """Import what takes long, of others and of the library."""
    for name in (
        *("anyio", "hiredis", "httpx", "msgspec", "redis.asyncio", "rich.console", "rich.table"),
        *("starlette.applications", "typer", "uvicorn", "uvicorn.protocols.http.httptools_impl"),
        *("streamhub.sync", "streamhub.stores.redis", "streamhub.stores.memory"),
    ):
        importlib.import_module(name)


if __name__ == "__main__":
    _import()
    gc.collect()
    gc.freeze()
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    if asked["module"] is not None:
        runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
    else:
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(asked["source"], "<string>", "exec"), main.__dict__)
