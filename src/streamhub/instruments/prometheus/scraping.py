"""``/metrics``: what Prometheus reads."""

from __future__ import annotations

import asyncio
import hmac
import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from .families import multiprocess_directory
from .instrument import refresh

__all__ = ["metrics_app"]

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_Headers = list[tuple[bytes, bytes]]

_OF_A_PROCESS = re.compile(r"gauge_live[a-z]*_(\d+)\.db")


def metrics_app(registry: CollectorRegistry = REGISTRY, *, token: str | None = None) -> _App:
    """An ASGI application that answers with all metrics of ``registry``, whatever its path: mount
    it, or make it a route, as with ``app.add_route("/metrics", metrics_app())`` of FastAPI.

    It asks nobody: an answer comes at once, also while the store is away. It is made in a thread.

    Where ``PROMETHEUS_MULTIPROC_DIR`` names a directory, the answer is that of all processes that
    write there, whichever of them is asked; gauges of those that have died are left out, by
    themselves.

    :param token: who does not send ``Authorization: Bearer <token>`` gets 401. Without it everybody
        may read the metrics, which hold no session, no owner and no text.
    :raises ValueError: ``token`` is empty.
    """
    if token is not None and not token.strip():
        raise ValueError("token must not be empty")
    return _App(registry, None if token is None else token.strip().encode())


class _App:
    """No function: as a route, Starlette would call that with a request."""

    def __init__(self, registry: CollectorRegistry, token: bytes | None) -> None:
        self._registry = registry
        self._token = token

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        if self._token is not None and not _has_token(scope, self._token):
            status, headers = 401, [(b"www-authenticate", b"Bearer")]
            body = b"a token is needed: Authorization: Bearer ...\n"
        else:
            status, headers, body = await asyncio.to_thread(_answer, self._registry, scope)
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _answer(registry: CollectorRegistry, scope: _Scope) -> tuple[int, _Headers, bytes]:
    directory = multiprocess_directory()
    if directory is None:
        shown = registry
    else:
        refresh(registry)
        _bury(Path(directory))
        shown = CollectorRegistry()
        MultiProcessCollector(shown, directory)  # type: ignore[no-untyped-call]
    sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    status, headers = 500, []

    def start(said: str, given: list[tuple[str, str]], *_: object) -> None:
        nonlocal status, headers
        status = int(said.partition(" ")[0])
        headers = [(name.lower().encode(), value.encode()) for name, value in given]

    # The library's own answer: its formats, `name[]` and gzip.
    environ = {
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": "/metrics",
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "HTTP_ACCEPT": sent.get("accept", ""),
        "HTTP_ACCEPT_ENCODING": sent.get("accept-encoding", ""),
    }
    body = b"".join(make_wsgi_app(shown)(environ, start))
    return status, headers, body


def _has_token(scope: _Scope, wanted: bytes) -> bool:
    given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    kind, _, token = given.partition(b" ")
    return kind.lower() == b"bearer" and hmac.compare_digest(token.strip(), wanted)


def _bury(directory: Path) -> None:
    """Leave out what processes say of themselves that are no more: not every server tells of it."""
    for pid in {int(found[1]) for one in directory.iterdir() if (found := _of_one(one))}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another process does the same
                mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]
        except PermissionError:
            pass  # it lives, and is another user's


def _of_one(path: Path) -> re.Match[str] | None:
    return _OF_A_PROCESS.fullmatch(path.name)


async def _live(receive: _Receive, send: _Send) -> None:
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    await send({"type": "lifespan.shutdown.complete"})
