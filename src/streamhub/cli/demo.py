"""``streamhub demo``: serves the chat page until it is told to stop, or tries it out by itself."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
import webbrowser
from typing import Any
from urllib.parse import urlsplit

from ..demo.answer import Model
from ..demo.check import check
from ..demo.model_server import PACE
from ..demo.staging import Running, staged
from .exits import Code
from .interrupts import interrupts
from .terminal import note

__all__ = ["model_at", "show"]

DEFAULT_PORT = 8421
_HOST = "127.0.0.1"
# How many ports are tried from the default one on.
_PORTS = 50
# Faster than anybody reads, and slow enough to be crashed in the middle.
_CHECK_PACE = 120.0


async def show(
    *,
    port: int | None,
    open_browser: bool,
    redis_url: str | None,
    memory: bool,
    model: Model | None,
    pace: float | None,
    check_only: bool,
) -> int:
    """Run the demo; the exit code."""
    stop: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
    try:
        listener = _listening(port)
    except OSError as error:
        note(str(error), style="red")
        return Code.USAGE
    with listener, interrupts(lambda number: _stop(stop, number)):
        async with staged(
            listener,
            redis_url=redis_url,
            memory=memory,
            model=model,
            pace=pace or (_CHECK_PACE if check_only else PACE),
        ) as running:
            if check_only:
                return await _checked(running, stop)
            _introduce(running, opens=open_browser and _has_browser())
            await stop
    return Code.FINISHED


def model_at(url: str, name: str) -> Model:
    """The model that ``--openai-url`` and ``--model`` name.

    :raises ValueError: it is no URL to ask.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"--openai-url must be as in http://localhost:11434/v1, not {url!r}")
    return Model(url=url, name=name, key=os.environ.get("OPENAI_API_KEY") or "none")


def _stop(stop: asyncio.Future[signal.Signals], number: signal.Signals) -> None:
    if stop.done():
        # Who asks twice does not want to wait. What was started ends with us.
        os._exit(Code.INTERRUPTED)
    stop.set_result(number)


async def _checked(running: Running, stop: asyncio.Future[signal.Signals]) -> int:
    """Try everything on the running demo, unless told to stop."""
    checking = asyncio.create_task(asyncio.to_thread(check, running.url, running.about, print))
    either: list[asyncio.Future[Any]] = [checking, stop]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not checking.done():
        os._exit(Code.INTERRUPTED)
    return Code.FINISHED if checking.result() else Code.FAILED


def _listening(port: int | None) -> socket.socket:
    """A socket on the port, or, if none was asked for, on the first free one from the default.

    :raises OSError: there is none.
    """
    for attempt in [port] if port is not None else range(DEFAULT_PORT, DEFAULT_PORT + _PORTS):
        try:
            return socket.create_server((_HOST, attempt))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    what = f"port {port} is" if port is not None else f"the ports from {DEFAULT_PORT} are"
    raise OSError(f"{what} in use; --port 0 takes any free one")


def _introduce(running: Running, *, opens: bool) -> None:
    """Say where the page is and what is behind it, and open it if somebody is there to see it."""
    about = running.about
    lines = ["streamhub demo: a chat page that survives everything one does to it", ""]
    lines += [f"  {running.url}", ""]
    redis = about["redis"]
    if redis is None:
        why = "" if about["note"] is None else f" ({about['note']})"
        lines.append(f"  sessions  in memory{why}: one process, {about['web']}, does it all")
    elif about["private"]:
        lines.append(f"  sessions  in a Redis of the demo's own, process {redis['pid']}")
        lines.append(f"            streamhub ls --redis '{redis['url']}'")
    else:
        lines.append(f"  sessions  in {redis['url']}")
    model = about["model"]
    what = "the little server that comes with the demo" if model["built_in"] else model["name"]
    lines += [f"  model     {what}, at {model['url']}", ""]
    if opens:
        lines.append("  The page opens in your browser. Ctrl-C ends the demo.")
    else:
        lines.append("  Open the address in a browser. Ctrl-C ends the demo.")
        if os.environ.get("SSH_CONNECTION"):
            port = urlsplit(running.url).port
            lines.append(f"  From your own machine: ssh -L {port}:{_HOST}:{port} and this host.")
    print("\n".join(lines), flush=True)
    if opens:
        asyncio.get_running_loop().run_in_executor(None, webbrowser.open, running.url)


def _has_browser() -> bool:
    """Whether a browser would open where somebody sees it."""
    if not sys.stdout.isatty() or os.environ.get("SSH_CONNECTION"):
        return False
    if sys.platform == "darwin":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
