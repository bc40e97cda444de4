"""How much a gateway takes on, and how long it waits."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from starlette.requests import Request

from .errors import GatewayError

__all__ = ["Limits", "body_of"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a gateway. Times are seconds, sizes bytes.

    :raises ValueError: one is not a positive number.
    """

    #: The largest body of a request that asks for an answer.
    max_body_bytes: int = 16 * 1024 * 1024
    #: The largest body of any other request, which is passed on as it comes.
    max_upload_bytes: int = 1024 * 1024 * 1024
    #: How many answers each key may have under way at once on one instance; None for any number.
    max_answers_per_key: int | None = None
    #: How long it may take to connect to the upstream.
    connect_timeout: float = 10.0
    #: How long the upstream may say nothing: before its answer, and between two pieces of it.
    upstream_timeout: float = 600.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is None and one.default is None:
                continue
            kinds = (int,) if one.name.startswith("max_") else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise ValueError(f"{one.name} must be a number, not {value!r:.100}")
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{one.name} must be positive and finite, not {value!r}")


async def body_of(request: Request, limits: Limits) -> bytes:
    """The body of a request.

    :raises GatewayError: it is too large.
    :raises ClientDisconnect: the client went away before it was sent.
    """
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > limits.max_body_bytes:
        raise _too_large(limits)
    pieces = bytearray()
    async for piece in request.stream():
        pieces += piece
        if len(pieces) > limits.max_body_bytes:
            raise _too_large(limits)
    return bytes(pieces)


def _too_large(limits: Limits) -> GatewayError:
    message = f"the body of a request must be at most {limits.max_body_bytes:,} bytes long"
    return GatewayError(413, "request_too_large", message)
