"""What the events of an answer are together: its Response object, and the events of an end that
the upstream did not tell. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ..translation import ResponseFold, new_response
from ..upstream import decoded
from .asked import Asked, Facts

__all__ = ["TERMINAL", "Told", "began", "endings", "folded", "told"]

#: The events after which nothing comes.
TERMINAL = frozenset({"response.completed", "response.failed", "response.incomplete"})


class _Response(msgspec.Struct):
    id: str | None = None
    status: str | None = None
    background: bool | None = None
    error: Any = None


class Told(msgspec.Struct):
    """What the gateway reads of an event of the upstream."""

    type: str
    sequence_number: int | None = None
    response: _Response | None = None
    #: Of an ``error``.
    code: Any = None
    message: Any = None

    @property
    def is_last(self) -> bool:
        return self.type in TERMINAL


told: Callable[[bytes | str], Told] = msgspec.json.Decoder(Told).decode


def began(response_id: str, facts: Facts, asked: Asked | None, status: str) -> dict[str, Any]:
    """The Response of an answer of which the upstream has said nothing."""
    request = {} if asked is None else asked.values()
    return {
        **new_response(request, response_id, facts.created),
        "status": status,
        "background": facts.background,
        "model": facts.model or "",
        "previous_response_id": facts.previous,
        "store": facts.store,
    }


def folded(events: Iterable[str]) -> dict[str, Any] | None:
    """The Response that the events have made so far; None where none of them has told any of it."""
    fold = ResponseFold()
    for data in events:
        fold.take(decoded(data))
    return fold.response


def endings(
    response: dict[str, Any] | None,
    begun: dict[str, Any],
    *,
    code: str | None = None,
    message: str | None = None,
) -> list[tuple[str, str]]:
    """The last events, type and data of each, of an answer whose end the upstream did not tell;
    as failed with a ``code``, and without one as cancelled.

    There is no event of a cancel: ``response.incomplete`` ends the stream for every client, and its
    Response says ``cancelled``.

    :param response: what was told so far; None where nothing was.
    :param begun: what it is then.
    """
    said: list[dict[str, Any]] = []
    if response is None:
        response = begun
        said.append({"type": "response.created", "response": begun})
    output = [_ended(item) for item in response.get("output") or []]
    if code is None:
        over = {**response, "status": "cancelled", "output": output}
        said.append({"type": "response.incomplete", "response": over})
    else:
        known = "rate_limit_exceeded" if code == "rate_limit_exceeded" else "server_error"
        error = {"code": known, "message": message}
        over = {**response, "status": "failed", "error": error, "output": output}
        said.append({"type": "error", "code": code, "message": message, "param": None})
        said.append({"type": "response.failed", "response": over})
    return [(one["type"], msgspec.json.encode(one).decode()) for one in said]


def _ended(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "status": "incomplete"} if item.get("status") == "in_progress" else item
