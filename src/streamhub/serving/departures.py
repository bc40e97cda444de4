"""Whether the client of a WSGI request is still there, which WSGI does not say."""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["stays_of"]

# Where servers keep the connection; it is open for as long as the response is.
_SOCKETS = ("gunicorn.socket", "werkzeug.socket")
#: That the other side has closed, whatever it has sent before.
_GONE = getattr(select, "POLLRDHUP", 0) | getattr(select, "POLLHUP", 0)


def stays_of(environ: Mapping[str, Any]) -> Callable[[], bool] | None:
    """What tells whether the client is still there; None where the server leaves no way to know,
    and only a write that fails shows it."""
    asked = environ.get("waitress.client_disconnected")
    if callable(asked):
        return lambda: not asked()
    for name in _SOCKETS:
        connection = environ.get(name)
        if connection is not None and _GONE:
            return lambda: not _is_gone(connection.fileno())
    return None


def _is_gone(number: int) -> bool:
    if number < 0:
        return True
    # Not by reading: that would take what another request has sent, and TLS wraps it.
    poll = select.poll()
    poll.register(number, _GONE)
    return bool(poll.poll(0))
