"""A private PostgreSQL for the peer that recommends it; where there is none, a file for SQLite."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from tests.support.child_processes import Leash
from tests.support.redis_server import HOST, free_port

__all__ = ["Database", "database"]

_START = 60.0


@dataclass(frozen=True)
class Database:
    """``kind`` is ``Postgres`` or ``SQLite``, ``version`` what it says of itself."""

    url: str
    kind: str
    version: str


@contextmanager
def database() -> Iterator[Database]:
    """One with all defaults, which stores what is committed on the disk."""
    directory = Path(tempfile.mkdtemp(prefix="streamhub-bench-"))
    try:
        if (programs := _programs()) is None:
            yield Database(f"sqlite:///{directory / 'dbos.sqlite'}", "SQLite", _sqlite_version())
        else:
            with _postgres(programs, directory) as port:
                yield Database(
                    f"postgresql://bench@{HOST}:{port}/postgres",
                    "Postgres",
                    _output(str(programs / "postgres"), "--version").split()[-1],
                )
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _programs() -> Path | None:
    """The folder of its programs: on the PATH, or where Debian keeps them."""
    on_path = shutil.which("initdb")
    known = [
        *([Path(on_path).resolve().parent] if on_path else []),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
    ]
    return next((path for path in known if (path / "initdb").exists()), None)


@contextmanager
def _postgres(programs: Path, directory: Path) -> Iterator[int]:
    """Its port, once it answers."""
    user = _user()
    if user is not None:
        shutil.chown(directory, user)
    data, port = directory / "data", free_port()
    _output(
        *(str(programs / "initdb"), "-D", str(data), "-U", "bench", "-A", "trust"),
        user=user,
    )
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(str(programs / "postgres"), "-D", str(data), "-p", str(port)),
                *("-k", str(directory), "-c", f"listen_addresses={HOST}"),
            ],
            stdout=log,
            stderr=log,
            user=user,
            start_new_session=True,
        )
    leash = Leash(server.pid, directory)
    try:
        asked = [str(programs / "pg_isready"), "-q", "-h", HOST, "-p", str(port)]
        end = monotonic() + _START
        while subprocess.run(asked, check=False).returncode:
            if server.poll() is not None or monotonic() > end:
                raise RuntimeError((directory / "log").read_text())
            sleep(0.1)
        yield port
    finally:
        # At once, as "fast" shut-downs go.
        server.send_signal(2)
        server.wait(_START)
        leash.release()


def _user() -> str | None:
    """Whom it runs as: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    there = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in there)


def _output(*command: str, user: str | None = None) -> str:
    return subprocess.run(
        command, capture_output=True, text=True, check=True, user=user, cwd="/"
    ).stdout


def _sqlite_version() -> str:
    import sqlite3

    return sqlite3.sqlite_version
