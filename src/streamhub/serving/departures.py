"""Whether the client of a WSGI request is still there, which WSGI does not say."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["stays_of"]

# Where servers keep the connection; it is open for as long as the response is.
_SOCKETS = ("gunicorn.socket", "werkzeug.socket")
#: That the other side has closed, whatever it has sent before.
_GONE = getattr(select, "POLLRDHUP", 0) | getattr(select, "POLLHUP", 0)
_TCP_INFO = getattr(socket, "TCP_INFO", None)
_ESTABLISHED = 1


def stays_of(environ: Mapping[str, Any]) -> Callable[[], bool] | None:
    """What tells whether the client is still there; None where the server leaves no way to know,
    and only a write that fails shows it."""
    asked = environ.get("waitress.client_disconnected")
    if callable(asked):
        return lambda: not asked()
    for name in _SOCKETS:
        connection = environ.get(name)
        if connection is not None and _GONE:
            return lambda: not _is_gone(connection)
    return None


def _is_gone(connection: socket.socket) -> bool:
    # Not by reading: that would take what another request has sent, and TLS wraps it.
    if connection.fileno() < 0:
        return True
    if _TCP_INFO is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        # First, as the poll of gevent knows nothing of a peer that has closed.
        return connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)[0] != _ESTABLISHED
    poll = select.poll()
    poll.register(connection.fileno(), _GONE)
    return bool(poll.poll(0))
